"""The statistics of a rollout: is the canary worse than the baseline that runs beside it, valid at every look.

*Worse.* Per interval canary and baseline serve n_c and n_b requests with e_c and e_b errors. Given how many errors
there are, equal rates put the share q = n_c/(n_c+n_b) of them on the canary; a rate r times higher puts
q_r = q·r/(q·r+1−q) there. Whatever hits both sides alike (an outage, a burst of load) cancels. The evidence for r is
Σ e_c·log(q_r/q) + e_b·log((1−q_r)/(1−q)); the mean over r in `RATIOS` is an e-process, so its exceeding 1/α at *any*
look has a probability of at most α when the canary is no worse (Ville; multinomial form: Lindon and Malek, 2022).

*Safe.* The likelihood ratio of r = 1 against r = margin is an e-process against every r ≥ margin: its exceeding 1/β is
evidence that the canary is less than `margin` times worse.

*Bursts.* Errors that come in clumps break both. The evidence is divided by the variance/mean ratio of the error counts
(Pearson's χ² over its degrees of freedom, never under 1; the largest of both sides and of several widths of interval). That is a
heuristic, calibrated by the A/A runs of tests/property/test_rollout_statistics.py, not a theorem.

*No errors at all* say nothing about a ratio. Then `log_clean` counts exposure: n requests without an error are
evidence n·−log(1−ε) against a rate ≥ ε. That bounds the canary's rate absolutely; it is not a comparison.

*Afterwards*, when the baseline serves nothing any more, `alone` compares with its recorded rate (upper confidence
limit, because times differ): weaker than a concurrent comparison, and said so wherever it decides.

Pure. Does not know of steps, weights or time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

RATIOS: Final = (1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
MINIMUM_BINS: Final = 6
"""Below so many intervals a variance cannot be estimated; the mean size of a clump stands in for it."""
_UPPER: Final = 1.645  # one-sided 95 % of the normal distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What both sides served between two looks: requests and bad ones (errors, or too slow)."""

    canary: int
    canary_bad: int
    baseline: int
    baseline_bad: int

    def joined(self, other: Interval) -> Interval:
        """Both as one."""
        return Interval(
            canary=self.canary + other.canary,
            canary_bad=self.canary_bad + other.canary_bad,
            baseline=self.baseline + other.baseline,
            baseline_bad=self.baseline_bad + other.baseline_bad,
        )


_NOTHING: Final = Interval(canary=0, canary_bad=0, baseline=0, baseline_bad=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Natural logarithms of evidence, after the repair for bursts; totals are of all intervals."""

    log_worse: float = 0.0
    log_safe: float = 0.0
    dispersion: float = 1.0
    canary: int = 0
    canary_bad: int = 0
    baseline: int = 0
    baseline_bad: int = 0

    @property
    def canary_rate(self) -> float:
        """Bad requests of the canary as a share, 0 without requests."""
        return self.canary_bad / self.canary if self.canary else 0.0

    @property
    def baseline_rate(self) -> float:
        """Bad requests of the baseline as a share, 0 without requests."""
        return self.baseline_bad / self.baseline if self.baseline else 0.0

    def log_clean(self, tolerated: float) -> float:
        """Evidence from exposure that the canary's rate is under `tolerated`; 0 unless no side had a bad request."""
        if self.canary_bad or self.baseline_bad:
            return 0.0
        return -self.canary * math.log1p(-tolerated)


class Tally:
    """Running sums over intervals, so that a look costs no more than the intervals since the last.

    `add` in time order; `evidence` at any time. Holds values only.
    """

    __slots__ = ("_against", "_for", "_margin", "_open", "_series", "_totals")

    def __init__(self, *, margin: float = 3.0) -> None:
        self._margin = margin
        self._for = [0.0] * len(RATIOS)
        self._against = 0.0
        self._series: list[Interval] = []
        self._open = _NOTHING
        self._totals = _NOTHING

    def add(self, interval: Interval) -> None:
        """Count one more interval.

        One in which a side served nothing says nothing by itself: it is joined with the following ones until both
        have served. That depends on requests alone, never on errors, so it favours no side; without it, little
        traffic would lose most of what there is to see.
        """
        self._totals = self._totals.joined(interval)
        one = self._open.joined(interval)
        if not one.canary or not one.baseline:
            self._open = one
            return
        self._open = _NOTHING
        self._series.append(one)
        if not one.canary_bad and not one.baseline_bad:
            return
        share = one.canary / (one.canary + one.baseline)
        for index, ratio in enumerate(RATIOS):
            self._for[index] += _log_ratio(one, share, ratio)
        self._against -= _log_ratio(one, share, self._margin)

    def evidence(self) -> Evidence:
        """What is known now."""
        phi = dispersion(self._series)
        totals = self._totals
        return Evidence(
            log_worse=_log_mean(value / phi for value in self._for),
            log_safe=self._against / phi,
            dispersion=phi,
            canary=totals.canary,
            canary_bad=totals.canary_bad,
            baseline=totals.baseline,
            baseline_bad=totals.baseline_bad,
        )


def weigh(intervals: Iterable[Interval], *, margin: float = 3.0) -> Evidence:
    """The evidence in `intervals`, which are in time order."""
    tally = Tally(margin=margin)
    for one in intervals:
        tally.add(one)
    return tally.evidence()


def _log_ratio(one: Interval, share: float, ratio: float) -> float:
    """Log of how much likelier these errors are with a canary `ratio` times worse than with equal rates."""
    rest = share * ratio + 1 - share
    return one.canary_bad * math.log(ratio / rest) - one.baseline_bad * math.log(rest)


def _log_mean(logs: Iterable[float]) -> float:
    values = list(logs)
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values) / len(values))


