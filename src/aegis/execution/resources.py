"""Resource groups: one job at a time, and which of those that wait comes next. Pure, apart from what it remembers.

It knows GitLab's process modes. It does not know runs: the coordinator gives it the claims of one group at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aegis.core.types import State
from aegis.core.values import dataclass

UNORDERED: Final = "unordered"
OLDEST_FIRST: Final = "oldest_first"
NEWEST_FIRST: Final = "newest_first"
NEWEST_READY_FIRST: Final = "newest_ready_first"
MODES: Final = (UNORDERED, OLDEST_FIRST, NEWEST_FIRST, NEWEST_READY_FIRST)

READY: Final = frozenset({State.PENDING, State.WAITING_FOR_RESOURCE})
UPCOMING: Final = READY | {State.CREATED, State.SCHEDULED, State.PREPARING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job of a group that wants it now or will want it. `order` grows with the age of runs' numbers: older is smaller."""

    order: int
    position: int
    run: str
    job: str
    state: State


def next_claim(mode: str, claims: Sequence[Claim]) -> Claim | None:
    """Who may have a free group; None where nobody may now.

    `oldest_first` and `newest_first` also wait for jobs that are not ready yet; the other modes take from the ready ones.
    """
    ordered = mode in {OLDEST_FIRST, NEWEST_FIRST}
    candidates = [one for one in claims if one.state in (UPCOMING if ordered else READY)]
    if not candidates:
        return None
    if mode in {NEWEST_FIRST, NEWEST_READY_FIRST}:
        first = min(candidates, key=lambda one: (-one.order, one.position))
    else:
        first = min(candidates, key=lambda one: (one.order, one.position))
    if first.state in READY:
        return first
    # Within one run a later job must not wait for an earlier one that it may itself hold up.
    ready = [one for one in candidates if one.run == first.run and one.state in READY]
    return min(ready, key=lambda one: one.position) if ready else None


class ResourceGroups:
    """Which job holds each group of each project. Not thread-safe: the coordinator serialises."""

    def __init__(self) -> None:
        self._holders: dict[tuple[str, str], str] = {}

    def holder(self, key: tuple[str, str]) -> str | None:
        """The id of the job that has the group."""
        return self._holders.get(key)

    def take(self, key: tuple[str, str], job_id: str) -> None:
        """A job has the group from now on."""
        self._holders[key] = job_id

    def free(self, key: tuple[str, str], job_id: str) -> bool:
        """The job has it no longer; whether it had it."""
        if self._holders.get(key) != job_id:
            return False
        del self._holders[key]
        return True
