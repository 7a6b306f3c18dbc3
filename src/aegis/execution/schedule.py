"""Which job comes next and whether a failed one is tried again. Pure: values in, values out.

It does not know leases, runners' addresses or time; the coordinator asks it with what it holds.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aegis.core.plan import JobSpec, Plan, Retry

SYSTEM_FAILURE: Final = "runner_system_failure"
_SYSTEM_RETRIES: Final = 1
_NEVER_AGAIN: Final = frozenset({"canceled", "image_pull_failure", "unmet_prerequisites"})


def depths(plan: Plan) -> Mapping[str, int]:
    """For each job, how many jobs wait in the longest chain behind it: the critical path first.

    A job without `needs` stands behind every job of earlier stages. Linear in jobs and edges.
    """
    order = {name: position for position, name in enumerate(plan.stages)}
    dependents: dict[str, list[JobSpec]] = {spec.name: [] for spec in plan.jobs}
    indegree: dict[str, int] = {}
    for spec in plan.jobs:
        edges = [need.job for need in spec.needs or () if need.job in dependents]
        indegree[spec.name] = len(edges)
        for name in edges:
            dependents[name].append(spec)
    sequence = _topological(plan, order, dependents, indegree)
    chain: dict[str, int] = {}
    stage_chain: dict[int, int] = {}
    for spec in reversed(sequence):
        stage = order[spec.stage]
        behind = max((chain[one.name] + 1 for one in dependents[spec.name]), default=0)
        chain[spec.name] = max(behind, _behind_stage(stage_chain, stage))
        if spec.needs is None:
            stage_chain[stage] = max(stage_chain.get(stage, 0), chain[spec.name] + 1)
    return chain


def _behind_stage(stage_chain: Mapping[int, int], stage: int) -> int:
    return max((length for position, length in stage_chain.items() if position > stage), default=0)


def _topological(
    plan: Plan, order: Mapping[str, int], dependents: Mapping[str, list[JobSpec]], indegree: dict[str, int]
) -> list[JobSpec]:
    """Jobs by stage, and within a stage after what they need."""
    positions = {spec.name: position for position, spec in enumerate(plan.jobs)}
    heap = [(order[spec.stage], positions[spec.name]) for spec in plan.jobs if not indegree[spec.name]]
    heapq.heapify(heap)
    sequence: list[JobSpec] = []
    while heap:
        spec = plan.jobs[heapq.heappop(heap)[1]]
        sequence.append(spec)
        for one in dependents[spec.name]:
            indegree[one.name] -= 1
            if not indegree[one.name]:
                heapq.heappush(heap, (order[one.stage], positions[one.name]))
    return sequence


def feeders(plan: Plan, spec: JobSpec) -> frozenset[str]:
    """The names of the jobs whose files a job gets: as it says, else what it needs, else all of earlier stages."""
    if spec.dependencies is not None:
        return frozenset(spec.dependencies)
    if spec.needs is not None:
        return frozenset(need.job for need in spec.needs if need.artifacts)
    earlier = set(plan.stages[: plan.stages.index(spec.stage)])
    return frozenset(one.name for one in plan.jobs if one.stage in earlier) if earlier else frozenset()


@dataclass(frozen=True, slots=True, order=True)
class Turn:
    """A job's place in the queue: older runs first, then the longer chain behind it, then the file's order."""

    run_order: int
    shallow: int
    position: int
    run: str = ""
    job: str = ""


class ReadyQueue:
    """The pending jobs of all runs in the order of their turns. Not thread-safe; each operation is logarithmic."""

    def __init__(self) -> None:
        self._heap: list[Turn] = []
        self._live: dict[tuple[str, str], Turn] = {}

    def __len__(self) -> int:
        return len(self._live)

    def add(self, turn: Turn) -> None:
        """A job is pending; adding it again moves nothing."""
        if (turn.run, turn.job) not in self._live:
            self._live[turn.run, turn.job] = turn
            heapq.heappush(self._heap, turn)

    def discard(self, run: str, job: str) -> None:
        """A job is not pending any more."""
        self._live.pop((run, job), None)

    def take(self) -> Turn | None:
        """The next turn, removed; None where nothing is pending."""
        while self._heap:
            turn = heapq.heappop(self._heap)
            if self._live.get((turn.run, turn.job)) is turn:
                del self._live[turn.run, turn.job]
                return turn
        return None


def retries(policy: Retry, *, attempt: int, failure_reason: str, exit_code: int | None) -> bool:
    """Whether attempt number `attempt` (from 1), failed for this cause, is followed by another.

    Without a policy of its own a job is tried once more after `runner_system_failure`, since that is never its fault.
    """
    if failure_reason in _NEVER_AGAIN:
        return False
    if policy.max == 0:
        return failure_reason == SYSTEM_FAILURE and attempt <= _SYSTEM_RETRIES
    if attempt > policy.max:
        return False
    if policy.exit_codes and exit_code in policy.exit_codes:
        return True
    when = policy.when
    if policy.exit_codes and when == ("always",):
        # `retry:exit_codes` alone narrows: `when` then says nothing of its own.
        return failure_reason == SYSTEM_FAILURE
    return "always" in when or failure_reason in when


def tolerated(spec: JobSpec, exit_code: int | None) -> bool:
    """Whether a failure with this exit code lets the pipeline pass."""
    return spec.allow_failure or (exit_code is not None and exit_code in spec.allow_failure_exit_codes)
