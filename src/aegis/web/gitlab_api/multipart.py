"""The one file of a `multipart/form-data` body, as it streams in: no part is ever held as a whole.

A runner sends its artifacts so, chunked and without a length. Text fields beside the file are read as well, bounded.
Only what GitLab's clients send is understood (RFC 7578 without nested parts).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from aegis.core.errors import UserError

_HEAD_LIMIT: Final = 16 * 1024
_FIELD_LIMIT: Final = 64 * 1024
_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s;,]{1,200}))', re.IGNORECASE)
_NAME: Final = re.compile(rb'[;\s]name="((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_FILENAME: Final = re.compile(rb'filename="((?:[^"\\]|\\.)*)"', re.IGNORECASE)


@dataclass(slots=True)
class Form:
    """What was read so far. `file` must be iterated to its end before `fields` are whole."""

    file: AsyncIterator[bytes] | None = None
    filename: str = ""
    fields: dict[str, str] = field(default_factory=dict)


class _Reader:
    """Buffers a body just enough to find the boundary."""

    def __init__(self, body: AsyncIterator[bytes], boundary: bytes) -> None:
        self._body = body
        self._mark = b"\r\n--" + boundary
        # A body begins with a boundary that has no line end before it.
        self._held = bytearray(b"\r\n")
        self._ended = False

    async def _more(self) -> bool:
        async for chunk in self._body:
            if chunk:
                self._held += chunk
                return True
        self._ended = True
        return False

    async def until_mark(self) -> AsyncIterator[bytes]:
        """The bytes up to the next boundary, which is passed; `UserError` when there is none."""
        keep = len(self._mark) - 1
        while True:
            at = self._held.find(self._mark)
            if at >= 0:
                if at:
                    yield bytes(self._held[:at])
                del self._held[: at + len(self._mark)]
                return
            if len(self._held) > keep:
                ready = bytes(self._held[:-keep])
                del self._held[:-keep]
                yield ready
            # From here the buffer is shorter than a boundary. As long as none begins in it or in what comes, a piece is
            # passed on as it came, without being copied into the buffer.
            async for chunk in self._body:
                if len(chunk) <= keep:
                    self._held += chunk
                    break
                seam = bytes(self._held) + chunk[:keep]
                if self._mark in seam or self._mark in chunk:
                    self._held += chunk
                    break
                if self._held:
                    yield bytes(self._held)
                yield chunk[:-keep]
                self._held[:] = chunk[-keep:]
            else:
                raise UserError("multipart", "the form ends before its last boundary")

    async def head(self) -> bytes | None:
        """The headers of the next part, or None after the last one."""
        while len(self._held) < 2 and await self._more():
            continue
        if self._held[:2] == b"--":
            return None
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            if len(self._held) > _HEAD_LIMIT or not await self._more():
                raise UserError("multipart", "a part of the form has no end of its headers")
        head = bytes(self._held[:end])
        del self._held[: end + 4]
        return head


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names; `UserError` for anything but a form."""
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or found is None:
        raise UserError("multipart", "the body must be multipart/form-data with a boundary")
    return (found[1] or found[2]).encode()


async def read(body: AsyncIterator[bytes], content_type: str, name: str = "file") -> Form:
    """Read up to the file called `name`; its bytes are then in `form.file`. Without such a part `file` is None."""
    reader = _Reader(body, boundary_of(content_type))
    async for _ in reader.until_mark():
        continue
    form = Form()
    await _advance(reader, form, name)
    return form


async def _advance(reader: _Reader, form: Form, name: str) -> None:
    while (head := await reader.head()) is not None:
        found, filename = _NAME.search(head), _FILENAME.search(head)
        field_name = found[1].decode("utf-8", "replace") if found else ""
        if field_name == name and filename is not None and form.file is None:
            form.filename = filename[1].decode("utf-8", "replace").replace('\\"', '"')
            form.file = _file(reader, form, name)
            return
        value = bytearray()
        async for piece in reader.until_mark():
            value += piece
            if len(value) > _FIELD_LIMIT:
                raise UserError("multipart", f"the field {field_name[:80]!r} is too long")
        form.fields[field_name] = bytes(value).decode("utf-8", "replace")


async def _file(reader: _Reader, form: Form, name: str) -> AsyncIterator[bytes]:
    async for piece in reader.until_mark():
        yield piece
    await _advance(reader, form, name)
