"""What a job has left, whichever way it is stored: a parcel of the built-in runner, or the zip that a remote one sent.

It reads; what may be written where is decided by `archive`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aegis.core.errors import AegisError, NotFound, UserError
from aegis.core.ports import Blobs
from aegis.execution import archive, parcel, zip_face
from aegis.execution.blob_file import open_blob

_CHUNK: Final = 256 * 1024


def unpack(
    blobs: Blobs, digest: str, root: Path, *, limit: int = archive.UNPACKED_LIMIT, undo: bool = False
) -> tuple[str, ...]:
    """Write the files under `root`, over what is there; their names. Errors are those of `archive.unpack`.

    With `undo` a parcel that turns out to be damaged leaves none of its files behind.
    """
    if not parcel.is_parcel(blobs, digest):
        with open_blob(blobs, digest) as file:
            return archive.unpack(file, root, limit=limit)
    found = parcel.read(blobs, digest)
    if len(found.files) > archive.ENTRIES_LIMIT:
        raise UserError("archive-too-large", f"the archive holds more than {archive.ENTRIES_LIMIT} files")
    if found.size > limit:
        raise UserError("archive-too-large", f"the archive holds more than {limit} bytes")
    target = archive.Target(root)
    try:
        for entry, pieces in parcel.contents(found, blobs):
            if entry.kind == parcel.LINK:
                target.link(entry.name, b"".join(pieces))
            else:
                target.file(entry.name, pieces, executable=entry.kind == parcel.EXECUTABLE)
    except AegisError:
        if undo:
            target.undo()
        raise
    return tuple(entry.name for entry in found.files)


def as_zip(blobs: Blobs, digest: str) -> tuple[int, Iterator[bytes]]:
    """The archive as zip: its size and its bytes; `NotFound`."""
    if parcel.is_parcel(blobs, digest):
        found = parcel.read(blobs, digest)
        return zip_face.size_of(found), zip_face.chunks(found, blobs)
    size = blobs.size(digest)
    if size is None:
        raise NotFound("blob-unknown", f"there is no blob {digest[:80]}")
    return size, blobs.open(digest)


def file_of(blobs: Blobs, digest: str, path: str) -> tuple[int, Iterator[bytes]]:
    """One file of an archive: its size and its bytes, unpacked as they are read; `NotFound`."""
    if parcel.is_parcel(blobs, digest):
        size, pieces = parcel.content(parcel.read(blobs, digest), path, blobs)
        return size, (bytes(piece) for piece in pieces)
    try:
        reader = zipfile.ZipFile(open_blob(blobs, digest))
    except zipfile.BadZipFile as error:
        raise UserError("archive-broken", f"not a zip archive: {error}") from error
    try:
        info = reader.getinfo(path)
    except KeyError:
        reader.close()
        raise NotFound("no-such-file", f"the archive has no file {path}") from None
    return info.file_size, _inflated(reader, info)


def _inflated(reader: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with reader, reader.open(info) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def names(blobs: Blobs, digest: str) -> tuple[str, ...]:
    """The files of an archive."""
    if parcel.is_parcel(blobs, digest):
        return tuple(one.name for one in parcel.read(blobs, digest).files)
    with open_blob(blobs, digest) as file, zipfile.ZipFile(file) as reader:
        return tuple(one for one in reader.namelist() if not one.endswith("/"))


def blobs_of(blobs: Blobs, digest: str) -> frozenset[str]:
    """Every blob that a stored file needs, its own included; `NotFound` where that one is not there."""
    if not parcel.is_parcel(blobs, digest):
        return frozenset({digest})
    return frozenset({digest, *(one.digest for one in parcel.read(blobs, digest).segments)})


def is_whole(blobs: Blobs, digest: str) -> bool:
    """Whether everything that a stored file needs is still there."""
    try:
        return all(blobs.size(one) is not None for one in blobs_of(blobs, digest))
    except NotFound:
        return False
