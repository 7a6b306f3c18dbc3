"""How jobs and runs ended, in OpenTelemetry's words: whose fault a failure is. Pure.

`failure` is the code's (a script, a test), `error` the machinery's (a runner, an image, a secret): whoever looks after one
does not look after the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aegis.core.types import JobRun, State

_ALSO: Final = frozenset({"stale_schedule", "no_matching_runner"})
_NAMES: Final = {State.SUCCESS: "success", State.CANCELED: "cancellation", State.SKIPPED: "skip"}
OTHER: Final = "_OTHER"
"""What a class of errors is called that has no name."""


def job_result(job: JobRun) -> str:
    """`cicd.pipeline.task.run.result` of an attempt."""
    if job.state in _NAMES:
        return _NAMES[job.state]
    if job.failure_reason == "job_execution_timeout":
        return "timeout"
    return "error" if job.failure_reason in _ALSO else job.fault or "failure"


def run_result(state: State, jobs: Iterable[JobRun]) -> str:
    """`cicd.pipeline.result` of a run by the last attempts of its jobs: `failure` as soon as one failed for its code."""
    if state in _NAMES:
        return _NAMES[state]
    found = {job_result(job) for job in jobs if job.state is State.FAILED and not job.allow_failure}
    return next((one for one in ("failure", "timeout", "error") if one in found), "failure")


def error_type(job: JobRun) -> str:
    """`error.type` of a failed attempt: GitLab's name of the reason, of which there are few."""
    return job.failure_reason or OTHER if job.state is State.FAILED else ""
