"""Bounds on time that a busy machine cannot break: the best of several tries counts, and work is compared with work."""

from __future__ import annotations

import time
from collections.abc import Callable


def best(bound: float, attempt: Callable[[], float], tries: int = 5) -> float:
    """The least of what `attempt` measures, tried until one is within `bound`; what is slow by itself never is."""
    found = [attempt()]
    while min(found) > bound and len(found) < tries:
        found.append(attempt())
    return min(found)


def slowness() -> float:
    """How much slower this machine is now than one that needs 50 ms for a fixed loop; at least 1."""
    least = float("inf")
    for _ in range(3):
        begun, total = time.process_time(), 0
        for number in range(600_000):
            total += number * number % 7
        least = min(least, time.process_time() - begun)
    return max(1.0, least / 0.035)


def processor(attempt: Callable[[], object]) -> float:
    """Seconds of processor time of a call, as a machine of the fixed loop would have needed them."""
    begun = time.process_time()
    attempt()
    return (time.process_time() - begun) / slowness()
