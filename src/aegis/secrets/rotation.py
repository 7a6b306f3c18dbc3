"""When secrets are to be rotated, and when their former value may go: decisions on ages, no clock of its own.

A rotation has two steps, so that nobody is locked out: a new value beside the former one, then, after everything that
reads it has been restarted, the former one is retired.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from aegis.secrets.ports import SecretInfo
from aegis.secrets.references import Reference


class Step(StrEnum):
    """What is to be done with a secret."""

    ROTATE = "rotate"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRule:
    """Secrets whose path matches (wildcards) are rotated after `every`; the former value goes after `grace`."""

    path: str
    every: timedelta
    grace: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One step that is due, since when, and why in words."""

    reference: Reference
    step: Step
    since: datetime
    reason: str


def due(infos: Iterable[SecretInfo], rules: tuple[RotationRule, ...], now: datetime) -> tuple[Due, ...]:
    """The steps that are due now, the longest overdue first. The first rule that matches a path decides."""
    found: list[Due] = []
    for info in infos:
        rule = next((one for one in rules if fnmatchcase(info.reference.path, one.path)), None)
        if rule is None:
            continue
        if len(info.versions) > 1 and now >= info.rotated_at + rule.grace:
            since = info.rotated_at + rule.grace
            found.append(
                Due(
                    reference=info.reference, step=Step.RETIRE, since=since, reason=f"the grace of {rule.grace} is over"
                )
            )
        if now >= info.rotated_at + rule.every:
            since = info.rotated_at + rule.every
            found.append(
                Due(reference=info.reference, step=Step.ROTATE, since=since, reason=f"it is older than {rule.every}")
            )
    return tuple(sorted(found, key=lambda one: (one.since, one.reference, one.step)))
