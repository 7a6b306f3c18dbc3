"""Which files of a working tree have changed: those that a run would see, by their sizes and times."""

from __future__ import annotations

import time
from typing import Final

from aegis.bootstrap.pipeline import Local

_PAUSE: Final = 0.4
_SHARE: Final = 10
"""A glance costs in proportion to the files: at most one part in so many of the time is spent on it."""


class Watched:
    """Remembers a working tree as it is now; ignored files do not count, new ones do, nor does what runs leave there."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._seen = self._look()
        self._next = 0.0

    def changed(self) -> tuple[str, ...]:
        """The files that differ from what was remembered; what is there now is remembered."""
        now = self._look()
        before, self._seen = self._seen, now
        if now == before:
            return ()
        return tuple(sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name)))

    def glance(self) -> tuple[str, ...]:
        """As `changed`, when it is time for it; for whoever does something else meanwhile."""
        begun = time.monotonic()
        if begun < self._next:
            return ()
        found = self.changed()
        now = time.monotonic()
        self._next = now + max(_PAUSE, _SHARE * (now - begun))
        return found

    def settled(self, before: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Wait until something has changed (`before`: it has already) and was then left alone for a moment; what it was."""
        found = set(before)
        while not found:
            time.sleep(_PAUSE)
            found.update(self.changed())
        time.sleep(_PAUSE)
        while more := self.changed():
            found.update(more)
            time.sleep(_PAUSE)
        return tuple(sorted(found))

    def _look(self) -> dict[str, tuple[int, int]]:
        found = {}
        for path in self._local.files().paths():
            try:
                told = (self._local.directory / path).lstat()
            except OSError:
                continue
            found[path] = (told.st_mtime_ns, told.st_size)
        return found
