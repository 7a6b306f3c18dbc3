"""The status machine: what a job, a stage and a run are, and which jobs follow from a change.

It decides by GitLab's composite rules and GitLab's rules for `when`, `needs`, manual and canceled jobs. It does not
know runners, time, retries or storage: the coordinator tells it what happened and carries out what it answers.
`Board` is mutable and does no I/O; a change costs time in proportion to the edges it touches, so that a plan of
10,000 jobs is walked through in linear time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from aegis.core.plan import JobSpec, Plan
from aegis.core.types import State
from aegis.core.values import dataclass

_WARN: Final = "warn"
_IGNORED: Final = "ignored"
_COMPLETE: Final = frozenset({"success", "failed", "canceled", "skipped", _WARN, _IGNORED})
_DAG_COMPLETE: Final = frozenset({"success", "failed", "canceled", "skipped", _WARN})
_LADDER: Final[tuple[tuple[frozenset[str], State], ...]] = (
    (frozenset({"skipped", _IGNORED}), State.SKIPPED),
    (frozenset({"success", "skipped", _WARN, _IGNORED}), State.SUCCESS),
    (frozenset({"created", _WARN, _IGNORED}), State.CREATED),
    (frozenset({"preparing", _WARN, _IGNORED}), State.PREPARING),
    (frozenset({"canceled", "success", "skipped", _WARN, _IGNORED}), State.CANCELED),
    (frozenset({"pending", "created", "skipped", _WARN, _IGNORED}), State.PENDING),
)
_PRESENT: Final[tuple[tuple[str, State], ...]] = (
    ("running", State.RUNNING),
    ("pending", State.RUNNING),
    ("waiting_for_resource", State.WAITING_FOR_RESOURCE),
    ("manual", State.MANUAL),
    ("scheduled", State.SCHEDULED),
    ("preparing", State.PREPARING),
    ("created", State.RUNNING),
    ("canceling", State.CANCELING),
)
_STOPPABLE: Final = frozenset(
    {State.CREATED, State.WAITING_FOR_RESOURCE, State.PREPARING, State.PENDING, State.SCHEDULED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What the machine needs to know of a job. `needs` None: it waits for all earlier stages."""

    name: str
    stage: str
    when: str = "on_success"
    allow_failure: bool = False
    needs: tuple[str, ...] | None = None

    @classmethod
    def of(cls, spec: JobSpec) -> Node:
        """The node of a job of a plan."""
        needs = None if spec.needs is None else tuple(need.job for need in spec.needs)
        return cls(name=spec.name, stage=spec.stage, when=spec.when, allow_failure=spec.allow_failure, needs=needs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A job that changed its state as a consequence."""

    name: str
    state: State


def category(state: State, *, allow_failure: bool) -> str:
    """What a job's state counts as before composing (GITLAB.md, "Status of a stage or pipeline")."""
    if allow_failure and state in {State.FAILED, State.CANCELED}:
        return _WARN
    if allow_failure and state is State.MANUAL:
        return _IGNORED
    return state.value


def compose(counts: Mapping[str, int], *, needs: bool = False) -> State | None:
    """The state of a group of jobs by the count of each category; None for an empty group.

    With `needs` the group is what a job of a `needs` graph waits for, which is judged more strictly.
    """
    present = frozenset(name for name, count in counts.items() if count)
    if not present:
        return None
    if needs:
        if present & {"skipped", _IGNORED}:
            return State.SKIPPED
        if not present <= _DAG_COMPLETE:
            return State.PENDING
    for allowed, state in _LADDER:
        if present <= allowed:
            return state
    for name, state in _PRESENT:
        if name in present:
            return state
    return State.FAILED


def accepts(when: str, prior: State, *, needs: bool) -> bool:
    """Whether a job with this `when` goes on after what it waited for ended as `prior`."""
    if when == "on_failure":
        return prior is State.FAILED
    if when == "always":
        return prior in {State.SUCCESS, State.FAILED, State.SKIPPED}
    if when in {"on_success", "manual", "delayed"}:
        return prior is State.SUCCESS or (prior is State.SKIPPED and not needs)
    return False


class Board:
    """The states of all jobs of one plan. Not thread-safe: its owner serialises the calls.

    `begin` is called once; afterwards `change` reports what happened to a job, and each call answers the steps that
    follow from it, in the order in which they were decided.
    """

    def __init__(self, stages: Sequence[str], nodes: Sequence[Node], *, stop_on_failure: bool = False) -> None:
        order = {name: position for position, name in enumerate(stages)}
        self._nodes = tuple(nodes)
        self._index = {node.name: position for position, node in enumerate(self._nodes)}
        self._stage = [order[node.stage] for node in self._nodes]
        self._stages = tuple(stages)
        self._stop_on_failure = stop_on_failure
        self._states = [State.CREATED] * len(self._nodes)
        self._allow = [node.allow_failure for node in self._nodes]
        self._total: dict[str, int] = {}
        self._stage_counts: list[dict[str, int]] = [{} for _ in stages]
        self._stage_open = [0] * len(stages)
        self._waiting: list[dict[int, None]] = [{} for _ in stages]
        self._needs: list[tuple[int, ...] | None] = []
        self._need_counts: list[dict[str, int]] = [{} for _ in self._nodes]
        self._dependents: list[list[int]] = [[] for _ in self._nodes]
        self._link()

    @classmethod
    def of(cls, plan: Plan) -> Board:
        """The board of a plan, before its begin."""
        stop = plan.on_job_failure == "all"
        return cls(plan.stages, [Node.of(spec) for spec in plan.jobs], stop_on_failure=stop)

    def _link(self) -> None:
        for position, node in enumerate(self._nodes):
            # An optional need that is not in the plan is no edge; the compiler has refused the others.
            needs = (
                None if node.needs is None else tuple(self._index[name] for name in node.needs if name in self._index)
            )
            self._needs.append(needs)
            for need in needs or ():
                self._dependents[need].append(position)
                self._count(self._need_counts[position], "created", 1)
            if needs is None:
                self._waiting[self._stage[position]][position] = None
            self._count(self._total, "created", 1)
            self._count(self._stage_counts[self._stage[position]], "created", 1)
            self._stage_open[self._stage[position]] += 1

    # -- what is ----------------------------------------------------------------------------------------------

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def state(self, name: str) -> State:
        """A job's state; `KeyError` where there is no such job."""
        return self._states[self._index[name]]

    def states(self) -> dict[str, State]:
        """Every job's state, in the order of the plan."""
        return {node.name: state for node, state in zip(self._nodes, self._states, strict=True)}

    def stage(self, name: str) -> State | None:
        """A stage's state; None where it has no jobs."""
        return compose(self._stage_counts[self._stages.index(name)])

    @property
    def run(self) -> State:
        """The state of the whole; a plan without jobs counts as skipped."""
        return compose(self._total) or State.SKIPPED

    # -- what happens -----------------------------------------------------------------------------------------

    def begin(self) -> tuple[Step, ...]:
        """Start: the jobs that wait for nothing leave `created`."""
        return self._settle(range(len(self._nodes)))

    def change(self, name: str, state: State, *, allow_failure: bool | None = None) -> tuple[Step, ...]:
        """A job is now `state`; what follows. `allow_failure` overrides the plan's, as exit codes may."""
        position = self._index[name]
        self._set(position, state, self._allow[position] if allow_failure is None else allow_failure)
        steps = self._settle(self._dependents[position])
        if self._stop_on_failure and state is State.FAILED and not self._allow[position]:
            return steps + self.stop()
        return steps

    def play(self, name: str) -> tuple[Step, ...]:
        """A manual, scheduled or finished job is wanted (again): it becomes pending, what it had skipped is open again."""
        position = self._index[name]
        self._set(position, State.PENDING, self._nodes[position].allow_failure)
        reset = self._reset_after(position)
        steps = [Step(name=self._nodes[one].name, state=State.CREATED) for one in reset]
        return (Step(name=name, state=State.PENDING), *steps, *self._settle(reset))

    def reopen(self, name: str) -> tuple[Step, ...]:
        """A finished job is wanted again in its turn: it waits as before the begin, and so does what it had skipped."""
        position = self._index[name]
        self._set(position, State.CREATED, self._nodes[position].allow_failure)
        reset = [position, *self._reset_after(position)]
        return (*(Step(name=self._nodes[one].name, state=State.CREATED) for one in reset), *self._settle(reset))

    def stop(self) -> tuple[Step, ...]:
        """Cancel: what has not begun is canceled, what runs is canceling. Blocking manual jobs are canceled too.

        GitLab leaves those manual, so that a canceled pipeline can wait forever; here a canceled run ends.
        """
        steps: list[Step] = []
        for position, state in enumerate(self._states):
            blocking = state is State.MANUAL and not self._allow[position]
            if state in _STOPPABLE or blocking:
                target = State.CANCELED
            elif state is State.RUNNING:
                target = State.CANCELING
            else:
                continue
            self._set(position, target, self._allow[position])
            steps.append(Step(name=self._nodes[position].name, state=target))
        return tuple(steps)

    # -- how --------------------------------------------------------------------------------------------------

    @staticmethod
    def _count(counts: dict[str, int], name: str, by: int) -> None:
        counts[name] = counts.get(name, 0) + by

    def _set(self, position: int, state: State, allow: bool) -> None:
        before = category(self._states[position], allow_failure=self._allow[position])
        after = category(state, allow_failure=allow)
        self._states[position] = state
        self._allow[position] = allow
        stage = self._stage[position]
        if self._needs[position] is None:
            if state is State.CREATED:
                self._waiting[stage][position] = None
            else:
                self._waiting[stage].pop(position, None)
        if before == after:
            return
        groups = [self._total, self._stage_counts[stage]]
        groups.extend(self._need_counts[dependent] for dependent in self._dependents[position])
        for counts in groups:
            self._count(counts, before, -1)
            self._count(counts, after, 1)
        self._stage_open[stage] += (after not in _COMPLETE) - (before not in _COMPLETE)

    def _settle(self, touched: Iterable[int]) -> tuple[Step, ...]:
        """Let every created job that may go on do so, until nothing changes."""
        steps: list[Step] = []
        queue = deque(touched)
        while True:
            while queue:
                position = queue.popleft()
                if self._needs[position] is None or self._states[position] is not State.CREATED:
                    continue
                prior = compose(self._need_counts[position], needs=True) or State.SUCCESS
                if prior.finished:
                    steps.append(self._go_on(position, prior, needs=True))
                    queue.extend(self._dependents[position])
            advanced = self._advance()
            if not advanced:
                return tuple(steps)
            for position, step in advanced:
                steps.append(step)
                queue.extend(self._dependents[position])

    def _advance(self) -> list[tuple[int, Step]]:
        """Jobs of the first stage that waits and whose earlier stages are all complete."""
        prior: dict[str, int] = {}
        for stage, waiting in enumerate(self._waiting):
            if waiting:
                state = compose(prior) or State.SUCCESS
                return [(one, self._go_on(one, state, needs=False)) for one in sorted(waiting)]
            if self._stage_open[stage]:
                return []
            for name, count in self._stage_counts[stage].items():
                self._count(prior, name, count)
        return []

    def _go_on(self, position: int, prior: State, *, needs: bool) -> Step:
        node = self._nodes[position]
        state = State.SKIPPED
        if accepts(node.when, prior, needs=needs):
            state = {"manual": State.MANUAL, "delayed": State.SCHEDULED}.get(node.when, State.PENDING)
        self._set(position, state, self._allow[position])
        return Step(name=node.name, state=state)

    def _reset_after(self, position: int) -> list[int]:
        """Skipped jobs after this one, by needs or by stage, are created again: their positions."""
        later = [
            one for one, stage in enumerate(self._stage) if self._needs[one] is None and stage > self._stage[position]
        ]
        seen = {position}
        queue = deque([*self._dependents[position], *later])
        reset: list[int] = []
        while queue:
            one = queue.popleft()
            if one in seen:
                continue
            seen.add(one)
            queue.extend(self._dependents[one])
            if self._states[one] is State.SKIPPED:
                self._set(one, State.CREATED, self._nodes[one].allow_failure)
                reset.append(one)
        return reset
