"""From counters that only grow to what happened between two looks.

Decides: which pairs of measurements make an interval, what a restarted counter means, and what counts as slow. Missing
measurements make no interval: they are neither good nor bad.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aegis.core.types import VersionSample
from aegis.rollout.analysis import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One look at the traffic. `weight` is the canary's share in percent while it was taken.

    None as a side means: the measuring system did not answer about it. A version that nobody has called yet is a
    sample with zero requests, which is something else.
    """

    at: datetime
    weight: int
    canary: VersionSample | None
    baseline: VersionSample | None

    @property
    def complete(self) -> bool:
        """Whether both sides were measured."""
        return self.canary is not None and self.baseline is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What was served between two looks. `slow` is None where no latency is declared."""

    since: datetime
    until: datetime
    weight: int
    errors: Interval
    slow: Interval | None = None


def measurement(
    samples: Sequence[VersionSample], *, at: datetime, weight: int, canary: str, baseline: str | None
) -> Measurement:
    """The look that `Traffic.samples` gives. A version without a sample has served nothing yet."""
    found = {one.version: one for one in samples}

    def side(version: str) -> VersionSample:
        return found.get(version) or VersionSample(version=version, requests=0, errors=0)

    return Measurement(at=at, weight=weight, canary=side(canary), baseline=side(baseline) if baseline else side(""))


def windows(history: Sequence[Measurement], *, latency: float | None = None) -> tuple[Window, ...]:
    """The intervals between consecutive complete measurements, each with the weight it was served under."""
    complete = [one for one in history if one.complete]
    return tuple(made for before, after in itertools.pairwise(complete) if (made := _window(before, after, latency)))


def _window(before: Measurement, after: Measurement, latency: float | None) -> Window | None:
    one, two, three, four = before.canary, after.canary, before.baseline, after.baseline
    if one is None or two is None or three is None or four is None:
        return None
    requests, errors = _grown(one, two)
    base_requests, base_errors = _grown(three, four)
    slow = None
    if latency is not None:
        slow_canary = _slow(one, two, requests, latency)
        slow_baseline = _slow(three, four, base_requests, latency)
        if slow_canary is not None and slow_baseline is not None:
            slow = Interval(canary=requests, canary_bad=slow_canary, baseline=base_requests, baseline_bad=slow_baseline)
    return Window(
        since=before.at,
        until=after.at,
        weight=before.weight,
        errors=Interval(canary=requests, canary_bad=errors, baseline=base_requests, baseline_bad=base_errors),
        slow=slow,
    )


def _restarted(before: VersionSample, after: VersionSample) -> bool:
    return after.requests < before.requests or after.errors < before.errors


def _grown(before: VersionSample, after: VersionSample) -> tuple[int, int]:
    """Requests and errors in between; a counter that fell was restarted, and all it shows is new (as in PromQL)."""
    if _restarted(before, after):
        return after.requests, min(after.errors, after.requests)
    requests = after.requests - before.requests
    # The two counters are not read in one instant; an error cannot be without its request.
    return requests, min(after.errors - before.errors, requests)


def _slow(before: VersionSample, after: VersionSample, requests: int, latency: float) -> int | None:
    """Requests above `latency` seconds, by the smallest bucket bound that is not under it; None without buckets."""
    bounds = sorted((float(bound), bound) for bound in after.buckets if bound not in ("+Inf", "Inf"))
    fitting = next((name for bound, name in bounds if bound >= latency), None)
    if fitting is None:
        return 0 if after.requests == 0 else None
    fast = after.buckets[fitting]
    if not _restarted(before, after):
        fast -= before.buckets.get(fitting, 0)
    return max(0, requests - fast)
