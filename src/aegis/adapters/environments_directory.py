"""Whole Python environments kept between jobs, with the bytecode that their first tests left: copied in, never shared."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

KEPT: Final = 6
_COMPILED: Final = ".aegis-compiled"


class EnvironmentCache:
    """Environments under `directory` by key. One that is half written is never seen; the oldest beyond six go.

    A key must cover everything that an environment was made from, the place where it stands included.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def restore(self, key: str, target: Path) -> bool:
        """Copy the environment to `target`, which must not exist; whether there was one."""
        source = self._directory / key
        if not source.is_dir() or target.exists():
            return False
        try:
            # Times are kept: bytecode names the time of its source.
            shutil.copytree(source, target, symlinks=True)
        except (OSError, shutil.Error):
            shutil.rmtree(target, ignore_errors=True)
            return False
        with contextlib.suppress(OSError):
            os.utime(source)
        return True

    def compiled(self, key: str) -> bool:
        """Whether what is kept has bytecode already."""
        return (self._directory / key / _COMPILED).exists()

    def keep(self, key: str, source: Path, *, compiled: bool) -> None:
        """Keep a copy of `source`, in place of an earlier one. What cannot be kept is not kept: it is only a cache."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self._directory))
            shutil.copytree(source, fresh / "env", symlinks=True)
            if compiled:
                (fresh / "env" / _COMPILED).touch()
            old = fresh / "old"
            with contextlib.suppress(FileNotFoundError):
                (self._directory / key).rename(old)
            (fresh / "env").rename(self._directory / key)
            shutil.rmtree(fresh, ignore_errors=True)
            self._trim()
        except (OSError, shutil.Error):
            return

    def _trim(self) -> None:
        kept = [one for one in self._directory.iterdir() if one.is_dir() and not one.name.startswith(".")]
        for one in sorted(kept, key=lambda path: path.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(one, ignore_errors=True)
