"""The files of a project's folder as a mapping that reads when it is asked: what `projects` decides from.

Leaves out what is made (`.venv`, caches, `dist`) and what lies outside: links that lead out of the folder are not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from aegis.core.errors import NotFound, UserError

MOST: Final = 20_000
LARGEST: Final = 16 * 1024 * 1024
"""Bytes of the largest file that is read; a larger one is there, and empty."""

_SKIPPED: Final = frozenset(
    {".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".aegis", ".tox", ".nox", ".eggs", ".cache", "dist",
     ".mypy_cache", ".ruff_cache", ".pytest_cache", "site-packages", ".hypothesis", ".idea", ".vscode"}
)  # fmt: skip


class DirectoryFiles(Mapping[str, bytes]):
    """The files beneath `root`, listed once when first needed, in sorted order; `NotFound` when it is no folder."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise NotFound("no-folder", f"{root} is not a folder", hint="name the folder of a project")
        self.root = root
        self._names: dict[str, None] | None = None

    def __getitem__(self, path: str) -> bytes:
        if path not in self._listed():
            raise KeyError(path)
        file = self.root / path
        return file.read_bytes() if file.stat().st_size <= LARGEST else b""

    def __contains__(self, path: object) -> bool:
        return path in self._listed()

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed())

    def __len__(self) -> int:
        return len(self._listed())

    def _listed(self) -> dict[str, None]:
        if self._names is None:
            self._names = dict.fromkeys(sorted(self._walk()))
        return self._names

    def _walk(self) -> Iterator[str]:
        count, inside = 0, self.root.resolve()
        for folder, names, files in os.walk(self.root):
            names[:] = [name for name in names if name not in _SKIPPED and not name.endswith(".egg-info")]
            base = Path(folder)
            for name in files:
                path = base / name
                if path.is_symlink() and not path.resolve().is_relative_to(inside):
                    continue
                if path.is_file():
                    count += 1
                    if count > MOST:
                        raise UserError(
                            "project-large", f"{self.root} holds more than {MOST} files", hint="name a project's folder"
                        )
                    yield path.relative_to(self.root).as_posix()
