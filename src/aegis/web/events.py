"""`/events`: the ledger as server-sent events. Resumes at `Last-Event-ID`, the ledger's sequence number.

A slow client is given up rather than buffered for; it reconnects and resumes without a gap. A server that ends lets every
stream come to its proper end first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from aegis.core import codec
from aegis.core.errors import ExternalError
from aegis.delivery.views import Credentials, Stream
from aegis.web.answers import SESSION_COOKIE, number

KEEP_ALIVE_SECONDS: Final = 5.0
BATCH: Final = 200
RETRY_SECONDS: Final = 0.5
"""After how long a ledger that could not be read is asked again."""


class Bell:
    """Wakes every waiting stream at once when the ledger has grown: one watcher, however many clients."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._rung = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._head = 0
        self.ended = False

    async def start(self) -> None:
        """Begin to watch."""
        self._head = await run_in_threadpool(self._stream.head)
        self._task = asyncio.create_task(self._watch())

    def end(self) -> None:
        """Stop watching and let every stream end, so that a server that stops need not cut them. From the loop's thread."""
        self.ended = True
        if self._task is not None:
            self._task.cancel()
        self._rung.set()

    async def _watch(self) -> None:
        while True:
            grown = await run_in_threadpool(self._stream.wait, self._head, 1.0)
            if grown:
                self._head = await run_in_threadpool(self._stream.head)
                rung, self._rung = self._rung, asyncio.Event()
                rung.set()

    async def wait(self, after: int) -> None:
        """Until the head is beyond `after`, or the keep-alive is due."""
        if self._head > after or self.ended:
            return
        try:
            await asyncio.wait_for(self._rung.wait(), KEEP_ALIVE_SECONDS)
        except TimeoutError:
            return


def routes(stream: Stream, credentials: Credentials, bell: Bell) -> list[Route]:
    """The stream's route."""

    async def records(request: Request) -> Response:
        header = request.headers.get("authorization")
        await run_in_threadpool(credentials.actor, header, request.cookies.get(SESSION_COOKIE))
        last = request.headers.get("last-event-id", "") or request.query_params.get("after", "")
        start = int(last) if last.isascii() and last.isdigit() else await run_in_threadpool(stream.head)
        whole = number(request, "whole")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            _lines(request, start, whole=bool(whole)), media_type="text/event-stream", headers=headers
        )

    async def _lines(request: Request, start: int, *, whole: bool) -> AsyncIterator[bytes]:
        position = start
        yield b"retry: 1000\n\n"
        while not bell.ended and not await request.is_disconnected():
            try:
                batch = await run_in_threadpool(stream.after, position, BATCH)
            except ExternalError as error:
                # The answer has begun, so nothing else can be said; the ledger's database comes back, or the server ends.
                yield f": {error.code}\n\n".encode()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if not batch:
                yield f": at {position}\n\n".encode()
                await bell.wait(position)
                continue
            for record in batch:
                position = int(record["seq"])
                shown = record if whole else {key: value for key, value in record.items() if key != "data"}
                yield b"id: %d\nevent: record\ndata: %s\n\n" % (position, codec.encode(shown))

    return [Route("/events", records)]
