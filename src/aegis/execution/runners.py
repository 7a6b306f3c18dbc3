"""`JobSource`: the one way in which any runner, built in or remote, gets and gives back jobs.

The types here are the whole contract between who decides (the coordinator) and who runs (a supervisor, or the
Runner API that translates for `gitlab-runner`). Nothing here performs anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from aegis.core.plan import JobSpec, Variable
from aegis.core.types import JobRun, Run, State, StoredFile


class Signal(StrEnum):
    """What a runner has to do about a job it holds."""

    CONTINUE = "continue"
    CANCEL = "cancel"
    """Stop the script, run `after_script`, finish."""
    ABORT = "abort"
    """Stop at once: the job is no longer this runner's, whatever it reports is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Who asks. `tags` None takes any job; `resumable` says that its jobs outlive the server's process."""

    name: str
    isolation: str
    tags: tuple[str, ...] | None = None
    resumable: bool = False


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
    """A job whose files are fetched before the script."""

    job: str
    archive: StoredFile


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


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """How a job ended. `state` is success, failed or canceled; `failure_reason` one of GitLab's."""

    state: State
    exit_code: int | None = None
    failure_reason: str | None = None
    message: str = ""
    files: tuple[StoredFile, ...] = ()
    coverage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceAck:
    """Where the trace ends now (bytes), and what the runner has to do."""

    size: int
    signal: Signal


class JobSource(Protocol):
    """Owns assignment and leases. Synchronous; every call may come from any thread.

    A runner calls `acquire` until it gets a job, then `trace` with growing offsets and `update` at least every
    `lease_seconds / 3` seconds, then `finish` exactly once. A lease that is not renewed ends as failed
    (`runner_system_failure`, or `stuck_or_timeout_failure` for a remote runner); afterwards `trace` and `update` answer
    ABORT and `finish` raises `Conflict`.

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
