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
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from aegis.core import codec, events
from aegis.core.errors import AegisError, Conflict, NotFound, UserError
from aegis.core.events import Draft, Record
from aegis.core.plan import JobSpec, Plan
from aegis.core.ports import Blobs, Clock, Ledger
from aegis.core.types import JobRun, Run, State, StoredFile
from aegis.execution import assignment, recovery, trace
from aegis.execution.options import CoordinatorOptions
from aegis.execution.ports import Lease, QueueStore, TraceStore
from aegis.execution.progress import PLAYED, RETRIED, Progress, Steps
from aegis.execution.runners import Assignment, JobCredentials, JobResult, Runner, Signal, TraceAck
from aegis.execution.schedule import SYSTEM_FAILURE, ReadyQueue, Turn, retries, tolerated

Credentials = Callable[[Run, JobSpec, JobRun], JobCredentials]
ResolveSecret = Callable[[Run, JobSpec, str], str]


class Coordinator:
    """Owns all runs. Thread-safe. Call `recover` once before the first `submit` or `acquire`.

    `credentials` is asked once per attempt, after the assignment is durable; what it raises fails the job.
    `resolve_secret` turns a secret reference into its value at that moment. `on_change` is called with a run's id
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
        on_change: Callable[[str], None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._clock = clock
        self._traces = traces
        self._queue = queue
        self._credentials = credentials
        self._options = options or CoordinatorOptions()
        self._resolve_secret = resolve_secret
        self._on_change = on_change
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)
        self._runs: dict[str, Progress] = {}
        self._closed: OrderedDict[str, Progress] = OrderedDict()
        self._ready = ReadyQueue()
        self._holders: dict[str, tuple[str, str]] = {}
        self._leases: dict[str, Lease] = {}
        self._finishing: set[str] = set()
        self._groups: dict[tuple[str, str], str] = {}
        self._timers: dict[tuple[str, str], float] = {}
        self._wakes = 0
        self._offers = 0

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
        drafts = [self._draft(progress, events.RunCreated(run=made, job_count=len(plan.jobs)), actor, cause, project)]
        drafts.extend(self._ending(progress, actor))
        with self._changing(progress.id):
            records = self._ledger.append(drafts, expect={f"run/{run.id}": 0})
            progress.order = records[0].seq
            self._settle(progress, records)
            self._enqueue(progress, steps)
        return records[0]

    def cancel(self, run_id: str, actor: str, reason: str = "") -> Run:
        """Stop a run: what has not begun is canceled now, what runs is told. A finished run stays as it is."""
        with self._changing(run_id):
            progress = self._progress(run_id)
            if progress.finished:
                return progress.run
            asked = events.RunCancelRequested(run=run_id, by=actor, reason=reason)
            self._commit(progress, [asked], lambda at: progress.cancel(actor, at), actor)
            return progress.run

    def cancel_job(self, run_id: str, name: str, actor: str, reason: str = "") -> Run:
        """Stop one job; `Conflict` when it has finished."""
        return self._person(run_id, name, State.CANCELED, actor, reason or "canceled")

    def retry(self, run_id: str, name: str, actor: str) -> Run:
        """Run a finished job again as its next attempt; the jobs it had skipped are open again."""
        return self._person(run_id, name, State.PENDING, actor, RETRIED)

    def play(self, run_id: str, name: str, actor: str) -> Run:
        """Start a manual job, or a delayed one before its time."""
        return self._person(run_id, name, State.PENDING, actor, PLAYED)

    def _person(self, run_id: str, name: str, state: State, actor: str, reason: str) -> Run:
        with self._changing(run_id):
            progress = self._progress(run_id)
            acts = {RETRIED: progress.retry, PLAYED: progress.play}
            act = acts.get(reason, progress.cancel_job)
            changed = events.JobChanged(name=name, state=state, by=actor, reason=reason)
            self._commit(progress, [changed], lambda at: act(name, at), actor)
            return progress.run

    def run(self, run_id: str) -> Run:
        """A run as it is now, with the latest attempt of each job; `NotFound`."""
        with self._lock:
            return self._progress(run_id).run

    def plan(self, run_id: str) -> Plan:
        """The plan that a run carries out; `NotFound`."""
        with self._lock:
            return self._progress(run_id).plan

    def attempts(self, run_id: str, name: str) -> tuple[JobRun, ...]:
        """Every attempt of a job, oldest first."""
        with self._lock:
            return self._progress(run_id).attempts(name)

    def open_runs(self) -> tuple[Run, ...]:
        """The runs that have not come to their end, oldest first."""
        with self._lock:
            return tuple(progress.run for progress in sorted(self._runs.values(), key=lambda one: one.order))

    def depth(self) -> tuple[int, int]:
        """How many jobs wait for a runner, and how many run."""
        with self._lock:
            return len(self._ready), len(self._holders)

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
            resolve_secret=self._resolve_secret,
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
                progress = self._runs[turn.run]
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
        return self._groups.setdefault(key, progress.job(spec.name).id) == progress.job(spec.name).id

    def _start(self, progress: Progress, spec: JobSpec, runner: Runner) -> JobRun:
        first = progress.head.started_at is None
        at = self._clock.now()
        job, steps = progress.start(spec.name, runner=runner.name, isolation=runner.isolation, at=at)
        begun: list[object] = [events.RunStarted(run=progress.id)] if first else []
        self._append(progress, [*begun, events.JobStarted(job=job)], self._options.actor)
        self._enqueue(progress, steps)
        self._hold(progress, job, runner)
        return job

    def _hold(self, progress: Progress, job: JobRun, runner: Runner) -> None:
        expires = self._clock.monotonic() + self._options.silence(resumable=runner.resumable)
        lease = Lease(
            job_id=job.id, run=progress.id, runner=runner.name, resumable=runner.resumable, expires=expires
        )  # fmt: skip
        self._leases[job.id] = lease
        self._holders[job.id] = (progress.id, job.name)
        if runner.resumable:
            self._queue.put(lease)

    def trace(self, job_id: str, offset: int, data: bytes) -> TraceAck:
        """See `JobSource`."""
        signal = self.update(job_id)
        if signal is Signal.ABORT:
            return TraceAck(size=self._traces.size(job_id), signal=signal)
        return TraceAck(size=self._traces.append(job_id, offset, data), signal=signal)

    def update(self, job_id: str) -> Signal:
        """See `JobSource`."""
        with self._lock:
            holder = self._holders.get(job_id)
            if holder is None or job_id in self._finishing:
                return Signal.ABORT
            lease = self._leases[job_id]
            renewed = replace(lease, expires=self._clock.monotonic() + self._options.silence(resumable=lease.resumable))
            self._leases[job_id] = renewed
            if renewed.resumable:
                self._queue.put(renewed)
            state = self._runs[holder[0]].board.state(holder[1])
            return Signal.CANCEL if state is State.CANCELING else Signal.CONTINUE

    def finish(self, job_id: str, result: JobResult) -> None:
        """See `JobSource`."""
        with self._lock:
            holder = self._holders.get(job_id)
            if holder is None:
                self._check_repeated(job_id, result)
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

    def _check_repeated(self, job_id: str, result: JobResult) -> None:
        for progress in (*self._runs.values(), *self._closed.values()):
            for spec in progress.plan.jobs:
                for job in progress.attempts(spec.name):
                    if job.id == job_id:
                        if job.state is result.state and job.exit_code == result.exit_code:
                            return
                        raise Conflict("job-not-yours", f"job {job_id} is {job.state}; this result came too late")
        raise NotFound("no-such-job", f"no job {job_id} is running")

    def _end(self, holder: tuple[str, str], result: JobResult, trace: StoredFile | None) -> None:
        progress = self._progress(holder[0])
        spec = progress.specs[holder[1]]
        before = progress.job(spec.name)
        # Whoever asked for the end, the server decides that a job being canceled is canceled.
        canceled = before.state is State.CANCELING or result.state is State.CANCELED
        state = State.CANCELED if canceled else result.state
        failed = state is State.FAILED
        job = replace(
            before,
            state=state,
            finished_at=self._clock.now(),
            exit_code=result.exit_code,
            failure_reason=(result.failure_reason or "unknown_failure") if failed else None,
            message=result.message,
            trace=trace,
            files=result.files,
            coverage=result.coverage,
            allow_failure=tolerated(spec, result.exit_code) if failed else spec.allow_failure,
        )
        again = failed and not progress.canceled_by and retries(
            spec.retry, attempt=job.attempt, failure_reason=job.failure_reason or "", exit_code=job.exit_code
        )  # fmt: skip
        self._release(progress, spec, job.id)
        finished = events.JobFinished(job=job, will_retry=again)
        self._commit(
            progress, [finished], lambda at: progress.finish(job, will_retry=again, at=at), self._options.actor
        )

    def _release(self, progress: Progress, spec: JobSpec, job_id: str) -> None:
        self._holders.pop(job_id, None)
        self._leases.pop(job_id, None)
        self._queue.remove(job_id)
        if spec.resource_group is None:
            return
        key = (progress.head.project, spec.resource_group)
        if self._groups.get(key) == job_id:
            del self._groups[key]
            self._free(key)

    def _free(self, key: tuple[str, str]) -> None:
        """Let the oldest job that waits for a resource group have it."""
        for progress in sorted(self._runs.values(), key=lambda one: one.order):
            for name, state in progress.board.states().items():
                waits = state is State.WAITING_FOR_RESOURCE and progress.head.project == key[0]
                if waits and progress.specs[name].resource_group == key[1]:
                    self._enqueue(progress, progress.hold(name, self._clock.now(), waiting=False))
                    return

    def tick(self) -> None:
        """Let delayed jobs become due and silent leases end. Called by every `acquire`; the daemon calls it as well."""
        with self._lock:
            now = self._clock.monotonic()
            for key, due in list(self._timers.items()):
                if due <= now:
                    del self._timers[key]
                    if key[0] in self._runs:
                        self._enqueue(self._runs[key[0]], self._runs[key[0]].due(key[1], self._clock.now()))
            silent = [lease for lease in self._leases.values() if lease.expires <= now]
        for lease in silent:
            text = f"runner {lease.runner!r} was silent for {self._options.silence(resumable=lease.resumable):.0f} s"
            # Whoever finished it in the meantime was faster, and right.
            with contextlib.suppress(Conflict, NotFound):
                self.finish(lease.job_id, JobResult(state=State.FAILED, failure_reason=SYSTEM_FAILURE, message=text))

    def _next_timer(self) -> float:
        times = [*self._timers.values(), *(lease.expires for lease in self._leases.values())]
        return max(0.01, min(times, default=float("inf")) - self._clock.monotonic()) if times else 3600.0

    def recover(self) -> tuple[Run, ...]:
        """Rebuild every open run from the ledger; jobs that were running here have failed. The open runs.

        A job whose runner is remote keeps its lease. Any other job that was running when the process died fails with
        `runner_system_failure` and is tried again as its retry policy says.
        """
        with self._lock:
            kept = {lease.job_id: lease for lease in self._queue.leases() if lease.resumable}
            for run_id in recovery.open_runs(self._ledger, self._queue):
                self._runs[run_id] = recovery.load(self._ledger, self._blobs, run_id)
            lost: list[tuple[str, str, str]] = []
            for progress in sorted(self._runs.values(), key=lambda one: one.order):
                self._requeue(progress)
                for job in progress.held():
                    lease = kept.get(job.id)
                    self._hold(progress, job, Runner(name=job.runner, isolation="", resumable=lease is not None))
                    self._claims_group(progress, progress.specs[job.name])
                    if lease is None:
                        lost.append((progress.id, job.name, job.id))
        for _, _, job_id in lost:
            text = "the server stopped while this job was running"
            self.finish(job_id, JobResult(state=State.FAILED, failure_reason=SYSTEM_FAILURE, message=text))
        with self._lock:
            # A run whose last job ended, but whose end was not written, ends now.
            for progress in list(self._runs.values()):
                if progress.finished and progress.head.finished_at is None:
                    self._append(progress, [data.data for data in self._ending(progress, "")], self._options.actor)
            return self.open_runs()

    def _requeue(self, progress: Progress) -> None:
        for name, state in progress.board.states().items():
            if state is State.PENDING:
                self._offer(progress, name)
            elif state is State.SCHEDULED:
                self._delay(progress, name)

    def _progress(self, run_id: str) -> Progress:
        progress = self._runs.get(run_id) or self._closed.get(run_id)
        if progress is None:
            progress = recovery.load(self._ledger, self._blobs, run_id)
            self._keep(progress)
        return progress

    def _keep(self, progress: Progress) -> None:
        self._closed[progress.id] = progress
        self._closed.move_to_end(progress.id)
        while len(self._closed) > self._options.keep:
            self._closed.popitem(last=False)

    def _offer(self, progress: Progress, name: str) -> None:
        self._offers += 1
        self._ready.add(Turn(progress.order, -progress.depths[name], progress.positions[name], progress.id, name))

    def _delay(self, progress: Progress, name: str) -> None:
        due = self._clock.monotonic() + (progress.specs[name].start_in or 0)
        self._timers.setdefault((progress.id, name), due)

    def _enqueue(self, progress: Progress, steps: Steps) -> None:
        for step in steps:
            if step.state is State.PENDING:
                self._timers.pop((progress.id, step.name), None)
                self._offer(progress, step.name)
            else:
                self._ready.discard(progress.id, step.name)
                if step.state is State.SCHEDULED:
                    self._delay(progress, step.name)
        if steps:
            self._work.notify_all()

    def _draft(self, progress: Progress, data: object, actor: str, cause: str = "", project: str = "") -> Draft:
        return Draft(
            subject=f"run/{progress.id}",
            data=data,
            actor=actor or self._options.actor,
            project=project or progress.head.project,
            environment=progress.head.environment or "",
            cause=cause,
        )

    def _ending(self, progress: Progress, actor: str) -> list[Draft]:
        if not progress.finished or progress.head.finished_at is not None:
            return []
        return [self._draft(progress, events.RunFinished(run=progress.id, state=progress.board.run), actor)]

    def _commit(self, progress: Progress, data: Sequence[object], act: Callable[[datetime], Steps], actor: str) -> None:
        """Make a change and write it with everything that follows in one append; undone in memory if that fails."""
        at = self._clock.now()
        steps = act(at)
        ending = [draft.data for draft in self._ending(progress, actor)]
        self._append(progress, [*data, *ending], actor)
        self._enqueue(progress, steps)

    def _append(self, progress: Progress, data: Sequence[object], actor: str) -> None:
        try:
            records = self._ledger.append([self._draft(progress, one, actor) for one in data])
        except AegisError:
            # Memory is ahead of the ledger: what is durable counts.
            self._reload(progress.id)
            raise
        self._settle(progress, records)

    def _reload(self, run_id: str) -> None:
        fresh = recovery.load(self._ledger, self._blobs, run_id)
        for spec in fresh.plan.jobs:
            self._ready.discard(run_id, spec.name)
        self._closed.pop(run_id, None)
        self._runs[run_id] = fresh
        for job in fresh.held():
            kept = self._leases.get(job.id)
            self._hold(fresh, job, Runner(name=job.runner, isolation="", resumable=kept is not None and kept.resumable))
        self._requeue(fresh)

    def _settle(self, progress: Progress, records: Sequence[Record]) -> None:
        """A run's records are durable: it is among the open runs or the closed ones, and the bookmark moves."""
        for record in records:
            if isinstance(record.data, events.RunFinished):
                progress.close(record.recorded_at)
        if progress.finished:
            self._runs.pop(progress.id, None)
            self._keep(progress)
        else:
            self._runs[progress.id] = progress
            self._closed.pop(progress.id, None)
        if any(isinstance(one.data, events.RunCreated | events.RunFinished | events.JobChanged) for one in records):
            self._queue.mark(records[-1].seq, tuple(self._runs))

    @contextlib.contextmanager
    def _changing(self, run_id: str) -> Iterator[None]:
        with self._lock:
            yield
        self._notify(run_id)

    def _notify(self, run_id: str) -> None:
        if self._on_change is not None:
            self._on_change(run_id)
