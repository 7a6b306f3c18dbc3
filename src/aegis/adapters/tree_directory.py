"""`Tree` over a folder: regular files, and links that stay inside. Everything else is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aegis.build.ports import TreeFile
from aegis.core.errors import ExternalError, NotFound

LEAVINGS: Final = frozenset({"__pycache__", "node_modules", "venv", "site-packages"})


class DirectoryTree:
    """The files under `path`. With `sources_only`, hidden folders, environments and caches are not part of it."""

    def __init__(self, path: Path, *, sources_only: bool = True) -> None:
        self._root = path.resolve()
        self._sources_only = sources_only
        self._listed: tuple[TreeFile, ...] | None = None

    def files(self, under: str = "") -> tuple[TreeFile, ...]:
        """The files beneath a folder, sorted by path; empty where there is no such folder."""
        if self._listed is None:
            self._listed = tuple(sorted(self._walk(self._root), key=lambda one: one.path))
        prefix = f"{under.strip('/')}/" if under.strip("/") else ""
        return tuple(one for one in self._listed if one.path.startswith(prefix))

    def folders(self, under: str = "") -> tuple[str, ...]:
        """The names of the folders directly beneath a folder, sorted."""
        prefix = f"{under.strip('/')}/" if under.strip("/") else ""
        inside = (one.path.removeprefix(prefix) for one in self.files(under))
        return tuple(sorted({path.split("/", 1)[0] for path in inside if "/" in path}))

    def read(self, path: str) -> bytes:
        """A file's content; `NotFound`."""
        target = (self._root / path).resolve()
        if not target.is_relative_to(self._root):
            raise NotFound("file-outside", f"{path} leads out of {self._root}")
        try:
            return target.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound("file-missing", f"there is no file {path} in {self._root}") from None
        except OSError as error:
            raise ExternalError("file-unreadable", f"{path} cannot be read: {error.strerror}") from error

    def exists(self, path: str) -> bool:
        """Whether there is a file of that path."""
        target = (self._root / path).resolve()
        return target.is_relative_to(self._root) and target.is_file()

    def _walk(self, folder: Path) -> Iterator[TreeFile]:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    if not self._skips(path):
                        yield from self._walk(path)
                elif entry.is_file() and (not entry.is_symlink() or path.resolve().is_relative_to(self._root)):
                    executable = bool(entry.stat().st_mode & 0o100)
                    yield TreeFile(path=path.relative_to(self._root).as_posix(), executable=executable)

    def _skips(self, folder: Path) -> bool:
        if not self._sources_only:
            return False
        return folder.name.startswith(".") or folder.name in LEAVINGS or (folder / "pyvenv.cfg").exists()
