"""What a store is given while somebody is about to refer to it, so that a sweep leaves it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Holds:
    """Digests by the last hold that was opened before they were given. Thread-safe."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._opened = 0
        self._given: dict[str, int] = {}
        self._guard = threading.Lock()

    def mark(self, digest: str) -> None:
        """It was given; said before it is looked up whether the store has it."""
        with self._guard:
            if self._open:
                self._given[digest] = self._opened

    @contextmanager
    def hold(self) -> Iterator[None]:
        """What is given from now on stays while this is open."""
        with self._guard:
            self._opened += 1
            mine = self._opened
            self._open.add(mine)
        try:
            yield
        finally:
            with self._guard:
                self._open.remove(mine)
                oldest = min(self._open, default=self._opened + 1)
                if mine < oldest:
                    self._given = {digest: since for digest, since in self._given.items() if since >= oldest}

    @contextmanager
    def idle(self, digest: str) -> Iterator[bool]:
        """Whether nobody holds it; nobody begins to while this is open."""
        with self._guard:
            yield digest not in self._given
