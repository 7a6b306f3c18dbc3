"""Writes layers that are the same, byte for byte, for the same files.

Entries are sorted, owned by 0:0, stamped with one given time, with modes 0644, 0755 for what may be executed and
for folders. The gzip header holds no name and no time. The compressed bytes depend on zlib's version; the
`diff_id` over the unpacked tar does not.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import IO, BinaryIO, Final, cast

from aegis.build.ports import Layer, Tree
from aegis.core.errors import UserError

MEDIA_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
FORMAT: Final = "1"  # part of every cache key: raised when the same input would give other bytes
_LEVEL: Final = 4  # within 4 % of the size of level 6 for Python code, in half the time
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_DROPPED: Final = frozenset({"REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json", ".lock"})
_EXEC_TRICK: Final = re.compile(rb"\A#!/bin/sh\n'''exec' [^\n]*\n' '''\n")
_SHEBANG: Final = re.compile(rb"\A#!\S*python[\d.]*[^\n]*\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of a layer: its path without a leading slash, and how its content is had."""

    path: str
    read: Callable[[], bytes]
    executable: bool = False


class _Gzip:
    """Compresses into a file, and counts and hashes both sides."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._crc = 0
        self._length = 0
        self.inner = hashlib.sha256()
        self.outer = hashlib.sha256()
        self.size = 0
        self._emit(_GZIP_HEADER)

    def write(self, data: bytes) -> int:
        self.inner.update(data)
        self._crc = zlib.crc32(data, self._crc)
        self._length += len(data)
        self._emit(self._deflate.compress(data))
        return len(data)

    def close(self) -> None:
        self._emit(self._deflate.flush())
        self._emit(struct.pack("<II", self._crc, self._length & 0xFFFFFFFF))

    def _emit(self, data: bytes) -> None:
        self.outer.update(data)
        self.size += len(data)
        self._out.write(data)


def write_layer(entries: Iterable[Entry], out: BinaryIO, *, epoch: int, comment: str) -> Layer:
    """Write a gzipped layer of `entries` to `out`, stamped with `epoch` (Unix seconds)."""
    packed = _Gzip(out)
    by_path: dict[str, Entry] = {}
    for entry in entries:
        _check(entry.path)
        by_path[entry.path] = entry
    seen: set[str] = set()
    with tarfile.open(
        fileobj=cast("IO[bytes]", packed), mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 18
    ) as archive:
        for path in sorted(by_path, key=lambda one: one.split("/")):
            entry = by_path[path]
            parts = path.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                folder = "/".join(parts[:depth])
                if folder in by_path:
                    raise UserError("layer-path", f"{folder} would be a file and a folder")
                if folder not in seen:
                    seen.add(folder)
                    archive.addfile(_stamped(folder, 0o755, epoch, kind=tarfile.DIRTYPE))
            data = entry.read()
            about = _stamped(path, 0o755 if entry.executable else 0o644, epoch)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    packed.close()
    return Layer(
        digest=f"sha256:{packed.outer.hexdigest()}", diff_id=f"sha256:{packed.inner.hexdigest()}", size=packed.size,
        media_type=MEDIA_TYPE, comment=comment,
    )  # fmt: skip


def installed_entries(tree: Tree, prefix: str) -> list[Entry]:
    """The entries of an installed tree, without what differs from one installation to the next.

    Scripts find Python on PATH, bytecode and the installer's own notes stay out, each RECORD is written anew.
    """
    kept = [file for file in tree.files() if not _is_noise(file.path)]
    made: dict[str, Entry] = {}
    changed: dict[str, bytes] = {}
    for file in kept:
        if file.path.startswith("bin/"):
            data = tree.read(file.path)
            portable = _portable(data)
            if portable != data:
                changed[file.path] = portable
        elif file.path.endswith(".dist-info/INSTALLER"):
            changed[file.path] = b"aegis\n"
    for file in kept:
        content: Callable[[], bytes]
        if file.path.endswith(".dist-info/RECORD"):
            content = _giving(_record(tree.read(file.path), changed))
        elif file.path in changed:
            content = _giving(changed[file.path])
        else:
            content = _reading(tree, file.path)
        made[file.path] = Entry(path=f"{prefix}/{file.path}", read=content, executable=file.executable)
    return list(made.values())


def _giving(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def _reading(tree: Tree, path: str) -> Callable[[], bytes]:
    return lambda: tree.read(path)


def _is_noise(path: str) -> bool:
    parts = path.split("/")
    if "__pycache__" in parts or path.endswith((".pyc", ".pyo")):
        return True
    in_info = len(parts) >= 2 and parts[-2].endswith(".dist-info")
    return parts[-1] in _DROPPED and (in_info or len(parts) == 1)


def _portable(data: bytes) -> bytes:
    data = _EXEC_TRICK.sub(b"#!/usr/bin/env python3\n", data)
    return _SHEBANG.sub(b"#!/usr/bin/env python3\n", data)


def _record(data: bytes, changed: Mapping[str, bytes]) -> bytes:
    """RECORD (PEP 376) with sorted lines, without what was dropped, with the digests of what was changed."""
    import base64  # noqa: PLC0415 - needed only where a layer is made anew
    import csv  # noqa: PLC0415 - as above

    lines = []
    for row in csv.reader(io.StringIO(data.decode())):
        if not row or _is_noise(row[0]):
            continue
        path = row[0]
        if path in changed:
            digest = base64.urlsafe_b64encode(hashlib.sha256(changed[path]).digest()).rstrip(b"=").decode()
            row = [path, f"sha256={digest}", str(len(changed[path]))]  # noqa: PLW2901 - the row as it is now
        lines.append(row)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(sorted(lines))
    return out.getvalue().encode()


def _stamped(path: str, mode: int, epoch: int, *, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    about = tarfile.TarInfo(path)
    about.mode, about.mtime, about.type = mode, epoch, kind
    return about


def _check(path: str) -> None:
    if path.startswith("/") or any(part in {"", ".", ".."} for part in path.split("/")):
        raise UserError("layer-path", f"{path!r} leads out of the image")
