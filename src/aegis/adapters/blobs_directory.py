"""`Blobs` in a directory: one file per digest, fanned out, written aside and renamed, verified when read.

A file is there whole or not at all: it is written to `tmp/`, flushed to the disk, and renamed to
`sha256/<first two>/<digest>`; the folder is flushed after it. Two writers of the same content both succeed. What is
left in `tmp/` by a killed process is swept at the next start, once it is older than a day, so that a second
process on the same directory keeps what it is writing.

It deliberately does not decide what may be forgotten: retention asks for `delete`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from aegis.core.errors import Conflict, ExternalError, NotFound

CHUNK: Final = 1024 * 1024
_STALE_SECONDS: Final = 24 * 3600
_SHA256: Final = re.compile(r"sha256:[0-9a-f]{64}")


class DirectoryBlobs:
    """Blobs under `path`, which is made (mode 0700) when it is not there. Safe from any thread and process."""

    def __init__(self, path: Path) -> None:
        self._root = path
        self._files = path / "sha256"
        self._aside = path / "tmp"
        for folder in (path, self._files, self._aside):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()

    def put(self, data: bytes) -> str:
        """Keep `data`; its sha256 digest. Durable when it returns."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if not self._is_whole(digest, len(data)):
            with self._aside_file() as (handle, name):
                handle.write(data)
                self._keep(handle, name, digest)
        return digest

    def put_stream(self, source: BinaryIO | Iterable[bytes], *, expected: str | None = None) -> tuple[str, int]:
        """Keep a stream in constant memory; digest and size. `Conflict` when it is not `expected`."""
        hashed = hashlib.sha256()
        size = 0
        with self._aside_file() as (handle, name):
            for chunk in _chunks(source):
                hashed.update(chunk)
                size += len(chunk)
                handle.write(chunk)
            digest = f"sha256:{hashed.hexdigest()}"
            if expected is not None and digest != expected:
                raise Conflict("blob-digest", f"the content has the digest {digest}, expected was {expected}")
            if not self._is_whole(digest, size):
                self._keep(handle, name, digest)
        return digest, size

    def get(self, digest: str) -> bytes:
        """The bytes; `NotFound`; `ExternalError` when what is stored no longer matches its digest."""
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError:
            raise _absent(digest) from None
        except OSError as error:
            raise _failed(error) from error
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise _damaged(digest)
        return data

    def open(self, digest: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes in chunks of at most 1 MiB, in constant memory.

        A whole read is verified at its last chunk, which is held back until the digest is known to match; a part
        cannot be verified. `NotFound` and a bad range are raised here, not at the first chunk.
        """
        if offset < 0 or (length is not None and length < 0):
            raise Conflict("blob-range", f"no such range: offset {offset}, length {length}")
        size = self.size(digest)
        if size is None:
            raise _absent(digest)
        wanted = max(0, size - offset) if length is None else min(length, max(0, size - offset))
        return _read(self._path(digest), offset, wanted, digest, whole=wanted == size)

    def size(self, digest: str) -> int | None:
        """Bytes, or None where it is not kept."""
        try:
            return self._path(digest).stat().st_size
        except (FileNotFoundError, NotFound):
            return None

    def delete(self, digest: str) -> None:
        """Forget it; no error when it is not there."""
        with contextlib.suppress(NotFound):
            self._path(digest).unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        if _SHA256.fullmatch(digest) is None:
            raise _absent(digest)
        name = digest.removeprefix("sha256:")
        return self._files / name[:2] / name

    def _is_whole(self, digest: str, size: int) -> bool:
        # A file of another length is damage (a disk error, an alien hand); writing it again mends it.
        return self.size(digest) == size

    @contextlib.contextmanager
    def _aside_file(self) -> Iterator[tuple[BinaryIO, str]]:
        try:
            descriptor, name = tempfile.mkstemp(dir=self._aside)
            with os.fdopen(descriptor, "wb") as handle:
                try:
                    yield handle, name
                finally:
                    with contextlib.suppress(FileNotFoundError):
                        Path(name).unlink()
        except OSError as error:
            raise _failed(error) from error

    def _keep(self, handle: BinaryIO, name: str, digest: str) -> None:
        handle.flush()
        os.fsync(handle.fileno())
        target = self._path(digest)
        fresh = not target.parent.is_dir()
        target.parent.mkdir(mode=0o700, exist_ok=True)
        Path(name).replace(target)
        _flush_folder(target.parent)
        if fresh:
            _flush_folder(self._files)

    def _sweep(self) -> None:
        before = time.time() - _STALE_SECONDS
        for left in self._aside.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if left.stat().st_mtime < before:
                    left.unlink()


def _chunks(source: BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    read = getattr(source, "read", None)
    if read is None:
        yield from source
        return
    while chunk := read(CHUNK):
        yield chunk


def _read(path: Path, offset: int, wanted: int, digest: str, *, whole: bool) -> Iterator[bytes]:
    # The file is opened with the first chunk: who never asks for one leaves nothing open.
    hashed = hashlib.sha256()
    if whole and wanted == 0 and f"sha256:{hashed.hexdigest()}" != digest:
        raise _damaged(digest)
    try:
        with path.open("rb") as handle:
            handle.seek(offset)
            while wanted > 0:
                chunk = handle.read(min(CHUNK, wanted))
                if not chunk:
                    raise ExternalError("blob-damaged", f"{digest} became shorter while it was read")
                wanted -= len(chunk)
                if whole:
                    hashed.update(chunk)
                    if wanted == 0 and f"sha256:{hashed.hexdigest()}" != digest:
                        raise _damaged(digest)
                yield chunk
    except FileNotFoundError:
        raise _absent(digest) from None
    except OSError as error:
        raise _failed(error) from error


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _absent(digest: str) -> NotFound:
    return NotFound("blob-unknown", f"there is no blob {digest[:80]}")


def _damaged(digest: str) -> ExternalError:
    return ExternalError(
        "blob-damaged",
        f"what is stored as {digest} no longer has that digest",
        hint="restore the file from a backup, or delete it and let it be built again",
    )


def _failed(error: OSError) -> ExternalError:
    return ExternalError(
        "blob-store", f"the blob store failed: {error}", hint="look at the disk: is it full?", retryable=True
    )
