"""Answers whose body is stored content: a part of it, in constant memory, by the kernel where the server can.

A file whose bytes are known to be right is handed to the server as it is (ASGI's `http.response.zerocopysend`); other
content is read in pieces in threads and verified on the way: where it turns out damaged, the connection breaks
before the last piece, so that no client takes it for whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import BinaryIO, Final

from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from aegis.web import byte_range

_ZERO_COPY: Final = "http.response.zerocopysend"
_SMALL: Final = 64 * 1024
_PIECE: Final = 1024 * 1024

Endpoint = Callable[[Request], Awaitable[Response]]
OpenFile = Callable[[], BinaryIO | None]
Read = Callable[[int, int], Iterator[bytes]]
"""Offset and length to pieces."""


class ContentResponse(Response):
    """`length` bytes from `offset` of an open file, which it closes, or the pieces of an iterator."""

    def __init__(
        self,
        length: int,
        *,
        file: BinaryIO | None = None,
        offset: int = 0,
        pieces: Iterable[bytes] = (),
        status_code: int = 200,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(status_code=status_code, headers={**headers, "Content-Length": str(length)})
        self._length = length
        self._file = file
        self._offset = offset
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then the content."""
        _ = receive
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if self._file is None:
                await _send(self._pieces, send)
            elif self._length > _SMALL and _ZERO_COPY in scope.get("extensions", {}):
                await send({"type": _ZERO_COPY, "file": self._file, "offset": self._offset, "count": self._length})
            else:
                await _send(_pieces(self._file, self._offset, self._length), send)
        finally:
            if self._file is not None:
                self._file.close()


async def _send(pieces: Iterable[bytes], send: Send) -> None:
    async for piece in iterate_in_threadpool(pieces):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _pieces(file: BinaryIO, offset: int, length: int) -> Iterator[bytes]:
    file.seek(offset)
    while length > 0 and (piece := file.read(min(_PIECE, length))):
        length -= len(piece)
        yield piece


async def respond(
    request: Request, size: int, headers: Mapping[str, str], *, open_file: OpenFile, read: Read
) -> Response:  # fmt: skip
    """The answer to a request for content of `size` bytes: whole or the range asked for; its head alone for HEAD."""
    headers = {**headers, "Accept-Ranges": "bytes"}
    start, end = byte_range.wanted(request.headers.get("range"), size)
    status = 200
    if (start, end) != (0, size):
        if start >= end:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    if request.method == "HEAD":
        return Response(status_code=status, headers={**headers, "Content-Length": str(end - start)})
    file = await run_in_threadpool(open_file)
    if file is not None:
        return ContentResponse(end - start, file=file, offset=start, status_code=status, headers=headers)
    pieces = await run_in_threadpool(partial(read, start, end - start))
    return ContentResponse(end - start, pieces=pieces, status_code=status, headers=headers)
