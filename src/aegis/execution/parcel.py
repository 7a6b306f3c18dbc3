"""How a job's files are stored: a parcel, made of segments that equal files share.

The contents of the files, one after another in the order of their names, are one stream, cut into segments of at most
4 MiB. A segment is a blob, compressed with zstd where that saves at least a thirtieth, else as it is; a manifest, a blob as
well, lists files and segments. Cuts follow the contents: after a small file as its checksum says, and around each file of
1 MiB or more, which is cut by itself. So a parcel that differs a little from an earlier one shares all but a few segments with
it, whatever was added before; a large file into which bytes were inserted shares what lies in front of them.

Segments are named by SHA-256 and manifests by SHA-512: a sweep finds the manifests without reading anything else. Reading
and writing keep one segment in memory. What a job may pack or overwrite is decided by `archive`, not here.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from aegis.core.errors import ExternalError, NotFound, UserError
from aegis.core.ports import Blobs
from aegis.execution.archive import open_file

MAGIC: Final = b"aegis-parcel-1\n"
SEGMENT: Final = 4 * 1024 * 1024
"""The largest segment, in bytes of content."""
LARGE: Final = 1024 * 1024
"""Files from this size on have segments of their own."""
_TARGET: Final = 384 * 1024
_LEVEL: Final = 3
_PROBE: Final = 64 * 1024  # what cannot be made smaller at two places is not tried as a whole
_WORTH: Final = 30  # a compressed segment is kept when it is smaller by one part of so many
FILE, EXECUTABLE, LINK = 0, 1, 2
RAW, ZSTD = 0, 1
MANIFEST_LIMIT: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a parcel. A link's content is its target. `crc` is zip's checksum of the content."""

    name: str
    kind: int
    size: int
    crc: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the stream of contents: the blob that holds it, its size unpacked, how it is packed."""

    digest: str
    size: int
    packing: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a manifest says."""

    files: tuple[Entry, ...]
    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        """Bytes of content."""
        return sum(one.size for one in self.segments)


