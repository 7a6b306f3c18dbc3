"""Counters and histograms, and their text form for Prometheus (exposition format 0.0.4). Pure.

Kept apart from the client library on purpose: a projection's numbers come from the ledger, survive restarts in its
checkpoint and must be the same on every server; process-wide registries are none of that.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

SECONDS: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
SHORT: Final = (0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0)
LONG: Final = (60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0, 259200.0, 604800.0, 2592000.0)

Labels = tuple[str, ...]
"""The values of a family's labels, in the order of their names."""


@dataclass(slots=True)
class Histogram:
    """Observations by upper bound; the last count is those above all bounds."""

    counts: list[int]
    total: float = 0.0

    @property
    def count(self) -> int:
        """How many observations."""
        return sum(self.counts)


@dataclass(slots=True)
class Series:
    """What a checkpoint holds of one family. Keys are label values joined by a character that labels cannot have."""

    counters: dict[str, float] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)

    def add(self, labels: Labels, amount: float = 1.0) -> None:
        """Count."""
        key = _key(labels)
        self.counters[key] = self.counters.get(key, 0.0) + amount

    def observe(self, labels: Labels, value: float, bounds: Sequence[float]) -> None:
        """Put a value (never below 0) into its bucket."""
        value = max(value, 0.0)
        key = _key(labels)
        histogram = self.histograms.get(key)
        if histogram is None:
            histogram = self.histograms[key] = Histogram([0] * (len(bounds) + 1))
        histogram.counts[bisect_left(bounds, value)] += 1
        histogram.total += value


@dataclass(frozen=True, slots=True)
class Family:
    """A metric's name, help, label names and, for histograms, bounds."""

    name: str
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()


def counter_lines(family: Family, series: Series) -> Iterable[str]:
    """The lines of a counter."""
    yield from _head(family, "counter")
    for key in sorted(series.counters):
        yield f"{family.name}{_labels(family.labels, key)} {_number(series.counters[key])}"


def gauge_lines(family: Family, values: Mapping[Labels, float]) -> Iterable[str]:
    """The lines of a gauge."""
    yield from _head(family, "gauge")
    for labels in sorted(values):
        yield f"{family.name}{_labels(family.labels, _key(labels))} {_number(values[labels])}"


def histogram_lines(family: Family, series: Series) -> Iterable[str]:
    """The lines of a histogram: cumulative buckets, sum and count."""
    yield from _head(family, "histogram")
    for key in sorted(series.histograms):
        histogram, below = series.histograms[key], 0
        for bound, count in zip((*family.bounds, float("inf")), tuple(histogram.counts), strict=True):
            below += count
            edge = "+Inf" if bound == float("inf") else _number(bound)
            yield f"{family.name}_bucket{_labels(family.labels, key, ('le', edge))} {below}"
        yield f"{family.name}_sum{_labels(family.labels, key)} {_number(histogram.total)}"
        yield f"{family.name}_count{_labels(family.labels, key)} {below}"


def _head(family: Family, kind: str) -> Iterable[str]:
    yield f"# HELP {family.name} {family.help}"
    yield f"# TYPE {family.name} {kind}"


def _key(labels: Labels) -> str:
    return "\x1f".join(one.replace("\x1f", " ") for one in labels)


def _labels(names: Sequence[str], key: str, *more: tuple[str, str]) -> str:
    values = key.split("\x1f") if names else []
    pairs = [*zip(names, values, strict=True), *more]
    if not pairs:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
