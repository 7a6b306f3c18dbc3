"""Signed checkpoints of the ledger in a file that is only appended to, with the public key beside it.

Meant to be copied elsewhere (a mirror, a mail, a print): beside the ledger it protects against accidents and against
whoever may write the ledger but does not hold the key.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from aegis.core.errors import ExternalError
from aegis.ledger.checkpoints import SignedHead, from_lines, to_line


class AnchorFile:
    """Checkpoints in `path`, one per line. One process appends, any may read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, signed: SignedHead) -> None:
        """Keep one more; on the disk when it returns."""
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                size = os.fstat(handle).st_size
                # A line that a killed process left unfinished must not swallow this one.
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                if torn:
                    os.truncate(handle, self._whole(size))
                os.write(handle, to_line(signed))
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise ExternalError("anchor-unsaved", f"{self._path} cannot be written: {error}", retryable=True) from error

    def read(self) -> Sequence[SignedHead]:
        """All that are kept, oldest first; none where there is no file."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ExternalError("anchor-unreadable", f"{self._path} cannot be read: {error}") from error
        return from_lines(data)

    def _whole(self, size: int) -> int:
        """The length of the file up to its last whole line."""
        with self._path.open("rb") as file:
            return file.read(size).rfind(b"\n") + 1
