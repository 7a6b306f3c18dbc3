"""What the end of an attempt means: how the job is written down, whether it is tried again, what follows beyond it. Pure.

Decides how an attempt has ended and which events are written together with its end: an environment used, a release wished
for. It carries nothing of it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from aegis.core import events
from aegis.core.plan import JobSpec
from aegis.core.types import JobRun, Run, State, StoredFile
from aegis.execution.places import used
from aegis.execution.runners import JobResult
from aegis.execution.schedule import retries, tolerated


def ended(spec: JobSpec, before: JobRun, result: JobResult, trace: StoredFile | None, at: datetime) -> JobRun:
    """The attempt as it ended."""
    # Whoever asked for the end, the server decides that a job being canceled is canceled.
    canceled = before.state is State.CANCELING or result.state is State.CANCELED
    state = State.CANCELED if canceled else result.state
    failed = state is State.FAILED
    expires = spec.artifacts.expire_in if spec.artifacts is not None and result.files else None
    return replace(
        before,
        state=state,
        finished_at=at,
        exit_code=result.exit_code,
        failure_reason=(result.failure_reason or "unknown_failure") if failed else None,
        message=result.message,
        trace=trace,
        files=result.files,
        files_until=at + timedelta(seconds=expires) if expires is not None else None,
        coverage=result.coverage,
        usage=result.usage,
        steps=result.steps,
        reuse=result.reuse,
        allow_failure=tolerated(spec, result.exit_code) if failed else spec.allow_failure,
    )


def amended(job: JobRun, data: events.ArtifactsKept | events.ArtifactsErased) -> JobRun:
    """The attempt after its files were kept or erased."""
    if isinstance(data, events.ArtifactsKept):
        return replace(job, files_until=None) if job.id == data.job else job
    return replace(job, files=(), files_until=None) if job.id in data.jobs else job


def tried_again(spec: JobSpec, job: JobRun) -> bool:
    """Whether another attempt follows by itself."""
    return job.state is State.FAILED and retries(
        spec.retry, attempt=job.attempt, failure_reason=job.failure_reason or "", exit_code=job.exit_code
    )


def outcomes(
    run: Run, spec: JobSpec, job: JobRun, reported: Mapping[str, str], *, will_retry: bool
) -> tuple[object, ...]:
    """The events that follow at once; none where another attempt does. `reported` are its dotenv reports' variables."""
    if will_retry:
        return ()
    found: list[object] = list(used(run, spec, job, reported))
    if spec.release is not None and job.state is State.SUCCESS:
        found.append(events.ReleaseAsked(job=spec.name))
    if spec.pages is not None and job.state is State.SUCCESS:
        found.append(events.PagesAsked(job=spec.name))
    return tuple(found)
