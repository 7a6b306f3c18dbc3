"""`Uploads` in a directory: one file per unfinished upload, named by 128 random bits.

The owner stands in a file beside it, so that an upload of one repository is unknown to every other. What arrives is
hashed while it is written, so that a finished upload only needs to be moved; after a restart it is read once more.
Leavings older than a day are swept at the start. It does not decide when an upload is done.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from aegis.adapters.blobs_directory import DirectoryBlobs, hasher
from aegis.core.errors import Conflict, ExternalError, NotFound
from aegis.core.ports import Blobs

_CHUNK: Final = 1024 * 1024
_STALE_SECONDS: Final = 24 * 3600
_NAME: Final = re.compile(r"[0-9a-f]{32}")
_WRITEBACK: Final = 16 * _CHUNK  # what goes to the disk while the rest still arrives


class DirectoryUploads:
    """Uploads under `path`, which is made (mode 0700) when it is not there; finished ones go to `blobs`.

    For one process.
    """

    def __init__(self, path: Path, blobs: Blobs) -> None:
        self._root = path
        self._blobs = blobs
        self._guard = threading.Lock()
        self._writing: set[str] = set()
        self._hashes: dict[str, tuple[hashlib._Hash, int]] = {}
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sweep()

    def sweep(self) -> int:
        """Forget what nobody has added to for a day; how many files that were."""
        before, gone = time.time() - _STALE_SECONDS, 0
        for left in self._root.iterdir():
            with contextlib.suppress(FileNotFoundError):
                beside = self._root / left.name.removesuffix(".owner")
                if left.stat().st_mtime < before and not (beside.exists() and beside.stat().st_mtime >= before):
                    left.unlink()
                    self._hashes.pop(left.name, None)
                    gone += 1
        return gone

    def start(self, owner: str) -> str:
        """A new, empty upload that belongs to `owner`: its unguessable name."""
        name = secrets.token_hex(16)
        try:
            (self._root / f"{name}.owner").write_text(owner)
            (self._root / name).touch(mode=0o600)
        except OSError as error:
            raise _failed(error) from error
        return name

    def size(self, name: str, owner: str) -> int:
        """Bytes received so far; `NotFound` for another owner's, too."""
        try:
            return self._path(name, owner).stat().st_size
        except FileNotFoundError:
            raise _absent() from None

    def append(self, name: str, owner: str, data: Iterable[bytes], *, offset: int | None = None) -> int:
        """Add bytes; the new size. `Conflict` when `offset` is given and is not the present size."""
        path = self._path(name, owner)
        with self._alone(name):
            size = self.size(name, owner)
            if offset is not None and offset != size:
                raise Conflict("upload-offset", f"the upload stands at {size}, not at {offset}")
            hashed, known = self._hashes.pop(name, (hashlib.sha256(), 0))
            try:
                with path.open("ab", buffering=0) as file:
                    for chunk in data:
                        size = _write(file, chunk, size)
                        if known + len(chunk) == size:
                            hashed.update(chunk)
                            known = size
            except OSError as error:
                raise _failed(error) from error
            finally:
                if known == size:
                    self._hashes[name] = (hashed, size)
            return size

    def commit(self, name: str, owner: str, digest: str) -> int:
        """Make what has arrived a blob, and forget the upload; its size. `Conflict` where it has another digest."""
        path = self._path(name, owner)
        with self._alone(name):
            size = self.size(name, owner)
            found = self._digest(name, path, size, digest)
            if found != digest:
                raise Conflict("blob-digest", f"the content has the digest {found}, expected was {digest}")
            if isinstance(self._blobs, DirectoryBlobs):
                self._adopt(self._blobs, name, owner, digest)
            else:
                with path.open("rb") as file:
                    self._blobs.put_stream(file, expected=digest)
        self.discard(name, owner)
        return size

    def _adopt(self, blobs: DirectoryBlobs, name: str, owner: str, digest: str) -> None:
        """Move it there. What the disk did not take is lost, though it may still be read: it must be sent again."""
        try:
            blobs.adopt(self._path(name, owner), digest)
        except ExternalError:
            self.discard(name, owner)
            raise

    def _digest(self, name: str, path: Path, size: int, wanted: str) -> str:
        hashed, known = self._hashes.get(name, (hashlib.sha256(), -1))
        if known != size or not wanted.startswith(f"{hashed.name}:"):
            hashed = hasher(wanted)
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    hashed.update(chunk)
        return f"{hashed.name}:{hashed.hexdigest()}"

    def read(self, name: str, owner: str) -> Iterator[bytes]:
        """All bytes, in chunks of at most 1 MiB."""
        path = self._path(name, owner)
        with self._alone(name), path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def discard(self, name: str, owner: str) -> None:
        """Forget it; `NotFound` when it is not there."""
        path = self._path(name, owner)
        self._hashes.pop(name, None)
        path.unlink(missing_ok=True)
        path.with_name(f"{name}.owner").unlink(missing_ok=True)

    def _path(self, name: str, owner: str) -> Path:
        if _NAME.fullmatch(name) is None:
            raise _absent()
        try:
            if (self._root / f"{name}.owner").read_text() != owner:
                raise _absent()
        except FileNotFoundError:
            raise _absent() from None
        return self._root / name

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        with self._guard:
            if name in self._writing:
                raise Conflict("upload-busy", "another connection is writing this upload", retryable=True)
            self._writing.add(name)
        try:
            yield
        finally:
            with self._guard:
                self._writing.discard(name)


def _write(file: BinaryIO, chunk: bytes, size: int) -> int:
    """Write all of it, or nothing: a full disk leaves the upload as it was. The new size."""
    view, after = memoryview(chunk), size + len(chunk)
    try:
        while view:
            view = view[file.write(view) :]
        if after // _WRITEBACK > size // _WRITEBACK and hasattr(os, "posix_fadvise"):
            # Begins to write the dirty pages out and waits for none, so that the sync at the end finds little to do.
            begin = size // _WRITEBACK * _WRITEBACK
            os.posix_fadvise(file.fileno(), begin, after - begin, os.POSIX_FADV_DONTNEED)
    except OSError:
        os.ftruncate(file.fileno(), size)
        raise
    return after


def _absent() -> NotFound:
    return NotFound("upload-unknown", "there is no such upload")


def _failed(error: OSError) -> ExternalError:
    return ExternalError(
        "upload-store", f"an upload could not be kept: {error}", hint="look at the disk: is it full?", retryable=True
    )
