"""One run's course: its plan, its board and the latest attempt of each job. No I/O, no clock.

Every change is made by a method that takes the time and answers the steps that follow; `replay` makes the same changes
from ledger records, so that a run read back is the run that was. It does not decide who runs what, nor writes events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from aegis.core import events, ids
from aegis.core.errors import Conflict, NotFound
from aegis.core.events import Record
from aegis.core.plan import JobSpec, Plan, Variable
from aegis.core.types import TRIGGER, JobRun, Run, State
from aegis.execution.outcomes import amended
from aegis.execution.runners import Runner
from aegis.execution.schedule import depths, feeders
from aegis.execution.status import Board, Step

Steps = tuple[Step, ...]
RETRIED: Final = "retried"
PLAYED: Final = "played"
RESUMED: Final = "resumed"
BRIDGE: Final = Runner(name=TRIGGER, isolation="none")
"""Who is written down as the runner of a job that starts another pipeline."""


def job_id(run: Run, name: str, attempt: int) -> str:
    """The id of an attempt: derived, so that it is the same before and after a restart; sorts by the run's time."""
    at = run.created_at
    entropy = hashlib.sha256(f"{run.id}\0{name}\0{attempt}".encode()).digest()[:10]
    return ids.ulid(int(at.timestamp() * 1000) if at else 0, entropy)


