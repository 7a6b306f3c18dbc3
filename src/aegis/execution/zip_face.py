"""A parcel as the zip file that GitLab's API promises: made while it is sent, of a size that is known before.

Contents are stored in it as they are (method 0): deflating a second time what zstd has packed would cost more than sending it,
and nobody could say how long the answer is. The bytes depend on the parcel alone. Beyond 4 GiB and 65,535 files it is zip64.

Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from aegis.core.ports import Blobs
from aegis.execution.parcel import EXECUTABLE, LINK, Entry, Parcel, contents

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END64: Final = struct.Struct("<4sQ2H2I4Q")
_LOCATOR: Final = struct.Struct("<4sIQI")
_END: Final = struct.Struct("<4s4H2IH")
_DATE: Final = (1 << 5) | 1  # 1980-01-01
_UTF8: Final = 1 << 11
_UNIX: Final = 3 << 8
_MOST: Final = 0xFFFFFFFF
_MODES: Final = {EXECUTABLE: 0o100755, LINK: 0o120777}


def size_of(parcel: Parcel) -> int:
    """Bytes of the zip."""
    offset = directory = 0
    for entry in parcel.files:
        directory += len(_listed(entry, offset))
        offset += len(_head(entry)) + entry.size
    return offset + directory + len(_end(len(parcel.files), offset, directory))


def chunks(parcel: Parcel, blobs: Blobs) -> Iterator[bytes]:
    """The zip, in pieces of at most 1 MiB or so."""
    offset = 0
    directory: list[bytes] = []
    for entry, pieces in contents(parcel, blobs):
        head = _head(entry)
        directory.append(_listed(entry, offset))
        offset += len(head) + entry.size
        yield head
        for piece in pieces:
            for start in range(0, len(piece), _PIECE):
                yield bytes(piece[start : start + _PIECE])
    listed = b"".join(directory)
    yield listed
    yield _end(len(parcel.files), offset, len(listed))


_PIECE: Final = 1024 * 1024


def _name(entry: Entry) -> bytes:
    return entry.name.encode("utf-8", "surrogateescape")[:0xFFFF]


def _head(entry: Entry) -> bytes:
    name, big = _name(entry), entry.size >= _MOST
    extra = struct.pack("<2H2Q", 1, 16, entry.size, entry.size) if big else b""
    size = _MOST if big else entry.size
    version = 45 if big else 20
    fixed = _LOCAL.pack(b"PK\3\4", version, _UTF8, 0, 0, _DATE, entry.crc, size, size, len(name), len(extra))
    return fixed + name + extra


def _listed(entry: Entry, offset: int) -> bytes:
    name, big, far = _name(entry), entry.size >= _MOST, offset >= _MOST
    wide = [*([entry.size] * 2 if big else []), *([offset] if far else [])]
    extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    size = _MOST if big else entry.size
    version = 45 if wide else 20
    mode = _MODES.get(entry.kind, 0o100644) << 16
    fixed = _CENTRAL.pack(
        b"PK\1\2", _UNIX | version, version, _UTF8, 0, 0, _DATE, entry.crc, size, size, len(name), len(extra), 0, 0, 0,
        mode, _MOST if far else offset,
    )  # fmt: skip
    return fixed + name + extra


def _end(count: int, offset: int, size: int) -> bytes:
    wide = count >= 0xFFFF or offset >= _MOST or size >= _MOST
    last = _END.pack(
        b"PK\5\6", 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), min(size, _MOST), min(offset, _MOST), 0
    )  # fmt: skip
    if not wide:
        return last
    end64 = _END64.pack(b"PK\6\6", _END64.size - 12, _UNIX | 45, 45, 0, 0, count, count, size, offset)
    return end64 + _LOCATOR.pack(b"PK\6\7", 0, offset + size, 1) + last
