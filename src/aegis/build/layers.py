"""Writes layers that are the same, byte for byte, for the same files.

Entries are sorted, owned by 0:0, stamped with one given time, with modes 0644, 0755 for what may be executed and
for folders; links are kept as links. The gzip header holds no name and no time. Compression is ISA-L's at level 2: the
levels up to 2 give the same bytes on every x86-64 processor (SSE 4, AVX2 and AVX-512 were compared), level 3 does not.
The compressed bytes depend on that library's version; the `diff_id` over the unpacked tar does not. Where the
registry's clients take it, zstd is the other choice.
"""

from __future__ import annotations

import hashlib
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from aegis.build.ports import Layer
from aegis.core.errors import UserError

GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
MEDIA_TYPES: Final = {"gzip": GZIP, "zstd": ZSTD}
FORMAT: Final = "3"  # part of every cache key: raised when the same input would give other bytes
_ISAL_LEVEL: Final = 2
_ZSTD_LEVEL: Final = 3
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_BLOCK: Final = 512
_WRITE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of a layer: its path without a leading slash, and how its content is had; or a symbolic `link`.

    `mode` is that of the file where it is not the usual one; a path that ends in `/` is a folder.
    """

    path: str
    read: Callable[[], bytes] = bytes
    executable: bool = False
    link: str = ""
    mode: int = 0


class _Deflater(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Packer:
    """Compresses into a file, and counts and hashes both sides."""

    def __init__(self, out: BinaryIO, compression: str) -> None:
        self._out = out
        self._gzip = compression != "zstd"
        self._deflate = _deflater(compression)
        self._crc = 0
        self._length = 0
        self._held = bytearray()
        self.inner = hashlib.sha256()
        self.outer = hashlib.sha256()
        self.size = 0
        if self._gzip:
            self._emit(_GZIP_HEADER)

    def write(self, data: bytes) -> None:
        """More of the tar; small pieces are gathered."""
        self._length += len(data)
        self._held += data
        if len(self._held) >= _WRITE:
            self._drain()

    def close(self) -> None:
        """The end of the tar."""
        self.write(bytes(2 * _BLOCK))
        self.write(bytes(-self._length % tarfile.RECORDSIZE))
        self._drain()
        self._emit(self._deflate.flush())
        if self._gzip:
            self._emit(struct.pack("<II", self._crc, self._length & 0xFFFFFFFF))

    def _drain(self) -> None:
        data = bytes(self._held)
        self._held.clear()
        self.inner.update(data)
        if self._gzip:
            self._crc = zlib.crc32(data, self._crc)
        self._emit(self._deflate.compress(data))

    def _emit(self, data: bytes) -> None:
        self.outer.update(data)
        self.size += len(data)
        self._out.write(data)


def _deflater(compression: str) -> _Deflater:
    if compression == "zstd":
        import zstandard  # noqa: PLC0415 - only who asks for zstd needs it

        made: _Deflater = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=False).compressobj()
        return made
    from isal import isal_zlib  # noqa: PLC0415 - start-up is a feature: only writing a layer needs it

    fast: _Deflater = isal_zlib.compressobj(_ISAL_LEVEL, isal_zlib.DEFLATED, -15)
    return fast


def write_layer(
    entries: Iterable[Entry], out: BinaryIO, *, epoch: int, comment: str, compression: str = "gzip"
) -> Layer:
    """Write a layer of `entries` to `out`, stamped with `epoch` (Unix seconds). The last of a path counts."""
    packed = _Packer(out, compression)
    for entry in _ordered(entries):
        if entry.link:
            packed.write(_header(entry.path, 0, 0o777, epoch, kind=tarfile.SYMTYPE, link=entry.link))
        elif entry.path.endswith("/"):
            packed.write(_header(entry.path, 0, entry.mode or 0o755, epoch, kind=tarfile.DIRTYPE))
        else:
            data = entry.read()
            mode = entry.mode or (0o755 if entry.executable else 0o644)
            packed.write(_header(entry.path, len(data), mode, epoch))
            packed.write(data)
            packed.write(bytes(-len(data) % _BLOCK))
    packed.close()
    return Layer(
        digest=f"sha256:{packed.outer.hexdigest()}", diff_id=f"sha256:{packed.inner.hexdigest()}", size=packed.size,
        media_type=MEDIA_TYPES[compression], comment=comment,
    )  # fmt: skip


def _ordered(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries by path with the folders they lie in before them; `UserError` where a file would be a folder."""
    by_path = {entry.path.rstrip("/"): entry for entry in entries}
    seen: set[str] = set()
    for path in sorted(by_path, key=lambda one: one.split("/")):
        entry = by_path[path]
        check_path(path)
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            above = by_path.get(folder)
            if above is not None and not above.path.endswith("/"):
                raise UserError("layer-path", f"{folder} would be a file and a folder")
            if folder not in seen:
                seen.add(folder)
                if above is None:
                    yield Entry(path=f"{folder}/")
        if entry.path.endswith("/"):
            seen.add(path)
        yield entry


def check_path(path: str) -> None:
    """`UserError` for a path that is absolute or leads out of the image."""
    if path.startswith("/") or "\0" in path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise UserError("layer-path", f"{path!r} leads out of the image")


def _header(path: str, size: int, mode: int, epoch: int, *, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """A tar header. The common ones (short names in ASCII) are made here, in a tenth of `tarfile`'s time."""
    raw, aim = path.encode(), link.encode()
    if len(raw) <= 100 and len(aim) <= 100 and path.isascii() and size < 1 << 33:
        head = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%bustar\x0000" % (
            raw.ljust(100, b"\0"), mode, 0, 0, size, epoch, kind, aim.ljust(100, b"\0")
        )  # fmt: skip
        whole = bytearray(head.ljust(_BLOCK, b"\0"))
        whole[148:156] = b"%06o\0 " % sum(whole)
        return bytes(whole)
    about = tarfile.TarInfo(path)
    about.mode, about.mtime, about.type, about.size, about.linkname = mode, epoch, kind, size, link
    return about.tobuf(tarfile.PAX_FORMAT)
