"""Pushes: what one moved is written down, and what its push options ask for is done."""

from __future__ import annotations

from collections.abc import Sequence

from aegis.core.errors import AegisError
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking
from aegis.delivery.handlers.changes import record_changes
from aegis.delivery.handlers.merge_requests import open_request
from aegis.delivery.views import Actor
from aegis.source import merge_requests
from aegis.source.branches import RefUpdate


def received(
    context: Context, project: str, actor: Actor, updates: Sequence[RefUpdate], options: Sequence[str]
) -> tuple[str, ...]:
    """A push has moved refs: write it down, do what its options ask; lines for whoever pushed."""
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
