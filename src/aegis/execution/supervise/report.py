"""A job's result is told, with the end of its log, until the server has it.

It decides how long a result is offered. What the server makes of it is the coordinator's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aegis.core.errors import AegisError, Conflict, ExternalError
from aegis.execution.runners import JobResult, JobSource

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


def at_once(
    source: JobSource, job_id: str, result: JobResult, *, offset: int, rest: bytes, leave: Callable[[], None]
) -> bool | None:
    """In one thread: leave the place, store the rest of the log and report the result.

    Whether the result was taken; None where the log was not, and the result was not offered.
    """
    leave()
    try:
        if rest:
            source.trace(job_id, offset, rest)
    except AegisError:
        return None
    try:
        source.finish(job_id, result)
    except AegisError:
        return False
    return True
