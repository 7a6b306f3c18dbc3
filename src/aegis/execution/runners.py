"""`JobSource`: the one way in which any runner, built in or remote, gets and gives back jobs.

The types here are the whole contract between who decides (the coordinator) and who runs (a supervisor, or the
Runner API that translates for `gitlab-runner`). Nothing here performs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Protocol

from aegis.core.errors import Conflict
from aegis.core.plan import JobSpec, Variable
from aegis.core.reuse import JobReuse
from aegis.core.spent import JobStep, JobUsage
from aegis.core.types import JobRun, Run, State, StoredFile
from aegis.core.values import dataclass

_ISOLATED = frozenset({"namespaces", "container", "machine"})


class Signal(StrEnum):
    """What a runner has to do about a job it holds."""

    CONTINUE = "continue"
    CANCEL = "cancel"
    """Stop the script, run `after_script`, finish."""
    ABORT = "abort"
    """Stop at once: the job is no longer this runner's, whatever it reports is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Who asks. `tags` None takes any job; `resumable` says that its jobs outlive the server's process.

    `untagged` False refuses jobs without tags. `admits` is asked last, about what only its owner knows (protected refs,
    projects); it must be quick and pure.
    """

    name: str
    isolation: str
    tags: tuple[str, ...] | None = None
    resumable: bool = False
    untagged: bool = True
    admits: Callable[[Run, JobSpec], bool] | None = None
    network: Callable[[Run, JobSpec], str] | None = None
    """Which network a job has there; None where that is not known. As quick and pure."""

    def must_isolate(self) -> None:
        """`Conflict` for a runner whose jobs are not separated from its machine."""
        if self.isolation not in _ISOLATED:
            raise Conflict(
                "runner-not-isolated",
                f"runner {self.name!r} does not isolate jobs ({self.isolation}), and this server requires it",
                hint="see `aegis doctor`, or declare `runner: {isolation: optional}`",
            )

    def takes(self, run: Run, spec: JobSpec) -> bool:
        """Whether this runner may have that job."""
        if self.tags is not None and not set(spec.tags) <= set(self.tags):
            return False
        if not spec.tags and not self.untagged:
            return False
        return self.admits is None or self.admits(run, spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCredentials:
    """What only this attempt of this job may hold: its token and variables that carry secrets or addresses.

    `trusted` says that it belongs to a protected branch or tag.
    """

    token: str
    trusted: bool = False
    variables: tuple[Variable, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """A job whose files are fetched before the script: its name, the id and number of the attempt that left them."""

    job: str
    archive: StoredFile
    id: str = ""
    attempt: int = 1
    run: str = ""
    """The run it belongs to; empty: the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignJob:
    """A job of another pipeline, with the run that it belongs to."""

    run: str
    job: JobRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A job given to a runner. `variables` are in order of precedence, last wins; secrets are resolved and masked."""

    run: Run
    spec: JobSpec
    job: JobRun
    token: str
    variables: tuple[Variable, ...]
    dependencies: tuple[Dependency, ...] = ()
    trusted: bool = False
    """Whether the job belongs to a protected branch or tag: it then shares nothing with jobs that do not."""
    resolve_failure: str = ""
    """Why the job cannot begin (a secret that did not resolve); the runner only writes it down and finishes."""


def with_file(assignment: Assignment, name: str, content: str) -> Assignment:
    """The assignment with a file variable beneath those that it has."""
    given = Variable(key=name, value=content, file=True, raw=True)
    return replace(assignment, variables=(given, *assignment.variables))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """How a job ended. `state` is success, failed or canceled; `failure_reason` one of GitLab's."""

    state: State
    exit_code: int | None = None
    failure_reason: str | None = None
    message: str = ""
    files: tuple[StoredFile, ...] = ()
    coverage: float | None = None
    usage: JobUsage | None = None
    reuse: JobReuse | None = None
    steps: tuple[JobStep, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceAck:
    """Where the trace ends now (bytes), and what the runner has to do."""

    size: int
    signal: Signal


class JobSource(Protocol):
    """Owns assignment and leases. Synchronous; every call may come from any thread.

    A runner calls `acquire` until it gets a job, then `trace` with growing offsets and `update` at least every
    `lease_seconds / 3` seconds, then `finish` exactly once. A lease that is not renewed ends as failed
    (`runner_system_failure`: the loss is never the job's fault); afterwards `trace` and `update` answer ABORT and
    `finish` raises `Conflict`.

    `acquire` hands a job to one caller only, and records that durably before it returns.
    `trace` is idempotent: bytes before the end of the trace are ignored; a gap raises `Conflict` with the end in its
    message, and the runner resumes there. The bytes given are masked already.
    `finish` is idempotent for the same attempt and result: repeating it after a lost answer succeeds.
    Unknown jobs raise `NotFound`.
    """

    @property
    def lease_seconds(self) -> float:
        """How long a job may be silent."""
        ...

    def acquire(self, runner: Runner, *, timeout: float = 0.0) -> Assignment | None:
        """The next job for this runner, waiting up to `timeout` seconds; None where there is none."""
        ...

    def trace(self, job_id: str, offset: int, data: bytes) -> TraceAck:
        """Append masked bytes at `offset`."""
        ...

    def update(self, job_id: str) -> Signal:
        """Renew the lease."""
        ...

    def finish(self, job_id: str, result: JobResult) -> None:
        """The job has ended."""
        ...

    def wake(self, runners: Sequence[str] = ()) -> None:
        """Let every waiting `acquire` of these runners (all by default) return now."""
        ...

    def offered(self, after: int = -1, timeout: float = 0.0) -> int:
        """How often a job has become pending; returns once that is beyond `after`, or `timeout` seconds have passed."""
        ...
