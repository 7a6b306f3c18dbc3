"""What a job that starts another pipeline knows: its variables as they are now, and files that earlier jobs made.

It reads blobs. It neither compiles nor starts anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from aegis.core.errors import NotFound, UserError
from aegis.core.plan import Trigger
from aegis.core.ports import Blobs
from aegis.core.types import JobRun, State
from aegis.execution import stored
from aegis.execution.assignment import from_reports
from aegis.execution.environment import expand
from aegis.execution.runners import JobResult

MOST: int = 5 * 1024 * 1024
"""Bytes of a pipeline file that a job made."""


class Unmade(UserError):
    """No pipeline could be made of what a trigger names."""

    def __init__(self, message: str) -> None:
        super().__init__("downstream-unmade", message, hint="`aegis lint` the included file")


def equipped(trigger: Trigger, feeders: Sequence[JobRun], blobs: Blobs, known: Iterable[tuple[str, str]]) -> Trigger:
    """The trigger with its variables expanded by what earlier jobs reported and what is `known` of the run."""
    values = {**dict(known), **{one.key: one.value for one in from_reports(feeders, blobs)}}
    return replace(
        trigger,
        project=expand(trigger.project, values),
        branch=expand(trigger.branch, values),
        variables=tuple(
            one if one.raw else replace(one, value=expand(one.value, values), raw=True) for one in trigger.variables
        ),
    )


def reader(jobs: Iterable[JobRun], blobs: Blobs) -> Callable[[str, str], bytes | None]:
    """Reads a file out of a job's archive by the names of both; None where there is none."""
    by_name = {job.name: job for job in jobs}

    def read(job: str, path: str) -> bytes | None:
        for file in by_name[job].files if job in by_name else ():
            if file.kind != "archive":
                continue
            try:
                size, chunks = stored.file_of(blobs, file.digest, path.removeprefix("./"))
            except NotFound:
                continue
            if size <= MOST:
                return b"".join(chunks)
        return None

    return read


def started(run: str) -> JobResult:
    """A trigger without a strategy has done its work."""
    return JobResult(state=State.SUCCESS, message=f"started run {run}")


def refused(reason: str, message: str) -> JobResult:
    """The other pipeline could not be made."""
    return JobResult(state=State.FAILED, failure_reason=reason, message=message)


def mirrored(run: str, state: State) -> JobResult:
    """The end of a trigger that waits for its pipeline."""
    if state in {State.SUCCESS, State.SKIPPED}:
        return JobResult(state=State.SUCCESS, message=f"run {run} ended as {state}")
    if state is State.CANCELED:
        return JobResult(state=State.CANCELED, message=f"run {run} was canceled")
    return JobResult(state=State.FAILED, failure_reason="unknown_failure", message=f"run {run} failed")
