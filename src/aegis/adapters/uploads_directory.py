"""`Uploads` in a directory: one file per unfinished upload, named by 128 random bits.

The owner stands in a file beside it, so that an upload of one repository is unknown to every other. Leavings older
than a day are swept at the start. It does not decide when an upload is done.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from aegis.core.errors import Conflict, ExternalError, NotFound

_CHUNK: Final = 1024 * 1024
_STALE_SECONDS: Final = 24 * 3600
_NAME: Final = re.compile(r"[0-9a-f]{32}")


class DirectoryUploads:
    """Uploads under `path`, which is made (mode 0700) when it is not there. For one process."""

    def __init__(self, path: Path) -> None:
        self._root = path
        self._guard = threading.Lock()
        self._writing: set[str] = set()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = time.time() - _STALE_SECONDS
        for left in path.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if left.stat().st_mtime < before:
                    left.unlink()

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
            try:
                with path.open("ab") as file:
                    for chunk in data:
                        file.write(chunk)
                    return file.tell()
            except OSError as error:
                raise _failed(error) from error

    def read(self, name: str, owner: str) -> Iterator[bytes]:
        """All bytes, in chunks of at most 1 MiB."""
        path = self._path(name, owner)
        with self._alone(name), path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def discard(self, name: str, owner: str) -> None:
        """Forget it; `NotFound` when it is not there."""
        path = self._path(name, owner)
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


def _absent() -> NotFound:
    return NotFound("upload-unknown", "there is no such upload")


def _failed(error: OSError) -> ExternalError:
    return ExternalError(
        "upload-store", f"an upload could not be kept: {error}", hint="look at the disk: is it full?", retryable=True
    )