class Progress:
    """Live state of a run. Not thread-safe: the coordinator serialises."""

    def __init__(self, run: Run, plan: Plan, *, order: int) -> None:
        self._run = replace(run, jobs=())
        self.plan = plan
        self.order = order
        self.specs = {spec.name: spec for spec in plan.jobs}
        self.positions = {spec.name: position for position, spec in enumerate(plan.jobs)}
        self.depths = depths(plan)
        self.board = Board.of(plan)
        self.canceled_by = ""
        self.groups: dict[str, tuple[str, ...]] = {}
        """The jobs of each resource group."""
        for spec in plan.jobs:
            if spec.resource_group is not None:
                self.groups[spec.resource_group] = (*self.groups.get(spec.resource_group, ()), spec.name)
        self._bridges = tuple(spec.name for spec in plan.jobs if spec.trigger is not None)
        self._given: dict[str, tuple[Variable, ...]] = {}
        self._jobs = {spec.name: self._attempt(spec, 1) for spec in plan.jobs}
        self._attempts: dict[str, list[JobRun]] = {}

    def _attempt(self, spec: JobSpec, number: int, queued: datetime | None = None) -> JobRun:
        return JobRun(
            id=job_id(self._run, spec.name, number),
            name=spec.name,
            stage=spec.stage,
            attempt=number,
            queued_at=queued,
            allow_failure=spec.allow_failure,
            origin=spec.origin,
        )

    # -- what is ----------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The run's id."""
        return self._run.id

    @property
    def head(self) -> Run:
        """The run without its jobs."""
        return replace(self._run, state=self.board.run)

    @property
    def run(self) -> Run:
        """The run with the latest attempt of each job, in the order of the plan."""
        return replace(self.head, jobs=tuple(self.job(spec.name) for spec in self.plan.jobs))

    def job(self, name: str) -> JobRun:
        """The latest attempt of a job; `NotFound`."""
        if name not in self._jobs:
            raise NotFound("no-such-job", f"run {self.id} has no job {name!r}", hint=f"aegis status {self.id}")
        job, state = self._jobs[name], self.board.state(name)
        if job.state is not state:
            # Kept, so that looking at a large run again costs only what has changed.
            job = self._jobs[name] = replace(job, state=state)
        return job

    def attempts(self, name: str) -> tuple[JobRun, ...]:
        """Every attempt of a job, oldest first."""
        return (*self._attempts.get(name, ()), self.job(name))

    def held(self) -> Iterator[JobRun]:
        """The jobs that a runner has."""
        for name, state in self.board.states().items():
            if state in {State.RUNNING, State.CANCELING}:
                yield self.job(name)

    def bridges(self) -> Iterator[JobRun]:
        """The jobs that start other pipelines."""
        for name in self._bridges:
            yield self.job(name)

    def given(self, name: str) -> tuple[Variable, ...]:
        """The variables that whoever started a manual job gave it."""
        return self._given.get(name, ())

    def unsuccessful(self) -> tuple[str, ...]:
        """The jobs that failed or were canceled; those that others wait for come first."""
        found = (name for name, state in self.board.states().items() if state in {State.FAILED, State.CANCELED})
        order = self.plan.stages.index
        return tuple(sorted(found, key=lambda name: (order(self.specs[name].stage), -self.depths[name])))

    @property
    def finished(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.board.run.finished

    def feeders(self, spec: JobSpec) -> tuple[JobRun, ...]:
        """The jobs whose files this one gets, in the order of the plan."""
        wanted = feeders(self.plan, spec)
        known = sorted((name for name in wanted if name in self.positions), key=self.positions.__getitem__)
        return tuple(self.job(name) for name in known)

    # -- what happens -----------------------------------------------------------------------------------------

    def begin(self, at: datetime) -> Steps:
        """The run exists."""
        return self._queued(self.board.begin(), at)

    def start(self, name: str, *, runner: Runner, at: datetime) -> tuple[JobRun, Steps]:
        """A runner has the job now."""
        network = runner.network(self.head, self.specs[name]) if runner.network is not None else ""
        job = replace(
            self._jobs[name], state=State.RUNNING, started_at=at, runner=runner.name, isolation=runner.isolation,
            network=network,
        )  # fmt: skip
        return job, self._started(job, at)

    def _started(self, job: JobRun, at: datetime) -> Steps:
        self._jobs[job.name] = job
        if self._run.started_at is None:
            self._run = replace(self._run, started_at=at)
        self._run = replace(self._run, finished_at=None)
        return self._queued(self.board.change(job.name, State.RUNNING), at)

    def finish(self, job: JobRun, *, will_retry: bool, at: datetime) -> Steps:
        """An attempt has ended as `job` says; another follows when `will_retry`."""
        self._jobs[job.name] = job
        if will_retry:
            self._next_attempt(job.name, at)
            again = Step(name=job.name, state=State.PENDING)
            return self._queued((again, *self.board.change(job.name, State.PENDING)), at)
        return self._queued(self.board.change(job.name, job.state, allow_failure=job.allow_failure), at)

    def _next_attempt(self, name: str, at: datetime) -> None:
        job = self._jobs[name]  # as it ended: the board still has the state of before
        self._attempts.setdefault(name, []).append(job)
        self._jobs[name] = self._attempt(self.specs[name], job.attempt + 1, at)

    def retry(self, name: str, at: datetime, *, in_turn: bool = False) -> Steps:
        """A person wants a finished job again, now or `in_turn`; `Conflict` for one that has not finished."""
        job = self.job(name)
        if job.state not in {State.SUCCESS, State.FAILED, State.CANCELED}:
            raise Conflict("job-not-finished", f"job {name!r} is {job.state}; only a finished job is run again")
        self._next_attempt(name, at)
        return self._reopened(name, at, in_turn=in_turn)

    def changed(self, data: events.JobChanged, at: datetime) -> Steps:
        """What a person, or a rule, does with one job."""
        if data.state is State.CANCELED:
            return self.cancel_job(data.name, at)
        if data.reason == RETRIED:
            return self.retry(data.name, at, in_turn=data.state is State.CREATED)
        if data.reason == RESUMED:
            return self.resume(data.name, at)
        if data.reason == PLAYED:
            steps = self.play(data.name, at)
            if data.variables:
                self._given[data.name] = data.variables
            return steps
        return ()

    def resume(self, name: str, at: datetime) -> Steps:
        """The pipeline that a trigger started goes on: the same attempt runs again; `Conflict` for one that has not ended."""
        job = self.job(name)
        if not job.state.finished:
            raise Conflict("job-not-finished", f"job {name!r} is {job.state}; it waits for its pipeline already")
        steps = self._reopened(name, at)
        self._jobs[name] = replace(
            job, state=State.RUNNING, finished_at=None, exit_code=None, failure_reason=None, message=""
        )
        more = self.board.change(name, State.RUNNING)
        return (*(step for step in steps if step.name != name), *self._queued(more, at))

    def play(self, name: str, at: datetime) -> Steps:
        """A person starts a manual or delayed job; `Conflict` for any other."""
        state = self.job(name).state
        if state not in {State.MANUAL, State.SCHEDULED}:
            raise Conflict(
                "job-not-manual", f"job {name!r} is {state}; only a manual or delayed job is started by hand"
            )
        return self._reopened(name, at)

    def _reopened(self, name: str, at: datetime, *, in_turn: bool = False) -> Steps:
        self.canceled_by = ""
        self._run = replace(self._run, finished_at=None)
        return self._queued(self.board.reopen(name) if in_turn else self.board.play(name), at)

    def due(self, name: str, at: datetime) -> Steps:
        """A delayed job's time has come."""
        if self.board.state(name) is not State.SCHEDULED:
            return ()
        return self._queued((Step(name=name, state=State.PENDING), *self.board.change(name, State.PENDING)), at)

    def hold(self, name: str, at: datetime, *, waiting: bool) -> Steps:
        """A pending job waits for its resource group, or has it now."""
        state = State.WAITING_FOR_RESOURCE if waiting else State.PENDING
        return self._queued((Step(name=name, state=state), *self.board.change(name, state)), at)

    def cancel(self, by: str, at: datetime) -> Steps:
        """The whole run is to stop."""
        self.canceled_by = by
        return self._queued(self.board.stop(), at)

    def cancel_job(self, name: str, at: datetime) -> Steps:
        """One job is to stop; `Conflict` when it has finished."""
        state = self.job(name).state
        if state.finished:
            raise Conflict("job-finished", f"job {name!r} is {state} already")
        target = State.CANCELING if state in {State.RUNNING, State.CANCELING} else State.CANCELED
        return self._queued((Step(name=name, state=target), *self.board.change(name, target)), at)

    def close(self, at: datetime) -> None:
        """The run has come to its end."""
        self._run = replace(self._run, finished_at=at)

    def _queued(self, steps: Steps, at: datetime) -> Steps:
        for step in steps:
            job = self._jobs[step.name]
            if step.state is State.PENDING and job.queued_at is None:
                self._jobs[step.name] = replace(job, queued_at=at)
            elif step.state is State.CREATED:
                self._jobs[step.name] = replace(job, queued_at=None)
        return steps

    # -- reading back -----------------------------------------------------------------------------------------

    def amended(self, data: events.ArtifactsKept | events.ArtifactsErased) -> Steps:
        """The files of attempts stay longer, or are gone."""
        self._jobs = {name: amended(job, data) for name, job in self._jobs.items()}
        self._attempts = {name: [amended(job, data) for job in jobs] for name, jobs in self._attempts.items()}
        return ()

    def replay(self, record: Record) -> None:
        """Make the change that a record after `RunCreated` tells of; records of other packages are passed over."""
        at, data = record.recorded_at, record.data
        if isinstance(data, events.JobStarted):
            self._started(data.job, data.job.started_at or at)
        elif isinstance(data, events.JobFinished):
            self.finish(data.job, will_retry=data.will_retry, at=at)
        elif isinstance(data, events.RunCancelRequested):
            self.cancel(data.by, at)
        elif isinstance(data, events.RunFinished):
            self.close(at)
        elif isinstance(data, events.JobChanged):
            self.changed(data, at)
        elif isinstance(data, events.ArtifactsKept | events.ArtifactsErased):
            self.amended(data)
