"""`Pins` and `Turns` of the registries within one process: who is pushing what, and one at a time for each thing."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

_LOCKS: Final = 64


class MemoryPins:
    """See `Pins`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    @contextmanager
    def held(self, digest: str) -> Iterator[None]:
        """Keep that content while the block runs."""
        with self._lock:
            self._held[digest] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[digest] -= 1
                if not self._held[digest]:
                    del self._held[digest]

    def unless_held(self, digest: str, act: Callable[[], bool]) -> bool:
        """`act()`, during which nobody can pin the content; False where somebody has."""
        with self._lock:
            return not self._held[digest] and act()


class MemoryTurns:
    """See `Turns`. Different things may have to wait for one another, too: there are 64 locks for all of them."""

    def __init__(self) -> None:
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def __call__(self, thing: Hashable) -> AbstractContextManager[object]:
        """The turn at a thing."""
        return self._locks[hash(thing) % _LOCKS]
