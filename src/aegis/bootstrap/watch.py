"""Whether a working tree has changed: the files that a run would see, by their sizes and times."""

from __future__ import annotations

import time

from aegis.bootstrap.pipeline import Local

_PAUSE = 0.4


class Watched:
    """Remembers a working tree as it is now; ignored files do not count, new ones do."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether it differs from what was remembered; what is there now is remembered."""
        now = self._look()
        before, self._seen = self._seen, now
        return now != before

    def wait(self) -> None:
        """Until it has changed and then been left alone for a moment."""
        while not self.changed():
            time.sleep(_PAUSE)
        while self.changed():
            time.sleep(_PAUSE)

    def _look(self) -> frozenset[tuple[str, int, int]]:
        found = []
        for path in self._local.files().paths():
            file = self._local.directory / path
            try:
                told = file.lstat()
            except OSError:
                continue
            found.append((path, told.st_mtime_ns, told.st_size))
        return frozenset(found)
