"""One writer per directory: an advisory lock that the system lets go when the process ends, however it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from aegis.core.errors import Conflict


class WriterLock:
    """Holds `path` until `release`. `Conflict` `writer-taken` where another writer holds it."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            _take(self._handle)
        except OSError as error:
            holder = os.read(self._handle, 32).decode("ascii", "replace").strip()
            os.close(self._handle)
            who = f" (process {holder})" if holder else ""
            raise Conflict(
                "writer-taken",
                f"another Aegis{who} writes to {path.parent}",
                hint="stop it first, or give this one its own directory with --data DIR",
            ) from error
        os.truncate(self._handle, 0)
        os.write(self._handle, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let another writer in; idempotent. The file stays: removing it would let two writers hold two files of one name."""
        # The number of a closed descriptor is soon another file's.
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.truncate(handle, 0)
            os.close(handle)


if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        # A byte far beyond the text, so that the holder's number stays readable.
        os.lseek(handle, 1024, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)

else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
