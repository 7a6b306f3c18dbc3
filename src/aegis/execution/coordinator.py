"""The coordinator: the one owner of the job queue, and the `JobSource` of every runner.

It turns what runners and people do into ledger events and tells the status machine. All events of one decision are
one append. It holds nothing that the ledger could not give back, leases excepted. It does not run anything, and does not
know what a pipeline file, a project or a policy is.

It is called from threads (runners, doors, the flow), so it has one lock of its own; this is the one module besides the
supervisor that does.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from aegis.core import codec, events
from aegis.core.errors import AegisError, Conflict, NotFound, UserError
from aegis.core.events import Record
from aegis.core.plan import JobSpec, Plan, Variable
from aegis.core.ports import Blobs, Clock, Ledger
from aegis.core.types import JobRun, Run, State, StoredFile
from aegis.execution import assignment, trace
from aegis.execution.leases import Leases
from aegis.execution.options import CoordinatorOptions
from aegis.execution.outcomes import ended, outcomes, tried_again
from aegis.execution.ports import QueueStore, TraceStore
from aegis.execution.progress import BRIDGE, PLAYED, RESUMED, RETRIED, Progress, Steps
from aegis.execution.redundancy import superseded
from aegis.execution.register import Register
from aegis.execution.resources import UNORDERED, Claim, ResourceGroups, next_claim
from aegis.execution.runners import Assignment, JobCredentials, JobResult, Runner, Signal, TraceAck
from aegis.execution.schedule import SYSTEM_FAILURE, ReadyQueue, Turn

Credentials = Callable[[Run, JobSpec, JobRun], JobCredentials]
ResolveSecret = Callable[[Run, JobSpec, str], str]
ProcessMode = Callable[[str, str], str]


class Coordinator:
    """Owns all runs. Thread-safe. Call `recover` once before the first `submit` or `acquire`.

    `credentials` is asked once per attempt, after the assignment is durable; what it raises fails the job.
    `resolve_secret` turns a secret reference into its value at that moment. `process_mode` answers how a project's resource
    group is given out. A job with `trigger` gets no runner: it runs from the moment it may until `finish`. `on_change` is called with a run's id
    after each durable change, outside the lock, from whichever thread made it.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        blobs: Blobs,
        clock: Clock,
        traces: TraceStore,
        queue: QueueStore,
        credentials: Credentials,
        options: CoordinatorOptions | None = None,
        resolve_secret: ResolveSecret | None = None,
        process_mode: ProcessMode | None = None,
        foreign: assignment.Foreign | None = None,
        on_change: Callable[[str], None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._clock = clock
        self._traces = traces
        self._credentials = credentials
        self._options = options or CoordinatorOptions()
        self._resolve_secret = resolve_secret
        self._process_mode = process_mode
        self._foreign = foreign
        self._on_change = on_change
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._runs = Register(ledger, blobs, queue, actor=self._options.actor, keep=self._options.keep)
        self._ready = ReadyQueue()
        self._leases = Leases(queue, clock, self._options.silence)
        self._finishing: set[str] = set()
        self._groups = ResourceGroups()
        self._timers: dict[tuple[str, str], float] = {}
        self._wakes = self._offers = 0

    @property
    def lease_seconds(self) -> float:
        """How long a job may be silent."""
        return self._options.lease_seconds

    def submit(self, run: Run, plan: Plan, *, actor: str, cause: str = "", project: str = "") -> Record:
        """Begin a run: the plan goes to the blobs, `RunCreated` to the ledger, its first jobs into the queue.

        `run.plan`, `run.created_at` and `run.jobs` are set here. `UserError` for a plan without jobs, `Conflict` for a
        run id that exists.
        """
        if not plan.jobs:
            raise UserError("empty-pipeline", "no job of the pipeline runs for this source", hint="aegis preview")
        digest = self._blobs.put(codec.encode(plan))
        at = self._clock.now()
        made = replace(run, plan=digest, jobs=(), created_at=at, state=State.CREATED)
        progress = Progress(made, plan, order=0)
        steps = progress.begin(at)
        data = [events.RunCreated(run=made, job_count=len(plan.jobs)), *self._runs.ending(progress)]
        drafts = [self._runs.draft(progress, one, actor, cause, project) for one in data]
        with self._changing(progress.id):
            records = self._ledger.append(drafts, expect={f"run/{run.id}": 0})
            progress.order = records[0].seq
            self._runs.settle(progress, records)
            self._enqueue(progress, steps)
        return records[0]

    def cancel(self, run_id: str, actor: str, reason: str = "") -> Run:
        """Stop a run: what has not begun is canceled now, what runs is told. A finished run stays as it is."""
        with self._changing(run_id):
            progress = self._runs.progress(run_id)
            if progress.finished:
                return progress.run
            self._cancel(progress, actor, reason)
            return progress.run

    def _cancel(self, progress: Progress, actor: str, reason: str) -> None:
        asked = events.RunCancelRequested(run=progress.id, by=actor, reason=reason)
        self._commit(progress, [asked], lambda at: progress.cancel(actor, at), actor)

    def supersede(self, run_id: str, actor: str, reason: str) -> Run:
        """A newer pipeline of the same branch has begun: cancel what the plan's `auto_cancel` says."""
        with self._changing(run_id):
            progress = self._runs.progress(run_id)
            found = superseded(progress.plan, progress.run.jobs) if not progress.finished else None
            if found is not None and found.whole:
                self._cancel(progress, actor, reason)
            for name in found.jobs if found is not None else ():
                if not progress.job(name).state.finished:
                    self._change_job(progress, name, State.CANCELED, actor, reason)
            return progress.run

    def cancel_job(self, run_id: str, name: str, actor: str, reason: str = "") -> Run:
        """Stop one job; `Conflict` when it has finished."""
        return self._person(run_id, name, State.CANCELED, actor, reason or "canceled")

    def retry(self, run_id: str, name: str, actor: str) -> Run:
        """Run a finished job again as its next attempt; the jobs it had skipped are open again."""
        return self._person(run_id, name, State.PENDING, actor, RETRIED)

    def retry_failed(self, run_id: str, actor: str) -> tuple[str, ...]:
        """Run what failed or was canceled again, also what had never begun, each in its turn; the names of these jobs."""
        with self._changing(run_id):
            progress = self._runs.progress(run_id)
            for name in (names := progress.unsuccessful()):
                self._change_job(progress, name, State.CREATED, actor, RETRIED)
            return names

    def resume(self, run_id: str, name: str, actor: str) -> Run:
        """The pipeline of an ended trigger goes on: the trigger waits for it again, as the same attempt."""
        with self._changing(run_id):
            progress = self._runs.progress(run_id)
            self._change_job(progress, name, State.RUNNING, actor, RESUMED)
            self._leases.hold_without_end(run_id, progress.job(name))
            return progress.run

    def play(self, run_id: str, name: str, actor: str, variables: Sequence[Variable] = ()) -> Run:
        """Start a manual job, or a delayed one before its time; `variables` override the job's own."""
        return self._person(run_id, name, State.PENDING, actor, PLAYED, tuple(variables))

    def _person(
        self, run_id: str, name: str, state: State, actor: str, reason: str, variables: tuple[Variable, ...] = ()
    ) -> Run:
        with self._changing(run_id):
            progress = self._runs.progress(run_id)
            self._change_job(progress, name, state, actor, reason, variables)
            return progress.run

    def _change_job(
        self, progress: Progress, name: str, state: State, actor: str, reason: str,
        variables: tuple[Variable, ...] = (),
    ) -> None:  # fmt: skip
        changed = events.JobChanged(name=name, state=state, by=actor, reason=reason, variables=variables)
        self._commit(progress, [changed], lambda at: progress.changed(changed, at), actor)

    def amend(self, run_id: str, change: events.ArtifactsKept | events.ArtifactsErased, actor: str) -> None:
        """Write down that files of a run's jobs stay longer or are gone."""
        with self._changing(run_id):
            progress = self._runs.progress(run_id)
            self._append(progress, [change], actor)
            progress.amended(change)

    def run(self, run_id: str) -> Run:
        """A run as it is now, with the latest attempt of each job; `NotFound`."""
        with self._lock:
            return self._runs.progress(run_id).run

    def plan(self, run_id: str) -> Plan:
        """The plan that a run carries out; `NotFound`."""
        with self._lock:
            return self._runs.progress(run_id).plan

    def feeders(self, run_id: str, name: str) -> tuple[JobRun, ...]:
        """The jobs whose files a job gets."""
        with self._lock:
            progress = self._runs.progress(run_id)
            return progress.feeders(progress.specs[name])

    def attempts(self, run_id: str, name: str) -> tuple[JobRun, ...]:
        """Every attempt of a job, oldest first."""
        with self._lock:
            return self._runs.progress(run_id).attempts(name)

    def open_runs(self) -> tuple[Run, ...]:
        """The runs that have not come to their end, oldest first."""
        with self._lock:
            return tuple(progress.run for progress in self._runs)

    def depth(self) -> tuple[int, int]:
        """How many jobs wait for a runner, and how many run."""
        with self._lock:
            return len(self._ready), len(self._leases)

    def acquire(self, runner: Runner, *, timeout: float = 0.0) -> Assignment | None:
        """See `JobSource`."""
        if self._options.require_isolation:
            runner.must_isolate()
        deadline = self._clock.monotonic() + timeout
        wakes = self._wakes
        while True:
            self.tick()
            with self._lock:
                taken = self._take(runner)
                left = deadline - self._clock.monotonic()
                if taken is not None or left <= 0 or self._wakes != wakes:
                    break
                self._work.wait(min(left, self._next_timer()))
        if taken is None:
            return None
        self._notify(taken[0].id)
        progress, spec, job = taken
        feeders = progress.feeders(spec)
        return assignment.build(
            progress.head, spec, job, feeders, blobs=self._blobs, credentials=self._credentials,
            resolve_secret=self._resolve_secret, extra=progress.given(spec.name), foreign=self._foreign,
        )  # fmt: skip

    def offered(self, after: int = -1, timeout: float = 0.0) -> int:
        """See `JobSource`."""
        with self._lock:
            self._work.wait_for(lambda: self._offers > after, timeout)
            return self._offers

    def wake(self, runners: Sequence[str] = ()) -> None:  # noqa: ARG002 - waking all is allowed by the port
        """See `JobSource`."""
        with self._lock:
            self._wakes += 1
            self._work.notify_all()

    def _take(self, runner: Runner) -> tuple[Progress, JobSpec, JobRun] | None:
        passed: list[Turn] = []
        try:
            while (turn := self._ready.take()) is not None:
                progress = self._runs.open(turn.run)
                spec = progress.specs[turn.job]
                if not runner.takes(progress.head, spec):
                    passed.append(turn)
                elif not self._claims_group(progress, spec):
                    self._enqueue(progress, progress.hold(spec.name, self._clock.now(), waiting=True))
                else:
                    return progress, spec, self._start(progress, spec, runner)
        finally:
            for turn in passed:
                self._ready.add(turn)
        return None

    def _claims_group(self, progress: Progress, spec: JobSpec) -> bool:
        if spec.resource_group is None:
            return True
        key = (progress.head.project, spec.resource_group)
        job_id = progress.job(spec.name).id
        if self._groups.holder(key) not in {None, job_id}:
            return False
        if self._mode(key) != UNORDERED:
            first = self._next(key)
            if first is None or (first.run, first.job) != (progress.id, spec.name):
                return False
        self._groups.take(key, job_id)
        return True

    def _mode(self, key: tuple[str, str]) -> str:
        return self._process_mode(*key) if self._process_mode is not None else UNORDERED

    def _next(self, key: tuple[str, str]) -> Claim | None:
        return next_claim(self._mode(key), self._runs.claims(*key))

    def _start(self, progress: Progress, spec: JobSpec, runner: Runner) -> JobRun:
        first = progress.head.started_at is None
        at = self._clock.now()
        job, steps = progress.start(spec.name, runner=runner, at=at)
        begun: list[object] = [events.RunStarted(run=progress.id)] if first else []
        self._append(progress, [*begun, events.JobStarted(job=job)], self._options.actor)
        self._enqueue(progress, steps)
        if spec.trigger is not None:
            self._leases.hold_without_end(progress.id, job)
        else:
            self._leases.hold(progress.id, job, runner)
        return job

    def trace(self, job_id: str, offset: int, data: bytes) -> TraceAck:
        """See `JobSource`."""
        signal = self.update(job_id)
        if signal is Signal.ABORT:
            return TraceAck(size=self._traces.size(job_id), signal=signal)
        return TraceAck(size=self._traces.append(job_id, offset, data), signal=signal)

    def update(self, job_id: str) -> Signal:
        """See `JobSource`."""
        with self._lock:
            holder = self._leases.holder(job_id)
            if holder is None or job_id in self._finishing:
                return Signal.ABORT
            self._leases.renew(job_id)
            state = self._runs.open(holder[0]).board.state(holder[1])
            return Signal.CANCEL if state is State.CANCELING else Signal.CONTINUE

    def finish(self, job_id: str, result: JobResult) -> None:
        """See `JobSource`."""
        with self._lock:
            holder = self._leases.holder(job_id)
            if holder is None:
                self._runs.check_repeated(job_id, result)
                return
            if job_id in self._finishing:
                raise Conflict("job-finishing", f"job {job_id} is being finished by another call", retryable=True)
            self._finishing.add(job_id)
        try:
            # The trace is stored outside the lock: it may be long.
            stored = trace.keep(self._traces, self._blobs, job_id)
            with self._changing(holder[0]):
                self._end(holder, result, stored)
        finally:
            with self._lock:
                self._finishing.discard(job_id)

    def _end(self, holder: tuple[str, str], result: JobResult, trace: StoredFile | None) -> None:
        progress = self._runs.progress(holder[0])
        spec = progress.specs[holder[1]]
        before = progress.job(spec.name)
        job = ended(spec, before, result, trace, self._clock.now())
        again = not progress.canceled_by and tried_again(spec, job)
        told = assignment.named_by_address(spec, (*progress.feeders(spec), job), self._blobs)
        self._release(progress, spec, job.id)
        said = [
            events.JobFinished(job=job, will_retry=again),
            *outcomes(progress.head, spec, job, told, will_retry=again),
        ]
        self._commit(progress, said, lambda at: progress.finish(job, will_retry=again, at=at), self._options.actor)

    def _release(self, progress: Progress, spec: JobSpec, job_id: str) -> None:
        self._leases.drop(job_id)
        if spec.resource_group is not None:
            self._groups.free((progress.head.project, spec.resource_group), job_id)

    def _regroup(self, progress: Progress) -> None:
        """Let the next job have each of this run's groups that is free."""
        for group in progress.groups:
            key = (progress.head.project, group)
            first = self._next(key) if self._groups.holder(key) is None else None
            if first is not None and first.state is State.WAITING_FOR_RESOURCE:
                other = self._runs.open(first.run)
                self._enqueue(other, other.hold(first.job, self._clock.now(), waiting=False))

    def tick(self) -> None:
        """Let delayed jobs become due and silent leases end. Called by every `acquire`; the daemon calls it as well."""
        with self._lock:
            now = self._clock.monotonic()
            for key, due in list(self._timers.items()):
                if due <= now:
                    del self._timers[key]
                    if key[0] in self._runs:
                        progress = self._runs.open(key[0])
                        self._enqueue(progress, progress.due(key[1], self._clock.now()))
            silent = self._leases.silent()
        for lease in silent:
            text = f"runner {lease.runner!r} was silent for {self._options.silence(resumable=lease.resumable):.0f} s"
            # Whoever finished it in the meantime was faster, and right.
            with contextlib.suppress(Conflict, NotFound):
                self.finish(lease.job_id, JobResult(state=State.FAILED, failure_reason=SYSTEM_FAILURE, message=text))

    def _next_timer(self) -> float:
        now = self._clock.monotonic()
        return max(0.01, min(*self._timers.values(), self._leases.next_end(), now + 3600.0) - now)

    def recover(self) -> tuple[Run, ...]:
        """Rebuild every open run from the ledger; jobs that were running here have failed. The open runs.

        A job whose runner is remote keeps its lease. Any other job that was running when the process died fails with
        `runner_system_failure` and is tried again as its retry policy says.
        """
        with self._lock:
            kept = self._leases.kept()
            self._runs.reopen()
            lost: list[str] = []
            for progress in self._runs:
                for job in progress.held():
                    if (group := progress.specs[job.name].resource_group) is not None:
                        self._groups.take((progress.head.project, group), job.id)
                    if progress.specs[job.name].trigger is not None:
                        self._leases.hold_without_end(progress.id, job)
                        continue
                    self._leases.hold(progress.id, job, Runner(name=job.runner, isolation="", resumable=job.id in kept))
                    if job.id not in kept:
                        lost.append(job.id)
            for progress in list(self._runs):
                self._requeue(progress)
        for job_id in lost:
            text = "the server stopped while this job was running"
            self.finish(job_id, JobResult(state=State.FAILED, failure_reason=SYSTEM_FAILURE, message=text))
        with self._lock:
            # A run whose last job ended, but whose end was not written, ends now.
            for progress in list(self._runs):
                if ending := self._runs.ending(progress):
                    self._append(progress, ending, self._options.actor)
                self._end_bridges(progress)
            return self.open_runs()

    def _requeue(self, progress: Progress) -> None:
        for name, state in progress.board.states().items():
            if state is State.PENDING:
                self._offer(progress, name)
            elif state is State.SCHEDULED:
                self._delay(progress, name)

    def _offer(self, progress: Progress, name: str) -> None:
        spec = progress.specs[name]
        if spec.trigger is None:
            self._offers += 1
            self._ready.add(Turn(progress.order, -progress.depths[name], progress.positions[name], progress.id, name))
        elif self._claims_group(progress, spec):
            self._start(progress, spec, BRIDGE)
        else:
            progress.hold(name, self._clock.now(), waiting=True)

    def _delay(self, progress: Progress, name: str) -> None:
        self._timers.setdefault((progress.id, name), self._clock.monotonic() + (progress.specs[name].start_in or 0))

    def _enqueue(self, progress: Progress, steps: Steps) -> None:
        for step in steps:
            if step.state is State.PENDING:
                self._timers.pop((progress.id, step.name), None)
                if progress.board.state(step.name) is State.PENDING:
                    self._offer(progress, step.name)
            else:
                self._ready.discard(progress.id, step.name)
                if step.state is State.SCHEDULED:
                    self._delay(progress, step.name)
        if steps:
            self._work.notify_all()

    def _commit(self, progress: Progress, data: Sequence[object], act: Callable[[datetime], Steps], actor: str) -> None:
        """Make a change and write it with everything that follows in one append; undone in memory if that fails."""
        steps = act(self._clock.now())
        self._append(progress, [*data, *self._runs.ending(progress)], actor)
        self._enqueue(progress, steps)
        self._end_bridges(progress)
        self._regroup(progress)

    def _end_bridges(self, progress: Progress) -> None:
        """A trigger that is to be canceled has no runner that would say so."""
        for job in tuple(progress.bridges()):
            if job.state is State.CANCELING:
                self._end((progress.id, job.name), JobResult(state=State.CANCELED, message="canceled"), None)

    def _append(self, progress: Progress, data: Sequence[object], actor: str) -> None:
        try:
            self._runs.append(progress, data, actor)
        except AegisError:
            # Memory is ahead of the ledger: what is durable counts.
            self._reload(progress.id)
            raise

    def _reload(self, run_id: str) -> None:
        fresh = self._runs.load(run_id)
        for spec in fresh.plan.jobs:
            self._ready.discard(run_id, spec.name)
        self._runs.replace(fresh)
        for job in fresh.held():
            if fresh.specs[job.name].trigger is not None:
                self._leases.hold_without_end(run_id, job)
                continue
            resumable = self._leases.resumable(job.id)
            self._leases.hold(run_id, job, Runner(name=job.runner, isolation="", resumable=resumable))
        self._requeue(fresh)

    @contextlib.contextmanager
    def _changing(self, run_id: str) -> Iterator[None]:
        with self._lock:
            yield
        self._notify(run_id)

    def _notify(self, run_id: str) -> None:
        if self._on_change is not None:
            self._on_change(run_id)
