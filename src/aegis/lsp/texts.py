"""Texts of a project as an editor has them: open documents over what lies on the disk, and what was read.

Satisfies `aegis.pipeline.ports.Files`. What is read is remembered, so that each document knows which pipelines it is
part of; `forget` is called when the disk may have changed.
"""

from __future__ import annotations

from collections.abc import Mapping

from aegis.pipeline.ports import Files


class Overlay:
    """Files of a project with open documents laid over them (by path relative to the project)."""

    def __init__(self, below: Files) -> None:
        self._below = below
        self._open: dict[str, bytes] = {}
        self._kept: dict[str, bytes | None] = {}
        self.read_paths: set[str] = set()
        """What was asked for since the last `begin`, whether it was there or not."""

    def begin(self) -> None:
        """A new reading begins."""
        self.read_paths = set()

    def put(self, path: str, text: str) -> None:
        """An open document's text."""
        self._open[path] = text.encode()

    def drop(self, path: str) -> None:
        """A document was closed: the disk counts again."""
        self._open.pop(path, None)
        self._kept.pop(path, None)

    def forget(self, below: Files) -> None:
        """Look at the disk again."""
        self._below = below
        self._kept.clear()

    def read(self, path: str) -> bytes | None:
        """See `Files`."""
        self.read_paths.add(path)
        if path in self._open:
            return self._open[path]
        if path not in self._kept:
            self._kept[path] = self._below.read(path)
        return self._kept[path]

    def paths(self) -> tuple[str, ...]:
        """See `Files`."""
        return tuple(sorted({*self._below.paths(), *self._open}))

    def text(self, path: str) -> str | None:
        """A file as text, without counting as read."""
        known: Mapping[str, bytes | None] = self._kept
        data = self._open.get(path, known.get(path))
        if data is None and path not in known:
            data = self._kept[path] = self._below.read(path)
        return data.decode("utf-8", "replace") if data is not None else None
