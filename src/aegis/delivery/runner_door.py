"""The Runner API's door: remote runners and the tokens of their jobs come in here, and reach the one `JobSource`.

It authenticates, translates GitLab's words into those of `JobSource` and back, and keeps nothing but small memories that
may be lost. The rules of the protocol are `execution.runners_*`; HTTP is the web's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aegis.access.tokens import Grant, JobClaim, Kind, read_job_token
from aegis.core.errors import AegisError, Conflict, Denied, NotFound, UserError
from aegis.core.types import JobRun, State, StoredFile
from aegis.delivery.artifacts import present
from aegis.delivery.context import Context
from aegis.delivery.foreign_files import ForeignFiles
from aegis.delivery.handlers import runners as hands
from aegis.delivery.runner_book import Contact
from aegis.delivery.runner_facts import Numbers, facts_of, protected
from aegis.execution import runners_files, runners_trace, stored, trace
from aegis.execution.archive import one_name
from aegis.execution.ports import JobFiles, TraceStore
from aegis.execution.runners import Assignment, JobResult, JobSource, Runner, Signal
from aegis.execution.runners_document import FAILURE_REASONS, Document, document
from aegis.execution.runners_roster import RegisteredRunner, admits, isolation
from aegis.execution.runners_trace import Ending
from aegis.execution.schedule import SYSTEM_FAILURE, feeders

ARTIFACT_LIMIT: Final = 4 * 1024 * 1024 * 1024
BODY_LIMIT: Final = runners_trace.BODY_LIMIT
UPDATE_SECONDS: Final = 3
"""How often a runner sends its log."""
_FORGETS: Final = 10_000
_HINT: Final = "register the runner with a token: aegis runner create"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer about a job: HTTP's status, GitLab's word for the job, where its log ends."""

    status: int
    job: str
    size: int = 0
    message: str = ""

    @property
    def range(self) -> str:
        """Where the next piece of the log begins, as a header."""
        return runners_trace.next_range(self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """An archive to be streamed."""

    name: str
    size: int
    digest: str
    chunks: Iterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A job whose token was shown: `run` and `id` are Aegis's own."""

    id: str
    run: str
    number: int


class RunnerDoor:
    """See the module. Synchronous; every call may come from any thread."""

    def __init__(
        self, context: Context, source: JobSource, traces: TraceStore, files: JobFiles, job_secret: bytes
    ) -> None:
        self._context = context
        self._source = source
        self._traces = traces
        self._files = files
        self._secret = job_secret
        self._epoch = context.entropy.take(6).hex()
        self._abrupt: set[str] = set()
        self._resent: dict[str, int] = {}
        self._held: dict[str, JobRun] = {}
        self.numbers = Numbers(context)
        self._foreign = ForeignFiles(lambda: context, self.numbers.run)

    # -- runners ------------------------------------------------------------------------------------------

    def runner(self, token: str) -> RegisteredRunner:
        """Whose token that is; `Denied`."""
        grant = self._context.tokens.resolve(token, self._context.clock.now()) if token else None
        if grant is None or grant.kind is not Kind.RUNNER:
            raise Denied("runner-token", "this is not the token of a runner", hint=_HINT)
        try:
            return self._context.runners.get(grant.identity.partition("/")[2])
        except NotFound:
            raise Denied("runner-token", "this runner was removed", hint=_HINT) from None

    def verify(self, token: str, system_id: str, info: Mapping[str, Any], address: str) -> RegisteredRunner:
        """As `runner`, and remember who called."""
        runner = self.runner(token)
        self._heard(runner, system_id, info, address)
        return runner

    def register(self, token: str, body: dict[str, Any]) -> tuple[int, str]:
        """A new runner by a registration token: its number and token; `Denied`."""
        grant = self._registration(token)
        result = hands.register(self._context, hands.settings_of(body, grant), grant.identity)
        return int(result.values["id"]), str(result.values["token"])

    def _registration(self, token: str) -> Grant:
        grant = self._context.tokens.resolve(token, self._context.clock.now()) if token else None
        if grant is None or grant.kind is not Kind.REGISTRATION:
            raise Denied("registration-token", "this is not a registration token (any more)", hint=_HINT)
        return grant

    def unregister(self, token: str) -> None:
        """A runner leaves; `Denied`."""
        runner = self.runner(token)
        hands.dismiss(self._context, runner, hands.identity_of(runner.id), "unregistered by itself")

    def unregister_machine(self, token: str, system_id: str) -> None:
        """One machine of a runner leaves; `NotFound` for one that never called."""
        runner = self.runner(token)
        if not self._context.runners.forget(runner.id, system_id):
            raise NotFound("no-such-machine", f"runner {runner.number} has no machine {system_id!r}")

    def renew(self, token: str) -> tuple[int, str]:
        """A new token for a runner: its number and the token; `Denied`."""
        runner = self.runner(token)
        result = hands.renew(self._context, runner, hands.identity_of(runner.id))
        return runner.number, str(result.values["token"])

    def _heard(self, runner: RegisteredRunner, system_id: str, info: Mapping[str, Any], address: str) -> None:
        words = {
            name: str(info.get(name) or "")[:100]
            for name in ("version", "revision", "platform", "architecture", "executor")
        }
        contact = Contact(system_id=system_id[:100], at=self._context.clock.now(), address=address, **words)
        self._context.runners.heard(runner.id, contact)

    # -- asking for jobs ----------------------------------------------------------------------------------

    def version(self) -> str:
        """A word that changes whenever a runner that got nothing may get something: `X-GitLab-Last-Update`."""
        return f"{self._epoch}.{self._context.runners.version()}.{self._source.offered()}"

    def offered(self, after: int, timeout: float) -> int:
        """See `JobSource.offered`."""
        return self._source.offered(after, timeout)

    def anything(self) -> bool:
        """Whether any job is pending at all."""
        return self._context.engine.depth()[0] > 0

    def request(self, token: str, system_id: str, info: Mapping[str, Any], address: str) -> Document | None:
        """The next job for a runner, or None; `Denied`, also where its jobs would not be isolated as they must."""
        runner = self.verify(token, system_id, info, address)
        settings = runner.settings
        if settings.paused:
            return None
        asking = Runner(
            name=settings.description or f"runner {runner.number}",
            isolation=isolation(str(info.get("executor") or ""), settings),
            tags=settings.tags,
            resumable=True,
            untagged=settings.run_untagged,
            admits=lambda run, spec: admits(settings, run, spec, protected=protected(self._context, run)),
        )
        while True:
            try:
                given = self._source.acquire(asking)
            except Conflict as error:
                raise Denied(error.code, error.message, hint=error.hint) from error
            if given is None:
                return None
            made = self._equipped(given, runner, info)
            if made is not None:
                return made

    def _equipped(self, given: Assignment, runner: RegisteredRunner, info: Mapping[str, Any]) -> Document | None:
        """The document of an assignment; None where it cannot be carried out, which is then its end."""
        if given.resolve_failure:
            self._refuse(given, "unmet_prerequisites", given.resolve_failure)
            return None
        try:
            made = document(given, facts_of(self._context, self.numbers, given, runner))
        except AegisError as error:
            self._refuse(given, SYSTEM_FAILURE, str(error))
            return None
        features = info.get("features")
        if isinstance(features, dict) and features.get("cancel_gracefully") is False:
            if len(self._abrupt) > _FORGETS:
                self._abrupt.clear()
            self._abrupt.add(given.job.id)
        return made

    def _refuse(self, given: Assignment, reason: str, why: str) -> None:
        job = given.job.id
        with contextlib.suppress(AegisError):
            self._source.trace(job, self._traces.size(job), f"ERROR: {why}\n".encode())
        self._source.finish(job, JobResult(state=State.FAILED, failure_reason=reason, message=why))

    def take_back(self, number: int, token: str) -> None:
        """The runner hung up before it got the job: another attempt need not wait until its lease has run out."""
        job = self._known(number, token)
        why = "the runner hung up before it got the job"
        with contextlib.suppress(Conflict, NotFound):
            self._source.finish(job.id, JobResult(state=State.FAILED, failure_reason=SYSTEM_FAILURE, message=why))

    # -- one job ------------------------------------------------------------------------------------------

    def claim(self, token: str) -> JobClaim | None:
        """What a job token says, whether or not its job still runs; None where it is not ours or past its end."""
        found: list[JobClaim] = []

        def note(claim: JobClaim) -> bool:
            found.append(claim)
            return True

        read_job_token(self._secret, token, self._context.clock.now(), alive=note)
        return found[0] if found else None

    def _known(self, number: int, token: str) -> _Job:
        """The job of a token, which must be the one that the path names; `NotFound`, `Denied`."""
        claim = self.claim(token)
        if claim is not None:
            job = self._attempt(claim)
            if job is not None and self.numbers.of_attempt(claim.run, job.name, claim.attempt) == number:
                return _Job(id=claim.job, run=claim.run, number=number)
        self.numbers.job(number)
        raise Denied("job-token", "this is not the token of that job")

    def _attempt(self, claim: JobClaim) -> JobRun | None:
        """The attempt that a claim is about."""
        held = self._held.get(claim.job)
        if held is None:
            run = self._context.engine.run(claim.run)
            for one in run.jobs:
                for attempt in self._context.engine.attempts(claim.run, one.name) if one.attempt > 1 else (one,):
                    if attempt.id == claim.job:
                        held = attempt
            if held is not None:
                if len(self._held) > _FORGETS:
                    self._held.clear()
                self._held[claim.job] = held
        return held

    def _word(self, job: _Job, signal: Signal) -> str:
        """GitLab's word for a job's state, as its runner has to hear it."""
        if signal is Signal.CONTINUE:
            return State.RUNNING.value
        if signal is Signal.CANCEL:
            return State.CANCELING.value
        _, attempt = self.numbers.job(job.number)
        return attempt.state.value if attempt.state.finished else State.CANCELED.value

    def _cancelled_abruptly(self, job: _Job, signal: Signal) -> Signal:
        """A runner that cannot cancel gracefully loses a job that is being canceled at once."""
        if signal is Signal.CANCEL and job.id in self._abrupt:
            with contextlib.suppress(Conflict, NotFound):
                self._finish(job, JobResult(state=State.CANCELED, message="canceled"))
            return Signal.ABORT
        return signal

    def trace(self, number: int, token: str, content_range: str | None, data: bytes) -> Said:
        """Append a piece of a log: 202, 416 where it does not begin at the end, 403 where the job is over."""
        job = self._known(number, token)
        start = runners_trace.start_of(content_range, len(data))
        signal = self._cancelled_abruptly(job, self._source.update(job.id))
        size = self._traces.size(job.id)
        if signal is Signal.ABORT:
            return Said(status=403, job=self._word(job, signal), size=size, message="the job is not running")
        if start != size:
            return Said(status=416, job=self._word(job, signal), size=size, message=f"the log ends at {size}")
        if size + len(data) > runners_trace.TRACE_LIMIT:
            why = f"the log is longer than {runners_trace.TRACE_LIMIT} bytes"
            self._finish(job, JobResult(state=State.FAILED, failure_reason="trace_size_exceeded", message=why))
            return Said(status=403, job=State.FAILED.value, size=size, message=why)
        try:
            ack = self._source.trace(job.id, start, data)
        except Conflict:
            size = self._traces.size(job.id)
            return Said(status=416, job=self._word(job, signal), size=size, message=f"the log ends at {size}")
        return Said(status=202, job=self._word(job, ack.signal), size=ack.size)

    def update(self, number: int, token: str, body: Mapping[str, Any]) -> Said:
        """A keep-alive or the end of a job: 200, 202 while another call ends it, 412 for a log to be sent again."""
        job = self._known(number, token)
        state = body.get("state")
        if state not in (State.RUNNING, State.SUCCESS, State.FAILED):
            raise UserError("job-state", f"a runner says running, success or failed, not {str(state)[:40]!r}")
        signal = self._cancelled_abruptly(job, self._source.update(job.id))
        if signal is Signal.ABORT:
            return self._late(job, str(state))
        if state == State.RUNNING:
            return Said(status=200, job=self._word(job, signal), size=self._traces.size(job.id))
        output = runners_trace.output_of(body.get("output"))
        size = self._traces.size(job.id)
        checksum = runners_trace.crc32(trace.chunks(self._traces, job.id)) if output.checksum is not None else 0
        resent = self._resent.get(job.id, 0)
        if runners_trace.ending(output, size=size, checksum=checksum, resent=resent) is Ending.RESEND:
            if len(self._resent) > _FORGETS:
                self._resent.clear()
            self._resent[job.id] = resent + 1
            self._traces.delete(job.id)
            return Said(status=412, job=self._word(job, signal), message="the log does not match its checksum")
        try:
            self._finish(job, self._result(job, str(state), body))
        except Conflict as error:
            if error.retryable:
                return Said(status=202, job=self._word(job, signal), size=size)
            return self._late(job, str(state))
        return Said(status=200, job=str(state), size=size)

    def _late(self, job: _Job, state: str) -> Said:
        """An update of a job that is over: what was said before is heard again, anything else aborts."""
        _, attempt = self.numbers.job(job.number)
        if attempt.runner and not attempt.state.finished:
            return Said(status=202, job=attempt.state.value)
        repeated = attempt.state.value == state or (attempt.state is State.CANCELED and state == State.FAILED)
        status = 200 if repeated else 403
        return Said(status=status, job=self._word(job, Signal.ABORT), message="" if repeated else "the job is over")

    def _result(self, job: _Job, state: str, body: Mapping[str, Any]) -> JobResult:
        said, reason = body.get("exit_code"), body.get("failure_reason")
        code = said if isinstance(said, int) and not isinstance(said, bool) else None
        files = self._files.of(job.id)
        run = self._context.engine.run(job.run)
        name = next((one.name for one in run.jobs if one.id == job.id), "")
        coverage = self._coverage(job, name) if name else None
        steps = runners_trace.sections(trace.chunks(self._traces, job.id))
        if state == State.SUCCESS:
            return JobResult(state=State.SUCCESS, exit_code=0, files=files, coverage=coverage, steps=steps)
        known = reason if reason in FAILURE_REASONS else "unknown_failure" if reason else "script_failure"
        message = f"the script ended with exit code {code}" if code else known.replace("_", " ")
        return JobResult(
            state=State.FAILED, exit_code=code or None, failure_reason=known, message=message, files=files,
            coverage=coverage, steps=steps,
        )  # fmt: skip

    def _coverage(self, job: _Job, name: str) -> float | None:
        expression = self._context.engine.plan(job.run).job(name).coverage
        if not expression:
            return None
        try:
            return trace.read_coverage(expression, trace.tail(self._traces, job.id))
        except UserError:
            return None

    def _finish(self, job: _Job, result: JobResult) -> None:
        self._source.finish(job.id, result)
        self._files.forget(job.id)
        self._resent.pop(job.id, None)
        self._abrupt.discard(job.id)
        self._held.pop(job.id, None)

    # -- files --------------------------------------------------------------------------------------------

    def may_upload(self, number: int, token: str, kind: str | None, form: str | None) -> runners_files.Upload:
        """Asked before the body is read: `Denied` for a job that is over, `UserError` for a type that is none."""
        job = self._known(number, token)
        if self._source.update(job.id) is Signal.ABORT:
            raise Denied("job-not-running", "the job is not running")
        return runners_files.upload_of(kind, form)

    def upload(
        self, number: int, token: str, what: runners_files.Upload, filename: str, chunks: Iterable[bytes]
    ) -> StoredFile:
        """Keep what a job uploads, in constant memory; a report becomes one file per file that it was made of."""
        job = self._known(number, token)
        digest, size = self._context.blobs.put_stream(chunks)
        name = one_name(filename.replace("\\", "/").rsplit("/", 1)[-1])
        kept = StoredFile(
            name=name if name != "artifacts" else "artifacts.zip", kind=what.kind, digest=digest, size=size
        )
        if what.kind == runners_files.ARCHIVE or what.format == "raw":
            self._add(job, kept)
            return kept
        if what.format != "gzip":
            raise UserError("artifact-format", f"a {what.type} report is uploaded as gzip or raw, not {what.format!r}")
        default = name.removesuffix(".gz") or runners_files.name_of(what.type)
        for path, content in runners_files.unpacked(self._context.blobs.open(digest), default=default):
            digest = self._context.blobs.put(content)
            self._add(job, StoredFile(name=path, kind=what.kind, digest=digest, size=len(content)))
        return kept

    def _add(self, job: _Job, file: StoredFile) -> None:
        if self._source.update(job.id) is Signal.ABORT:
            raise Denied("job-not-running", "the job is not running")
        self._files.add(job.id, file)

    def download(self, number: int, token: str) -> Download:
        """The archive of a job, for a running job that it feeds (or for itself); `Denied`, `NotFound`."""
        claim = self.claim(token)
        if claim is None or self._source.update(claim.job) is Signal.ABORT:
            raise Denied("job-token", "this is not the token of a running job")
        run_id, wanted = self.numbers.job(number)
        asking = self._attempt(claim)
        if asking is None or (wanted.id != claim.job and not self._feeds(claim, asking, run_id, wanted)):
            raise Denied("artifact-not-yours", "that job does not feed this one")
        there = present(self._context, self._context.engine.run(run_id), wanted)
        files = self._files.of(claim.job) if wanted.id == claim.job else there.files
        return self.archive(files)

    def _feeds(self, claim: JobClaim, asking: JobRun, run_id: str, wanted: JobRun) -> bool:
        plan = self._context.engine.plan(claim.run)
        spec = plan.job(asking.name)
        if run_id != claim.run:
            return self._foreign.feeds(self._context.engine.run(claim.run), spec, run_id, wanted)
        return wanted.name in feeders(plan, spec)

    def log(self, job_id: str) -> Iterator[bytes]:
        """The log of a job that still runs, as far as it goes."""
        return trace.chunks(self._traces, job_id)

    def archive(self, files: Iterable[StoredFile]) -> Download:
        """The archive among a job's files; `NotFound`."""
        for file in files:
            if file.kind == runners_files.ARCHIVE:
                size, chunks = stored.as_zip(self._context.blobs, file.digest)
                return Download(name=file.name, size=size, digest=file.digest, chunks=chunks)
        raise NotFound("no-artifacts", "that job left no archive")
