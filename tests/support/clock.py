"""A clock that a test moves, and entropy that a test can repeat."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta


class FakeClock:
    """The `Clock` port, standing still until `advance` is called."""

    def __init__(self, start: datetime = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 1000.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._monotonic += seconds


class SeededEntropy:
    """The `Entropy` port from a seed: the same seed gives the same bytes in the same order."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def take(self, size: int) -> bytes:
        with self._lock:
            return self._random.randbytes(size)
