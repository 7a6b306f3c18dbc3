"""Which deployment brought which changes, and how each ended: what DORA's measures are computed from.

Folded from records; decides attribution. A change is what moved the release branch; it began when the first push of
its merge request's branch was seen, else with its own push. It belongs to the first good production deployment
of a release that has it, once. A service's very first deployment brings only its newest change: what lay in the
repository before anybody delivered it was never waiting to be delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from aegis.core import events
from aegis.core.events import Record
from aegis.observe.dora import Delivered

KEPT: Final = 4000
_WAITING: Final = 500


@dataclass(slots=True)
class Moved:
    """A change on a branch: when its work was first seen."""

    commit: str
    began: datetime


@dataclass(slots=True)
class Going:
    """A promotion on its way."""

    service: str
    environment: str
    release: str
    first: bool
    rollback: bool
    emergency: bool
    started_at: datetime | None = None


@dataclass(slots=True)
class DeliveryState:
    """Everything a checkpoint holds of this; dictionaries oldest first."""

    delivered: list[Delivered] = field(default_factory=list)
    going: dict[str, Going] = field(default_factory=dict)
    branches: dict[str, datetime] = field(default_factory=dict)
    """`project ref` to the first push that was seen since the branch began."""
    sources: dict[str, str] = field(default_factory=dict)
    """`project number` to the source branch of an open merge request."""
    merged: dict[str, datetime] = field(default_factory=dict)
    """A merge commit to the beginning of its merge request's work."""
    moved: dict[str, list[Moved]] = field(default_factory=dict)
    """`project ref` to the changes that no release has yet."""
    contents: dict[str, list[float]] = field(default_factory=dict)
    """Release to the beginnings (Unix seconds) of its own changes."""
    chain: dict[str, list[str]] = field(default_factory=dict)
    """Service to its releases that no good production deployment has had yet, oldest first."""


class Deliveries:
    """The fold. `state` is shared with the projection that keeps it."""

    def __init__(self, state: DeliveryState) -> None:
        self.state = state
        self._table: Mapping[type, Callable[[Record, Any], None]] = {
            events.ChangePushed: self._pushed,
            events.MergeRequestOpened: self._opened,
            events.MergeRequestMerged: self._merged,
            events.ReleaseCreated: self._released,
            events.PromotionProposed: self._proposed,
            events.PromotionCommitted: self._committed,
            events.PromotionFinished: self._finished,
            events.ServiceRolledBack: self._rolled_back,
        }

    def apply(self, record: Record) -> None:
        """Take one record."""
        handler = self._table.get(type(record.data))
        if handler is not None:
            handler(record, record.data)

    def _pushed(self, record: Record, data: events.ChangePushed) -> None:
        change, state = data.change, self.state
        branch = f"{change.project} {_short(change.ref)}"
        if change.before is None or branch not in state.branches:
            state.branches[branch] = record.recorded_at
        began = state.merged.pop(change.commit, record.recorded_at)
        waiting = state.moved.setdefault(branch, [])
        waiting.append(Moved(change.commit, began))
        del waiting[:-_WAITING]
        _trim(state.branches)
        _trim(state.moved)

    def _opened(self, record: Record, data: events.MergeRequestOpened) -> None:
        self.state.sources[f"{record.project} {data.number}"] = _short(data.source_branch)
        _trim(self.state.sources)

    def _merged(self, record: Record, data: events.MergeRequestMerged) -> None:
        state = self.state
        source = state.sources.pop(f"{record.project} {data.number}", "")
        began = state.branches.pop(f"{record.project} {source}", None)
        state.moved.pop(f"{record.project} {source}", None)
        if began is None:
            return
        for waiting in state.moved.values():  # the push of the merge may have been recorded before
            for place, one in enumerate(waiting):
                if one.commit == data.commit:
                    waiting[place] = Moved(one.commit, began)
                    return
        state.merged[data.commit] = began
        _trim(state.merged)

    def _released(self, _: Record, data: events.ReleaseCreated) -> None:
        release, state = data.release, self.state
        waiting = state.moved.get(f"{release.project} {_short(release.ref)}", [])
        has = next((place for place, one in enumerate(waiting) if one.commit == release.commit), len(waiting) - 1)
        state.contents[release.id] = [one.began.timestamp() for one in waiting[: has + 1]]
        del waiting[: has + 1]
        state.chain.setdefault(release.service, []).append(release.id)
        _trim(state.contents)

    def _proposed(self, _: Record, data: events.PromotionProposed) -> None:
        one = data.promotion
        self.state.going[one.id] = Going(
            one.service, one.environment, one.release, one.previous is None, one.rollback, one.emergency,
        )  # fmt: skip
        _trim(self.state.going)

    def _committed(self, record: Record, _: events.PromotionCommitted) -> None:
        going = self.state.going.get(_name(record))
        if going is not None:
            going.started_at = record.recorded_at

    def _finished(self, record: Record, data: events.PromotionFinished) -> None:
        going = self.state.going.pop(_name(record), None)
        if going is None or going.started_at is None:
            return  # what never reached the environment is no deployment
        at = record.recorded_at
        leads: tuple[float, ...] = ()
        if data.ok and going.environment == "production" and not going.rollback:
            leads = self._brought(going, at)
        if data.ok:
            self._recovered(going.service, going.environment, at)
        self.state.delivered.append(
            Delivered(
                service=going.service, environment=going.environment, release=going.release,
                started_at=going.started_at, finished_at=at, ok=data.ok, rollback=going.rollback,
                emergency=going.emergency, lead_seconds=leads,
            )
        )  # fmt: skip
        del self.state.delivered[:-KEPT]

    def _brought(self, going: Going, at: datetime) -> tuple[float, ...]:
        chain = self.state.chain.get(going.service, [])
        if going.release not in chain:
            return ()  # an earlier release, deployed again: it brings nothing new
        upto = chain.index(going.release) + 1
        began = [one for release in chain[:upto] for one in self.state.contents.pop(release, [])]
        del chain[:upto]
        if going.first:
            began = began[-1:]
        return tuple(max(at.timestamp() - one, 0.0) for one in began)

    def _rolled_back(self, record: Record, data: events.ServiceRolledBack) -> None:
        returned, at = (record.service, record.environment, data.from_release), record.recorded_at
        delivered = self.state.delivered
        for going in self.state.going.values():
            if (going.service, going.environment, going.release) == returned and going.started_at:
                failed = Delivered(
                    service=going.service, environment=going.environment, release=going.release,
                    started_at=going.started_at, finished_at=at, ok=False, emergency=going.emergency,
                    recovered_at=at,
                )  # fmt: skip
                delivered.append(failed)
                going.started_at = None  # its end was this; PromotionFinished only says so again
                return
        for place in range(len(delivered) - 1, -1, -1):
            one = delivered[place]
            if (one.service, one.environment, one.release) == returned:
                delivered[place] = replace(one, returned=True, recovered_at=one.recovered_at or at)
                return

    def _recovered(self, service: str, environment: str, at: datetime) -> None:
        delivered = self.state.delivered
        for place in range(len(delivered) - 1, -1, -1):
            one = delivered[place]
            if (one.service, one.environment) == (service, environment):
                if one.failed and one.recovered_at is None:
                    delivered[place] = replace(one, recovered_at=at)
                return


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/")


def _name(record: Record) -> str:
    return record.subject.partition("/")[2]


def _trim(rows: dict[str, Any]) -> None:
    while len(rows) > KEPT:
        del rows[next(iter(rows))]
