"""The environments that jobs deploy to (`environment:`), folded from what their jobs and people did. Pure.

Decides what an environment's state is and when its time is over. It starts no stop job, and knows nothing of the declared
environments that releases are promoted to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from aegis.core import events
from aegis.core.events import Record
from aegis.core.plan import JobSpec
from aegis.core.types import JobRun, Run, State
from aegis.core.values import dataclass
from aegis.execution.environment import expand


class PlaceState(StrEnum):
    """GitLab's states of an environment."""

    AVAILABLE = "available"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An environment of a project. `run`, `ref` and `on_stop` are of the job that deployed it last."""

    project: str
    name: str
    state: PlaceState = PlaceState.AVAILABLE
    run: str = ""
    job: str = ""
    ref: str = ""
    commit: str = ""
    on_stop: str = ""
    url: str = ""
    tier: str = ""
    since: datetime | None = None
    deployed_at: datetime | None = None
    """None until a job that deploys it has passed."""
    stops_at: datetime | None = None
    reason: str = ""


def used(
    run: Run, spec: JobSpec, job: JobRun, reported: Mapping[str, str] | None = None
) -> tuple[events.EnvironmentUsed, ...]:
    """What the end of a job's last attempt means for its environment, whose address may name what it `reported`."""
    if spec.environment is None:
        return ()
    ok, place = job.state is State.SUCCESS, spec.environment
    if place.url and reported:
        place = replace(place, url=expand(place.url, reported))
    return (events.EnvironmentUsed(environment=place, job=spec.name, ref=run.ref, commit=run.commit, ok=ok),)


class Places:
    """The fold. Not thread-safe."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Place] = {}

    def get(self, project: str, name: str) -> Place | None:
        """An environment of a project."""
        return self._known.get((project, name))

    def all(self) -> Iterable[Place]:
        """Every environment, in the order in which they were first used."""
        return self._known.values()

    def due(self, now: datetime) -> tuple[Place, ...]:
        """The available environments whose `auto_stop_in` is over."""
        return tuple(
            one
            for one in self._known.values()
            if one.state is PlaceState.AVAILABLE and one.stops_at is not None and one.stops_at <= now
        )

    def apply(self, record: Record) -> None:
        """Take in one record, in order."""
        data: Any = record.data
        if isinstance(data, events.EnvironmentUsed):
            key = (record.project, data.environment.name)
            known = self._known.get(key)
            if data.environment.action == "stop":
                place = _stopped(known, data, record.recorded_at)
            else:
                place = _used(known or Place(project=key[0], name=key[1]), data, record, new=known is None)
        elif isinstance(data, events.EnvironmentRemoved):
            self._known.pop((record.project, data.name), None)
            return
        elif isinstance(data, events.EnvironmentMade):
            key = (record.project, data.name)
            place = Place(
                project=key[0],
                name=key[1],
                url=data.url,
                tier=data.tier,
                since=record.recorded_at,
                reason="made by hand",
            )
        elif isinstance(data, events.EnvironmentStopping):
            key = (record.project, data.name)
            known = self._known.get(key)
            state = PlaceState.STOPPING if data.job else PlaceState.STOPPED
            place = known and replace(
                known, state=state, since=record.recorded_at, stops_at=None, reason=data.reason
            )  # fmt: skip
        else:
            return
        if place is not None:
            self._known[key] = place


def _used(place: Place, data: events.EnvironmentUsed, record: Record, *, new: bool) -> Place:
    """A job that deploys, prepares, verifies or only looks has ended."""
    at, environment = record.recorded_at, data.environment
    if environment.action == "start" and (data.ok or new or place.state is PlaceState.STOPPED):
        # Also what a failed job began has to be taken away by the stop job of the same run.
        place = replace(
            place,
            state=PlaceState.AVAILABLE,
            run=record.subject.removeprefix("run/"),
            job=data.job,
            ref=data.ref,
            commit=data.commit,
            on_stop=environment.on_stop or "",
            url=environment.url or "",
            tier=environment.tier or "",
            since=place.since if place.state is PlaceState.AVAILABLE and not new else at,
            deployed_at=at if data.ok else None,
            reason="",
        )
    elif new:
        place = replace(place, since=at, tier=environment.tier or "", url=environment.url or "")
    if environment.auto_stop_in is not None and place.state is PlaceState.AVAILABLE:
        place = replace(place, stops_at=at + timedelta(seconds=environment.auto_stop_in))
    return place


def _stopped(place: Place | None, data: events.EnvironmentUsed, at: datetime) -> Place | None:
    """A stop job has ended; one that failed leaves its environment available, and says so."""
    if place is None:
        return None
    if data.ok:
        return replace(place, state=PlaceState.STOPPED, since=at, stops_at=None)
    return replace(place, state=PlaceState.AVAILABLE, since=at, stops_at=None, reason=f"{data.job} did not pass")
