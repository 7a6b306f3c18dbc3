"""What is said of a job at its end: its coverage from the log, and its result, until the server has it.

It decides how long a result is offered. What the server makes of it is the coordinator's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aegis.core.errors import AegisError, Conflict, ExternalError
from aegis.execution.runners import JobResult, JobSource
from aegis.execution.supervise.log import JobLog
from aegis.execution.trace import coverage, readable

PAUSES: Final = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between two offers of a result: half a minute in all, which is less than a runner may be silent."""


async def report(call: Callable[..., Awaitable[object]], source: JobSource, job_id: str, result: JobResult) -> None:
    """Report a result; again where the server could not write it down, so that the work is not done twice.

    Refused: the server has given the job up. Not taken until the end: the lease runs out, and the server says so.
    """
    for pause in (*PAUSES, None):
        try:
            await call(source.finish, job_id, result)
        except AegisError as error:
            again = isinstance(error, ExternalError) or (isinstance(error, Conflict) and error.retryable)
            if pause is not None and again:
                await asyncio.sleep(pause)
                continue
        return


def coverage_of(log: JobLog, expression: str) -> tuple[float | None, str]:
    """The coverage that a job's log tells by `coverage:`, and a warning where that cannot be used."""
    import re2  # noqa: PLC0415 - only jobs with `coverage:` need it

    try:
        pattern = re2.compile(f"(?m){expression.strip('/')}")
    except re2.error as error:
        return None, f"WARNING: coverage: {expression} is not a regular expression: {error}"
    found = coverage(
        readable(log.tail),
        lambda text: [found.group(1 if pattern.groups else 0) or "" for found in pattern.finditer(text)],
    )
    return found, ""
