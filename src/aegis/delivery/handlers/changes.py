"""Changes: what a push moved, written down at once, and what its push options ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aegis.core import events
from aegis.core.errors import AegisError
from aegis.core.events import Draft
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking
from aegis.delivery.views import Actor
from aegis.source import merge_requests
from aegis.source.branches import RefUpdate
from aegis.source.changes import changes_of

SKIPPED = "skipped"
"""The `source` of a change whose pusher asked for no pipeline (`-o ci.skip`)."""
POLICY = "policy"
"""The `environment` of a change to the declaration in force: it makes the flow adopt it."""


def record_changes(
    context: Context, project: str, identity: str, updates: Sequence[RefUpdate], *, cause: str = "", skip: bool = False
) -> int:
    """Append a change for each ref that moved; the last sequence number. With `skip` no pipeline follows."""
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
    return context.append(*drafts) if drafts else context.ledger.head().seq


def received(
    context: Context, project: str, actor: Actor, updates: Sequence[RefUpdate], options: Sequence[str]
) -> tuple[str, ...]:
    """A push has moved refs: write it down, do what its options ask; lines for whoever pushed."""
    # Imported late: merge requests record their merges through this module.
    from aegis.delivery.handlers.merge_requests import open_request  # noqa: PLC0415

    wanted = merge_requests.wishes(options)
    record_changes(context, project, actor.id, updates, skip=wanted.skip_pipeline)
    lines = [f"unknown push option {option!r} was ignored" for option in wanted.unknown]
    if not wanted.create:
        return tuple(lines)
    for update in updates:
        if update.branch is None or update.new is None:
            continue
        command = ask.OpenMergeRequest(
            project=project,
            source=update.branch,
            target=wanted.target or "",
            title=wanted.title or "",
            description=wanted.description,
        )
        try:
            result = open_request(context, command, Asking(actor=actor))
        except AegisError as error:
            lines.append(str(error))
        else:
            lines.append(f"{result.message}: {context.url}/merge-requests/{project}/{result.values['number']}")
    return tuple(lines)
