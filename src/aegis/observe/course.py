"""The course of a run: its critical path, what its jobs waited for, and what would have made it shorter. Pure.

The critical path is found backwards, from the attempt that ended last over what it had to wait for. It is whole: what its
legs ran and waited is the run's time, to the microsecond. What a saving says is computed forwards over the same edges,
with every job's own waiting as it was; it is an answer to "what if", not a promise.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from aegis.core.plan import JobSpec, Plan
from aegis.core.types import JobRun
from aegis.core.values import dataclass

MOST_SAVINGS: Final = 5
_LOOKED_AT: Final = 8
"""How many of the path's longest jobs are asked what they would save."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """An attempt on the critical path: seconds it waited after what it waited for had ended (of them for a runner), and ran."""

    job: str
    id: str
    attempt: int
    wait_seconds: float
    queue_seconds: float
    run_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """How many seconds earlier the run would have ended without a cause: a job (`job` names it), or the `queue`."""

    cause: str
    job: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A run's course. `seconds` is `run_seconds` and `wait_seconds` of the path together; empty before anything ended."""

    seconds: float = 0.0
    run_seconds: float = 0.0
    wait_seconds: float = 0.0
    queue_seconds: float = 0.0
    """Of the waiting, what was waiting for a runner."""
    legs: tuple[Leg, ...] = ()
    savings: tuple[Saving, ...] = ()

    @property
    def jobs(self) -> frozenset[str]:
        """The names of the jobs on the path."""
        return frozenset(leg.job for leg in self.legs)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An attempt that ran and ended, in seconds since the run began."""

    job: JobRun
    spec: JobSpec
    stage: int
    start: float
    end: float
    queue: float


def course(plan: Plan, attempts: Sequence[JobRun], begun: datetime) -> Course:
    """The course of a run by every attempt of its jobs; those that have not ended take no part."""
    ran = _Ran(plan, attempts, begun)
    if not ran.attempts:
        return Course()
    legs: list[Leg] = []
    current: _Attempt | None = max(ran.attempts, key=lambda one: (one.end, one.start))
    whole = current.end if current is not None else 0.0
    while current is not None:
        before = ran.before(current)
        wait = current.start - (before.end if before is not None else 0.0)
        legs.append(_leg(current, wait))
        current = before
    legs.reverse()
    return Course(
        seconds=whole,
        run_seconds=sum(leg.run_seconds for leg in legs),
        wait_seconds=sum(leg.wait_seconds for leg in legs),
        queue_seconds=sum(leg.queue_seconds for leg in legs),
        legs=tuple(legs),
        savings=_savings(ran, legs, whole),
    )


def _leg(one: _Attempt, wait: float) -> Leg:
    return Leg(
        job=one.job.name,
        id=one.job.id,
        attempt=one.job.attempt,
        wait_seconds=wait,
        queue_seconds=min(one.queue, wait),
        run_seconds=one.end - one.start,
    )


class _Ran:
    """The attempts of a run, and what each waited for."""

    def __init__(self, plan: Plan, attempts: Sequence[JobRun], begun: datetime) -> None:
        specs = {spec.name: spec for spec in plan.jobs}
        stages = {name: place for place, name in enumerate(plan.stages)}
        self.stages = len(stages)
        found: list[_Attempt] = []
        for job in attempts:
            spec = specs.get(job.name)
            if spec is None or job.started_at is None or job.finished_at is None:
                continue
            start = max((job.started_at - begun).total_seconds(), 0.0)
            end = max((job.finished_at - begun).total_seconds(), start)
            found.append(_Attempt(job, spec, stages[spec.stage], start, end, max(job.queue_seconds or 0.0, 0.0)))
        self.attempts = sorted(found, key=lambda one: (one.start, one.end, one.stage, one.job.attempt))
        self._by_end = sorted(found, key=lambda one: one.end)
        self._ends = [one.end for one in self._by_end]
        self._of: dict[str, list[_Attempt]] = {}
        for one in self._by_end:
            self._of.setdefault(one.job.name, []).append(one)

    def before(self, one: _Attempt) -> _Attempt | None:
        """What an attempt waited for longest: an earlier attempt of its own, a need, a job of an earlier stage."""
        own = self._last(self._of[one.job.name], one)
        if own is not None and own.job.attempt < one.job.attempt:
            return own
        if one.spec.needs is not None:
            needed = (self._last(self._of.get(need.job, ()), one) for need in one.spec.needs)
            return max((each for each in needed if each is not None), key=lambda each: each.end, default=None)
        place = bisect_right(self._ends, one.start)
        while place and (self._by_end[place - 1].stage >= one.stage or self._by_end[place - 1] is one):
            place -= 1
        return self._by_end[place - 1] if place else None

    @staticmethod
    def _last(found: Sequence[_Attempt], one: _Attempt) -> _Attempt | None:
        """The last of these that had ended when `one` began."""
        return next((each for each in reversed(found) if each.end <= one.start and each is not one), None)

    def end(self, runs: Callable[[_Attempt], float], waits: Callable[[_Attempt, float], float]) -> float:
        """When the run would have ended if each attempt had run and waited as these say."""
        ends: dict[int, float] = {}
        stage_ends = [0.0] * self.stages
        folded = 0
        for one in self.attempts:
            while folded < len(self._by_end) and self._by_end[folded].end <= one.start:
                done = self._by_end[folded]
                if id(done) in ends:
                    stage_ends[done.stage] = max(stage_ends[done.stage], ends[id(done)])
                folded += 1
            before = self.before(one)
            ready = self._ready(one, ends, stage_ends)
            wait = one.start - (before.end if before is not None else 0.0)
            ends[id(one)] = ready + waits(one, wait) + runs(one)
        return max(ends.values(), default=0.0)

    def _ready(self, one: _Attempt, ends: Mapping[int, float], stage_ends: Sequence[float]) -> float:
        own = self._last(self._of[one.job.name], one)
        if own is not None and own.job.attempt < one.job.attempt:
            return ends.get(id(own), own.end)
        if one.spec.needs is None:
            return max(stage_ends[: one.stage], default=0.0)
        needed = (self._last(self._of.get(need.job, ()), one) for need in one.spec.needs)
        return max((ends.get(id(each), each.end) for each in needed if each is not None), default=0.0)


def _savings(ran: _Ran, legs: Sequence[Leg], whole: float) -> tuple[Saving, ...]:
    """What would have saved most, the greatest first."""
    spent: dict[str, float] = {}
    for leg in legs:
        spent[leg.job] = spent.get(leg.job, 0.0) + leg.run_seconds
    names = sorted(spent, key=lambda name: -spent[name])[:_LOOKED_AT]

    def without(name: str) -> float:
        return ran.end(lambda one: 0.0 if one.job.name == name else one.end - one.start, lambda _, wait: wait)

    found = [Saving(cause="job", job=name, seconds=whole - without(name)) for name in names]
    unqueued = ran.end(lambda one: one.end - one.start, lambda one, wait: wait - min(one.queue, wait))
    found.append(Saving(cause="queue", job="", seconds=whole - unqueued))
    known = sorted((one for one in found if one.seconds > 0), key=lambda one: -one.seconds)
    return tuple(known[:MOST_SAVINGS])
