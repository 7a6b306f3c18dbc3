"""Refs that are about to move: written down before Git moves them, so that an interruption leaves no commit without author.

Decides who moved a ref that moved without a record: whoever had said, before, that exactly this ref was to go to exactly this
commit. Where two had said so, or nobody, it decides nothing, and the caller fails closed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from aegis.core import events
from aegis.core.events import Draft, Record
from aegis.core.ports import Query
from aegis.delivery.context import Context
from aegis.source.branches import RefUpdate

PORT: Final = "git"
OPTIONS: Final = "-o"
"""The key of the push options among refs, which all begin with `refs/`."""
NUMBER: Final = "!"
"""The key of a merge request's number, likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What somebody was about to do. `number` is the merge request that was being merged, 0 for a push."""

    identity: str
    options: tuple[str, ...] = ()
    number: int = 0


def intend(
    context: Context, project: str, identity: str, updates: Sequence[RefUpdate], *, options: Sequence[str] = (),
    number: int = 0,
) -> None:  # fmt: skip
    """Write down that these refs are about to move; the change that is recorded afterwards is the outcome."""
    detail = {one.ref: one.new for one in updates if one.new is not None}
    if not detail:
        return
    if options:
        detail[OPTIONS] = json.dumps(list(options))
    if number:
        detail[NUMBER] = str(number)
    action = "merge" if number else "push"
    intent = events.ActionIntended(key=context.new_id(), port=PORT, action=action, detail=detail)
    context.append(Draft(subject=f"refs/{project}", data=intent, actor=identity, project=project))


def mover(context: Context, project: str, ref: str, commit: str) -> Move | None:
    """Who was about to move a ref to a commit; None where the ledger does not tell."""
    query = Query(types=(events.NAMES[events.ActionIntended][0],), project=project, newest_first=True)
    return told(context.ledger.read(limit=500, query=query), ref, commit)


def told(records: Iterable[Record], ref: str, commit: str) -> Move | None:
    """The move that the intents, newest first, tell of; None unless exactly one identity had it in mind."""
    found: dict[str, Move] = {}
    for record in records:
        intent = record.data
        if isinstance(intent, events.ActionIntended) and intent.port == PORT and intent.detail.get(ref) == commit:
            options = tuple(json.loads(intent.detail.get(OPTIONS, "[]")))
            move = Move(identity=record.actor, options=options, number=int(intent.detail.get(NUMBER, "0")))
            found.setdefault(record.actor, move)
    return next(iter(found.values())) if len(found) == 1 else None