class _Cutter:
    """Makes segments of files, one at a time; `entries` and `cuts` (size, packing) tell what it has made so far."""

    def __init__(self, root: Path) -> None:
        import zstandard  # noqa: PLC0415 - most commands pack nothing

        self._root = root
        self._pack = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False).compress
        self._open = bytearray()
        self.entries: list[Entry] = []
        self.cuts: list[tuple[int, int]] = []

    def segments(self, files: Sequence[str]) -> Iterator[bytes]:
        """The blobs."""
        for name in files:
            path = self._root / name
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                yield from self._small(name, LINK, os.fsencode(path.readlink()))
            else:
                with open_file(path) as file:
                    yield from self._file(name, EXECUTABLE if mode & 0o111 else FILE, file)
        yield from self._cut()

    def _small(self, name: str, kind: int, content: bytes) -> Iterator[bytes]:
        """A file that shares its segment with its neighbours."""
        crc = zlib.crc32(content)
        self.entries.append(Entry(name, kind, len(content), crc))
        if len(self._open) + len(content) > SEGMENT:
            yield from self._cut()
        self._open += content
        # As likely as the file is large, and decided by it alone: what lies before it moves no cut.
        if crc % _TARGET < len(content):
            yield from self._cut()

    def _file(self, name: str, kind: int, file: BinaryIO) -> Iterator[bytes]:
        content = file.read(LARGE)
        if len(content) < LARGE:
            yield from self._small(name, kind, content)
            return
        yield from self._cut()
        size = crc = 0
        content += file.read(SEGMENT - LARGE)
        while content:
            crc = zlib.crc32(content, crc)
            size += len(content)
            yield self._packed(content)
            content = file.read(SEGMENT)
        self.entries.append(Entry(name, kind, size, crc))

    def _cut(self) -> Iterator[bytes]:
        if self._open:
            content = bytes(self._open)
            self._open.clear()
            yield self._packed(content)

    def _packed(self, content: bytes) -> bytes:
        packed = content
        if len(content) < 4 * _PROBE or any(self._shrinks(content[at : at + _PROBE]) for at in (0, len(content) // 2)):
            packed = self._pack(content)
        worth = _smaller(packed, content)
        self.cuts.append((len(content), ZSTD if worth else RAW))
        return packed if worth else content

    def _shrinks(self, sample: bytes) -> bool:
        return _smaller(self._pack(sample), sample)


def _smaller(packed: bytes, content: bytes) -> bool:
    return len(packed) < len(content) - len(content) // _WORTH


def pack(root: Path, files: Sequence[str], blobs: Blobs) -> tuple[str, Parcel]:
    """Store the files (of `archive.choose`) below `root`; the manifest's digest, and what it says.

    The same files give the same parcel. The manifest is written last: a parcel that can be read is whole.
    """
    cutter = _Cutter(root)
    digests = list(blobs.put_each(cutter.segments(files)))
    segments = tuple(Segment(digest, *cut) for digest, cut in zip(digests, cutter.cuts, strict=True))
    parcel = Parcel(tuple(cutter.entries), segments)
    return keep(parcel, blobs), parcel


def keep(parcel: Parcel, blobs: Blobs) -> str:
    """Write a manifest; its digest."""
    import zstandard  # noqa: PLC0415 - as above

    files = [(_bytes(one.name), one.kind, one.size, one.crc) for one in parcel.files]
    segments = [(bytes.fromhex(one.digest.partition(":")[2]), one.size, one.packing) for one in parcel.segments]
    body = MAGIC + zstandard.compress(msgspec.msgpack.encode((files, segments)), _LEVEL)
    digest = f"sha512:{hashlib.sha512(body).hexdigest()}"
    blobs.put_stream([body], expected=digest)
    return digest


def is_parcel(blobs: Blobs, digest: str) -> bool:
    """Whether a blob is a parcel's manifest; `NotFound`."""
    if not digest.startswith("sha512:"):
        return False
    return b"".join(blobs.open(digest, offset=0, length=len(MAGIC))) == MAGIC


def read(blobs: Blobs, digest: str) -> Parcel:
    """A manifest; `NotFound`, `ExternalError` where the store damaged it, `UserError` where it is none."""
    import zstandard  # noqa: PLC0415 - as above

    body = blobs.get(digest)
    try:
        if not body.startswith(MAGIC):
            raise ValueError("it does not begin as one")  # noqa: TRY301 - told with the others
        plain = zstandard.ZstdDecompressor().decompress(body[len(MAGIC) :], max_output_size=MANIFEST_LIMIT)
        files, segments = msgspec.msgpack.decode(
            plain, type=tuple[list[tuple[bytes, int, int, int]], list[tuple[bytes, int, int]]]
        )
    except (ValueError, zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise UserError("archive-broken", f"{digest[:24]} is not a manifest: {error}") from error
    return Parcel(
        tuple(Entry(_text(name), kind, size, crc) for name, kind, size, crc in files),
        tuple(Segment(f"sha256:{raw.hex()}", size, packing) for raw, size, packing in segments),
    )


def contents(parcel: Parcel, blobs: Blobs) -> Iterator[tuple[Entry, Iterator[memoryview]]]:
    """Every file with its content in pieces. Take the pieces of one before the next; what is left of them is passed over."""
    stream = _Stream(parcel.segments, blobs)
    for entry in parcel.files:
        pieces = stream.take(entry.size)
        yield entry, pieces
        for _ in pieces:
            pass


def content(parcel: Parcel, name: str, blobs: Blobs) -> tuple[int, Iterator[memoryview]]:
    """The size and the pieces of one file, of whose neighbours only what shares its segments is read; `NotFound`."""
    start = 0
    for entry in parcel.files:
        if entry.name == name and entry.kind != LINK:
            return entry.size, _from(parcel.segments, start, entry.size, blobs)
        start += entry.size
    raise NotFound("no-such-file", f"the archive has no file {name}")


def _from(segments: Sequence[Segment], start: int, size: int, blobs: Blobs) -> Iterator[memoryview]:
    first = 0
    while first < len(segments) and start >= segments[first].size:
        start -= segments[first].size
        first += 1
    stream = _Stream(segments[first:], blobs)
    for _ in stream.take(start):
        pass
    yield from stream.take(size)


class _Stream:
    """The contents, from the first segment on."""

    def __init__(self, segments: Sequence[Segment], blobs: Blobs) -> None:
        import zstandard  # noqa: PLC0415 - as above

        self._segments = iter(segments)
        self._blobs = blobs
        self._unpack = zstandard.ZstdDecompressor()
        self._left = memoryview(b"")

    def take(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes."""
        while size:
            if not self._left:
                self._left = memoryview(self._segment())
                continue
            piece, self._left = self._left[:size], self._left[size:]
            size -= len(piece)
            yield piece

    def _segment(self) -> bytes:
        segment = next(self._segments, None)
        if segment is None:
            raise ExternalError("archive-broken", "the archive ends before its files do")
        self._left = memoryview(b"")  # not two at a time
        data = self._blobs.get(segment.digest)
        if segment.packing == ZSTD:
            data = self._unpack.decompress(data, max_output_size=segment.size)
        if len(data) != segment.size:
            raise ExternalError("archive-broken", f"the segment {segment.digest[:24]} has {len(data)} bytes")
        return data


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
