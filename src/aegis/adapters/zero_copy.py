"""HTTP over uvicorn for large bodies: files are sent by the kernel, uploads are read half a MiB ahead.

What is sent is ASGI's `http.response.zerocopysend` extension.
Uvicorn has no such extension and uvloop no `sendfile`. Here the bytes go from the page cache to the socket in a thread,
through a second descriptor of the connection, once everything written before has left. They never enter Python, so
that memory does not grow with a file, and a slow client costs no thread: its socket is waited for in the event loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION: Final = "http.response.zerocopysend"
_AHEAD: Final = 512 * 1024
_PIECE: Final = 8 * 1024 * 1024

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class ZeroCopyProtocol(HttpToolsProtocol):
    """Uvicorn's protocol whose applications may send files; give it as `http=` to `uvicorn.Config`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        inner = self.app

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or scope["scheme"] != "http":
                await inner(scope, receive, send)  # under TLS the kernel has nothing to copy
                return
            scope["extensions"] = {**scope.get("extensions", {}), EXTENSION: {}}
            await inner(scope, receive, _sending(send))

        self.app = app

    def on_body(self, body: bytes) -> None:
        """Take a part of a request's body; reading pauses once `_AHEAD` bytes wait for the application.

        Uvicorn pauses at 64 KiB, which for a large upload means thousands of turns of the event loop.
        """
        cycle = self.cycle
        if (self.parser.should_upgrade() and self._should_upgrade()) or cycle is None or cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > _AHEAD:
            self.flow.pause_reading()
        cycle.message_event.set()


def _sending(send: Any) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] != EXTENSION:
            await send(message)
            return
        await _copy(send.__self__, message["file"].fileno(), message["offset"], message["count"])
        await send({"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)})

    return sent


async def _copy(cycle: Any, source: int, offset: int, count: int) -> None:
    """Send a part of a file on the connection of a request whose head was sent, in order with what was sent before."""
    transport = cycle.transport
    transport.set_write_buffer_limits(high=0)  # until everything before has left, writing counts as paused
    try:
        if cycle.flow.write_paused:
            await cycle.flow.drain()
        if cycle.disconnected or transport.is_closing():
            return
        target = os.dup(transport.get_extra_info("socket").fileno())
        try:
            await _pump(target, source, offset, count)
        except (BrokenPipeError, ConnectionError):
            transport.abort()
        finally:
            os.close(target)
        cycle.expected_content_length -= count
    finally:
        if not transport.is_closing():
            transport.set_write_buffer_limits()


async def _pump(target: int, source: int, offset: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    while count > 0:
        sending = loop.run_in_executor(None, _some, target, source, offset, min(count, _PIECE))
        try:
            sent = await asyncio.shield(sending)
        except asyncio.CancelledError:
            await asyncio.wait((sending,))  # the descriptors are closed next: a thread must not write on their numbers
            raise
        if sent < 0:
            raise BrokenPipeError("the file is shorter than it was")
        offset, count = offset + sent, count - sent
        if count > 0:
            writable = loop.create_future()
            loop.add_writer(target, _wake, writable)
            try:
                await writable
            finally:
                loop.remove_writer(target)


def _wake(writable: asyncio.Future[None]) -> None:
    if not writable.done():
        writable.set_result(None)


def _some(target: int, source: int, offset: int, count: int) -> int:
    """What the socket takes without waiting; -1 at the end of the file."""
    done = 0
    while done < count:
        try:
            sent = os.sendfile(target, source, offset + done, count - done)
        except BlockingIOError:
            break
        if sent == 0:
            return -1
        done += sent
    return done
