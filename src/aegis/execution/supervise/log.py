"""A job's log on its way: masked, gathered for a moment, sent in order with offsets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from aegis.core.errors import AegisError
from aegis.core.ports import Masker
from aegis.core.spent import JobStep
from aegis.execution.runners import Signal, TraceAck
from aegis.execution.trace import TraceWriter, coverage, readable

_TAIL: Final = 1024 * 1024
_FULL: Final = 2 * 1024 * 1024
_TRIES: Final = 8
"""How often a piece is offered to a server that cannot keep it now; half a minute with the default pauses."""
_FIRST: Final = 0.05
"""Seconds between a piece and its sending: a job that ends within them sends but one."""
Send = Callable[[int, bytes], Awaitable[TraceAck]]


class JobLog:
    """The `TraceSink` of a job and the runner's own lines. Used by one event loop.

    `signal` is what the last answer asked for. `broken` says why nothing can be stored any more; output is then
    dropped, and the job must not end as a success.
    """

    def __init__(self, masker: Masker, send: Send, *, limit: int, flush_seconds: float) -> None:
        self._writer = TraceWriter(masker, limit=limit)
        self._send = send
        self._flush_seconds = flush_seconds
        self._offset = 0
        self._tail = bytearray()
        self._sending = asyncio.Lock()
        self._sends = False
        self._again = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._rest = b""
        self.signal = Signal.CONTINUE
        self.broken = ""
        self.steps: tuple[JobStep, ...] = ()
        """The sections that have been closed, and how long each took."""
        self._begun: dict[str, float] = {}

    def start(self) -> None:
        """Begin to send by itself."""
        self._sends = True
        self._due()

    def _due(self) -> None:
        """Send after a moment, together with what comes until then; not too soon after the last time."""
        if self._sends and self._timer is None and self._task is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time() + min(_FIRST, self._flush_seconds), self._again), self._ring)

    def _ring(self) -> None:
        self._timer, self._task = None, asyncio.create_task(self._flushing())

    async def _flushing(self) -> None:
        await self.flush()
        self._task = None
        self._again = asyncio.get_running_loop().time() + self._flush_seconds
        if self._writer.pending:
            self._due()

    async def write(self, data: bytes) -> None:
        """See `TraceSink`."""
        self._writer.write(data)
        self._due()
        if self._writer.pending > _FULL:
            await self.flush()

    def line(self, text: str, *, colour: str = "") -> None:
        """A line of the runner."""
        self._writer.line(text, colour=colour)
        self._due()

    def section(self, name: str, at: float) -> None:
        """Open a foldable section."""
        self._begun[name] = at
        self._writer.section(name, at)

    def section_end(self, name: str, at: float) -> None:
        """Close it."""
        begun = self._begun.pop(name, at)
        step = JobStep(name=name, started_at=datetime.fromtimestamp(begun, UTC), seconds=round(at - begun, 6))
        self.steps = (*self.steps, step)
        self._writer.section_end(name, at)

    @property
    def tail(self) -> bytes:
        """The last MiB of the masked log."""
        return bytes(self._tail[-_TAIL:])

    def coverage(self, expression: str) -> float | None:
        """What `coverage:` finds in the end of the log; an expression that cannot be read is said there."""
        import re2  # noqa: PLC0415 - only jobs with `coverage:` need it

        try:
            pattern = re2.compile(f"(?m){expression.strip('/')}")
        except re2.error as error:
            self.line(f"WARNING: coverage: {expression} is not a regular expression: {error}", colour="33;1")
            return None
        return coverage(
            readable(self.tail),
            lambda text: [found.group(1 if pattern.groups else 0) or "" for found in pattern.finditer(text)],
        )

    async def flush(self) -> None:
        """Send everything that is ready."""
        async with self._sending:
            while data := self._writer.take():
                self._tail += data
                if len(self._tail) > 2 * _TAIL:
                    del self._tail[:-_TAIL]
                await self._deliver(data)

    async def _deliver(self, data: bytes) -> None:
        for attempt in range(_TRIES):
            if self.broken or self.signal is Signal.ABORT:
                return
            try:
                answer = await self._send(self._offset, data)
            except AegisError as error:
                if attempt == _TRIES - 1 or not error.retryable:
                    self.broken = f"the log cannot be stored: {error.message}"
                else:
                    await asyncio.sleep(self._flush_seconds * 2**attempt)
                continue
            self._offset += len(data)
            if self.signal is Signal.CONTINUE:
                self.signal = answer.signal
            return

    async def _stop(self) -> None:
        """Stop sending. A piece under way is never cut off: it was taken out of the buffer already."""
        self._sends = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (sending := self._task) is not None:
            await sending
        self._writer.close()

    async def end(self) -> tuple[int, bytes]:
        """Stop, and let the caller send the rest: where it begins, and what it is. If that fails, `close` sends it again."""
        await self._stop()
        if self._writer.pending > _FULL // 2:
            await self.flush()
        self._rest = self._writer.take()
        return self._offset, self._rest

    async def close(self) -> None:
        """Send the rest and stop."""
        await self._stop()
        if self._rest:
            rest, self._rest = self._rest, b""
            await self._deliver(rest)
        await self.flush()
