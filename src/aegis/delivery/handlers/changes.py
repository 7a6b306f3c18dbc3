"""Changes: what moved in a repository, written down at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aegis.core import events
from aegis.core.events import Draft
from aegis.delivery.context import Context
from aegis.source.branches import RefUpdate
from aegis.source.changes import changes_of

SKIPPED = "skipped"
"""The `source` of a change whose pusher asked for no pipeline (`-o ci.skip`)."""
POLICY = "policy"
"""The `environment` of a change to the declaration in force: it makes the flow adopt it."""


def record_changes(
    context: Context, project: str, identity: str, updates: Sequence[RefUpdate], *, cause: str = "", skip: bool = False,
    before: Sequence[Draft] = (),
) -> int:  # fmt: skip
    """Append a change for each ref that moved, and the end of each branch that was deleted; the last sequence number. With `skip` no pipeline follows.

    `before` are appended in the same transaction: of what belongs together, either all is known or nothing.
    """
    options = context.options
    declared = options.projects.get(project)
    changes = changes_of(
        context.repository(project),
        updates,
        project=project,
        identity=identity,
        at=context.clock.now(),
        new_id=context.new_id,
        default_branch=declared.default_branch if declared else "main",
    )
    drafts = [
        Draft(
            subject=f"change/{change.id}",
            data=events.ChangePushed(change=replace(change, source=SKIPPED) if skip else change),
            actor=identity,
            project=project,
            environment=POLICY if project == options.platform and change.ref == "refs/heads/main" else "",
            cause=cause,
        )
        for change in changes
    ]
    drafts += [
        Draft(
            subject=f"refs/{project}",
            data=events.BranchDeleted(ref=one.ref, commit=one.old or ""),
            actor=identity,
            project=project,
            cause=cause,
        )
        for one in updates
        if one.new is None and one.branch is not None
    ]
    return context.append(*before, *drafts) if before or drafts else context.ledger.head().seq
