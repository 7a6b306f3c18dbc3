"""The machine's clock and its source of entropy: the only place where both are read."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime


class SystemClock:
    """The `Clock` port on the machine's clocks."""

    def now(self) -> datetime:
        """The wall clock in UTC, aware."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary origin."""
        return time.monotonic()


class SystemEntropy:
    """The `Entropy` port on the kernel's generator."""

    def take(self, size: int) -> bytes:
        """`size` fresh bytes."""
        return os.urandom(size)