def dispersion(series: Sequence[Interval]) -> float:
    """Variance over mean of the error counts, at least 1: how large the clumps are in which errors come."""
    canary = [(one.canary, one.canary_bad) for one in series]
    baseline = [(one.baseline, one.baseline_bad) for one in series]
    if len(series) < MINIMUM_BINS:
        return max(1.0, _clump(canary), _clump(baseline))
    worst = 1.0
    while len(canary) >= MINIMUM_BINS:
        for chi, free in (_chi_square(canary), _chi_square(baseline)):
            worst = max(worst, chi / free if free else 1.0)
        canary, baseline = _halved(canary), _halved(baseline)
    return worst


def _clump(side: Sequence[tuple[int, int]]) -> float:
    bad = [count for _, count in side if count]
    return sum(bad) / len(bad) if bad else 1.0


def _chi_square(side: Sequence[tuple[int, int]]) -> tuple[float, int]:
    """Pearson's statistic of counts against one common rate, and its degrees of freedom (0: no errors to judge by)."""
    requests = sum(n for n, _ in side)
    bad = sum(count for _, count in side)
    if not bad or not requests:
        return 0.0, 0
    rate = bad / requests
    filled = [(n, count) for n, count in side if n]
    return sum((count - rate * n) ** 2 / (rate * n) for n, count in filled), len(filled) - 1


def _halved(side: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    pairs = zip(side[::2], side[1::2], strict=False)
    return [(one[0] + two[0], one[1] + two[1]) for one, two in pairs]


# -- without a concurrent baseline ------------------------------------------------------------------------


def recorded_rate(bad: int, requests: int, *, fallback: float, phi: float = 1.0) -> float:
    """The rate that a recorded baseline is taken to have had: its one-sided 95 % limit, or `fallback` without one."""
    if not requests:
        return fallback
    return min((bad + 1 + _UPPER * math.sqrt((bad + 1) * phi)) / requests, 0.9)


def alone(series: Sequence[tuple[int, int]], rate: float) -> float:
    """Log-evidence that (requests, bad) pairs have a higher rate than `rate`: a sequential binomial mixture.

    Divided by the series' own variance/mean ratio, as above.
    """
    requests = sum(n for n, _ in series)
    bad = sum(count for _, count in series)
    filled = [one for one in series if one[0]]
    if not requests:
        return 0.0
    if len(filled) < MINIMUM_BINS:
        phi = max(1.0, _clump(filled))
    else:
        phi = 1.0
        while len(filled) >= MINIMUM_BINS:
            chi, free = _chi_square(filled)
            phi = max(phi, chi / free if free else 1.0)
            filled = _halved(filled)
    logs = []
    for ratio in RATIOS:
        higher = min(ratio * rate, (1 + rate) / 2)
        step = bad * math.log(higher / rate) + (requests - bad) * math.log((1 - higher) / (1 - rate))
        logs.append(step / phi)
    return _log_mean(logs)
