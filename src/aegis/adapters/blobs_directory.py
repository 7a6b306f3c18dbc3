"""`Blobs` in a directory: one file per digest, fanned out, written aside and renamed, verified when read.

A file is there whole or not at all: it is written to `tmp/`, flushed to the disk, and renamed to
`<algorithm>/<first two>/<digest>`; the folder is flushed after it. Two writers of the same content both succeed. What
is left in `tmp/` by a killed process is swept at the next start, once it is older than a day, so that a second
process on the same directory keeps what it is writing.

Every read is verified. Hashing costs more than sending, so what was found right is remembered for an hour by the
file's inode, size and times of change: until somebody writes to the file it may then be handed out as it is (`file`).
What the disk itself corrupts later is found by the scrubbing that `check` serves.

It deliberately does not decide what may be forgotten: retention asks for `delete`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final

from aegis.adapters.blob_holds import Holds
from aegis.adapters.written_ahead import each
from aegis.core.errors import Conflict, ExternalError, NotFound

CHUNK: Final = 1024 * 1024
_STALE_SECONDS: Final = 24 * 3600
_TRUST_SECONDS: Final = 3600.0
_TRUSTED: Final = 4096  # files remembered as verified
_DIGEST: Final = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})")


class DirectoryBlobs:
    """Blobs under `path`, which is made (mode 0700) when it is not there. Safe from any thread and process."""

    def __init__(self, path: Path) -> None:
        self._root = path
        self._aside = path / "tmp"
        self._trusted: OrderedDict[str, tuple[tuple[int, ...], float]] = OrderedDict()
        self._bad: dict[str, tuple[int, ...]] = {}
        self._guard = threading.Lock()
        self._holds = Holds()
        for folder in (path, path / "sha256", self._aside):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()

    def put(self, data: bytes) -> str:
        """Keep `data`; its sha256 digest. Durable when it returns."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._holds.mark(digest)
        if not self._is_whole(digest, len(data)):
            with self._aside_file() as (handle, name):
                handle.write(data)
                self._keep(handle, name, digest)
        return digest

    def put_stream(self, source: BinaryIO | Iterable[bytes], *, expected: str | None = None) -> tuple[str, int]:
        """Keep a stream in constant memory; digest and size. `Conflict` when it is not `expected`."""
        hashed = hasher(expected)
        size = 0
        with self._aside_file() as (handle, name):
            for chunk in _chunks(source):
                hashed.update(chunk)
                size += len(chunk)
                handle.write(chunk)
            digest = f"{hashed.name}:{hashed.hexdigest()}"
            if expected is not None and digest != expected:
                raise Conflict("blob-digest", f"the content has the digest {digest}, expected was {expected}")
            self._holds.mark(digest)
            if not self._is_whole(digest, size):
                self._keep(handle, name, digest)
        return digest, size

    def adopt(self, path: Path, digest: str) -> None:
        """Move a file of this file system here whose digest the caller has computed. Durable when it returns."""
        self._holds.mark(digest)
        try:
            size = path.stat().st_size
            if self._is_whole(digest, size):
                path.unlink()
                return
            with path.open("rb") as handle:
                self._keep(handle, str(path), digest)
        except OSError as error:
            raise _failed(error) from error

    def put_each(self, parts: Iterable[bytes]) -> Iterator[str]:
        """See `Blobs`."""
        return each(self.put, parts)

    def get(self, digest: str) -> bytes:
        """The bytes; `NotFound`; `ExternalError` when what is stored no longer matches its digest."""
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError:
            raise _absent(digest) from None
        except OSError as error:
            raise _failed(error) from error
        hashed = hasher(digest)
        hashed.update(data)
        if f"{hashed.name}:{hashed.hexdigest()}" != digest:
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
        if self._is_bad(digest):
            raise _damaged(digest)
        wanted = max(0, size - offset) if length is None else min(length, max(0, size - offset))
        return self._read(offset, wanted, digest, whole=wanted == size)

    def file(self, digest: str) -> BinaryIO | None:
        """The bytes as a file, once they are known to be right; None while they are not: `open` verifies them."""
        try:
            handle = self._path(digest).open("rb", buffering=0)
        except (FileNotFoundError, NotFound):
            return None
        except OSError as error:
            raise _failed(error) from error
        if self._is_trusted(digest, handle):
            return handle
        handle.close()
        return None

    def check(self, digest: str) -> bool:
        """Read it whole, past what is remembered; whether it still has its digest. `NotFound`."""
        with self._guard:
            self._trusted.pop(digest, None)
            self._bad.pop(digest, None)
        try:
            for _ in self.open(digest):
                pass
        except ExternalError as error:
            if error.code == "blob-damaged":
                return False
            raise
        return True

    def digests(self, after: str = "") -> Iterator[tuple[str, float]]:
        """What is kept beyond `after`, in the order of digests, each with seconds (Unix time) since when."""
        for algorithm in ("sha256", "sha512"):
            for folder in sorted(self._root.glob(f"{algorithm}/*")):
                if f"{algorithm}:{folder.name}" < after[: len(algorithm) + 1 + len(folder.name)]:
                    continue
                for path in sorted(folder.iterdir()):
                    if f"{algorithm}:{path.name}" <= after:
                        continue
                    with contextlib.suppress(FileNotFoundError):
                        yield f"{algorithm}:{path.name}", path.stat().st_mtime

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

    def hold(self) -> AbstractContextManager[None]:
        """See `Blobs`."""
        return self._holds.hold()

    def forget(self, digest: str) -> bool:
        """See `Blobs`."""
        with self._holds.idle(digest) as idle:
            if idle:
                self.delete(digest)
        return idle

    def _path(self, digest: str) -> Path:
        if _DIGEST.fullmatch(digest) is None:
            raise _absent(digest)
        algorithm, _, name = digest.partition(":")
        return self._root / algorithm / name[:2] / name

    def _is_whole(self, digest: str, size: int) -> bool:
        # A file of another length is damage (a disk error, an alien hand); writing it again mends it.
        return self.size(digest) == size and not self._is_bad(digest)

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
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        Path(name).replace(target)
        self._trust(digest, handle)
        _flush_folder(target.parent)
        if fresh:
            _flush_folder(target.parent.parent)
            _flush_folder(self._root)

    def _trust(self, digest: str, handle: BinaryIO) -> None:
        with self._guard:
            self._trusted[digest] = (_state(handle), time.monotonic())
            while len(self._trusted) > _TRUSTED:
                self._trusted.popitem(last=False)

    def _is_trusted(self, digest: str, handle: BinaryIO) -> bool:
        with self._guard:
            state, since = self._trusted.get(digest, ((), 0.0))
        return state == _state(handle) and time.monotonic() - since < _TRUST_SECONDS

    def _read(self, offset: int, wanted: int, digest: str, *, whole: bool) -> Iterator[bytes]:
        # The file is opened with the first chunk: who never asks for one leaves nothing open.
        hashed = hasher(digest)
        try:
            with self._path(digest).open("rb") as handle:
                state = _state(handle)
                handle.seek(offset)
                if whole and wanted == 0:
                    self._verified(hashed, digest, handle, state)
                while wanted > 0:
                    chunk = handle.read(min(CHUNK, wanted))
                    if not chunk:
                        raise ExternalError("blob-damaged", f"{digest} became shorter while it was read")
                    wanted -= len(chunk)
                    if whole:
                        hashed.update(chunk)
                        if wanted == 0:
                            self._verified(hashed, digest, handle, state)
                    yield chunk
        except FileNotFoundError:
            raise _absent(digest) from None
        except OSError as error:
            raise _failed(error) from error

    def _is_bad(self, digest: str) -> bool:
        """Whether this very file was found damaged before: it is refused at once, and writing it again mends it."""
        with self._guard:
            state = self._bad.get(digest)
        return state is not None and state == _state_of(self._path(digest))

    def _verified(self, hashed: hashlib._Hash, digest: str, handle: BinaryIO, state: tuple[int, ...]) -> None:
        if f"{hashed.name}:{hashed.hexdigest()}" != digest:
            with self._guard:
                self._bad[digest] = state
            raise _damaged(digest)
        if _state(handle) == state:
            self._trust(digest, handle)

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


def hasher(digest: str | None) -> hashlib._Hash:
    """What computes digests of the same algorithm; sha256 where none is named."""
    return hashlib.new("sha512" if digest is not None and digest.startswith("sha512:") else "sha256")


def _state(handle: BinaryIO) -> tuple[int, ...]:
    return _facts(os.fstat(handle.fileno()))


def _state_of(path: Path) -> tuple[int, ...]:
    try:
        return _facts(path.stat())
    except FileNotFoundError:
        return ()


def _facts(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


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
