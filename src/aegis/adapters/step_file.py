"""How a file for a step is written into a directory that belongs to the job: never through what a job has put there."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def lay(file: Path, script: bytes) -> None:
    """Write a script: into the empty file that an earlier job had, or where nothing is.

    An earlier step of the job may have put something there that leads elsewhere; it is never written through.
    """
    flags = os.O_WRONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    with contextlib.suppress(FileNotFoundError):
        found = file.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != os.geteuid() or found.st_size:
            file.unlink()
    handle = os.open(file, flags | (0 if file.exists() else os.O_CREAT | os.O_EXCL), 0o644)
    with os.fdopen(handle, "wb") as made:
        made.write(script)
