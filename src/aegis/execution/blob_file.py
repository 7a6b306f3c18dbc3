"""A blob as a seekable file: what reads a zip's directory needs, without a copy of the whole."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from aegis.core.errors import NotFound
from aegis.core.ports import Blobs

if TYPE_CHECKING:  # Python 3.11 has no name for it
    from typing_extensions import Buffer

_BUFFER = 256 * 1024


class _Parts(io.RawIOBase):
    """Reads parts of a blob. Parts cannot be verified against its digest; formats with checksums of their own can."""

    def __init__(self, blobs: Blobs, digest: str, size: int) -> None:
        super().__init__()
        self._blobs, self._digest, self._size, self._at = blobs, digest, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        data = b"".join(self._blobs.open(self._digest, offset=self._at, length=len(view)))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_blob(blobs: Blobs, digest: str) -> io.BufferedReader:
    """The blob, read where it is looked at; `NotFound`."""
    size = blobs.size(digest)
    if size is None:
        raise NotFound("blob-unknown", f"there is no blob {digest[:80]}")
    return io.BufferedReader(_Parts(blobs, digest, size), _BUFFER)
