"""Bodies that stream into a thread: the loop reads and cuts while the thread hashes and writes, in constant memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Final, TypeVar

from starlette.concurrency import run_in_threadpool

from aegis.core.errors import UserError

T = TypeVar("T")
PIECE: Final = 1024 * 1024
_AHEAD: Final = 4
"""Pieces that may wait for the thread."""


class TooLarge(UserError):
    """A body beyond its limit: answered with 413."""


async def pour(source: AsyncIterator[bytes], sink: Callable[[Iterable[bytes]], T], *, limit: int) -> T:
    """What `sink` makes of the pieces of `source`, which it iterates in a thread.

    Whatever ends the source early (a client that goes, a limit) is raised in the sink's iteration, so that nothing half
    is ever kept, and then here.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[list[bytes] | BaseException | None] = asyncio.Queue(_AHEAD)

    def pieces() -> Iterator[bytes]:
        while True:
            item = asyncio.run_coroutine_threadsafe(queue.get(), loop).result()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield b"".join(item)

    filling = asyncio.create_task(_fill(source, queue, limit))
    try:
        return await run_in_threadpool(sink, pieces())
    finally:
        filling.cancel()


async def _fill(
    source: AsyncIterator[bytes], queue: asyncio.Queue[list[bytes] | BaseException | None], limit: int
) -> None:
    held: list[bytes] = []
    size = total = 0
    try:
        async for chunk in source:
            held.append(chunk)
            size += len(chunk)
            total += len(chunk)
            if total > limit:
                raise TooLarge("artifacts-too-large", f"the body holds more than {limit} bytes")  # noqa: TRY301 - as below
            if size >= PIECE:
                await queue.put(held)
                held, size = [], 0
        if held:
            await queue.put(held)
        await queue.put(None)
    except Exception as error:  # noqa: BLE001 - it is raised in the thread that waits for the next piece
        await queue.put(error)


async def whole(source: AsyncIterator[bytes], *, limit: int) -> bytes:
    """A small body; `TooLarge`."""
    body = bytearray()
    async for chunk in source:
        body += chunk
        if len(body) > limit:
            raise TooLarge("body-size", f"the body holds more than {limit} bytes")
    return bytes(body)
