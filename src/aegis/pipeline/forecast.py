"""How long a plan will take, from how long its jobs took before, and which jobs decide it. Pure.

Every job starts as soon as what it waits for has ended: runners are taken to be free. What waits for a person (manual), or
for a failure, is left out. A job without history counts as nothing and is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aegis.core.plan import JobSpec, Plan

KEPT: Final = 15
"""How many of the newest durations of a job count."""
_INSTANCE: Final = re.compile(r"(?: \d+/\d+|: \[.*\])$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """When a job is expected to run: seconds from the pipeline's start. `known` is False where nothing is known of it."""

    start: float
    end: float
    known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The expected course. `critical` are the jobs that decide the end, in order; `unknown` those without history."""

    seconds: float
    spans: Mapping[str, Span] = field(default_factory=dict)
    critical: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def usual(samples: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The usual seconds by job: the median of the newest durations. `samples` are (job, seconds), newest first.

    The name of a parallel job without its number has the median of all its instances.
    """
    found: dict[str, list[float]] = {}
    for name, seconds in samples:
        for key in dict.fromkeys((name, base_name(name))):
            kept = found.setdefault(key, [])
            if len(kept) < KEPT:
                kept.append(seconds)
    if not found:
        return {}
    from statistics import median  # noqa: PLC0415 - start-up is a feature

    return {name: median(kept) for name, kept in found.items()}


def base_name(name: str) -> str:
    """A job's name without what tells its parallel instances apart."""
    return _INSTANCE.sub("", name)


def forecast(plan: Plan, seconds: Mapping[str, float]) -> Forecast | None:
    """The expected course of a plan; None where nothing is known of any job."""
    spans: dict[str, Span] = {}
    before: dict[str, str | None] = {}
    barrier: tuple[float, str | None] = (0.0, None)
    awaited = [job for job in plan.jobs if job.when in {"on_success", "always", "delayed"}]
    by_stage: dict[str, list[JobSpec]] = {}
    for job in awaited:
        by_stage.setdefault(job.stage, []).append(job)
    for stage in plan.stages:
        latest = barrier
        for job in _ordered(by_stage.get(stage, [])):
            start, cause = _start(job, spans, barrier)
            took = seconds.get(job.name, seconds.get(base_name(job.name)))
            end = start + (job.start_in or 0) + (took or 0.0)
            spans[job.name] = Span(start=start, end=end, known=took is not None)
            before[job.name] = cause
            if end > latest[0] or latest[1] is None:
                latest = (end, job.name)
        barrier = latest
    if not any(span.known for span in spans.values()):
        return None
    return Forecast(
        seconds=max((span.end for span in spans.values()), default=0.0),
        spans=spans,
        critical=_way_back(spans, before),
        unknown=tuple(name for name, span in spans.items() if not span.known),
    )


def _start(job: JobSpec, spans: Mapping[str, Span], barrier: tuple[float, str | None]) -> tuple[float, str | None]:
    """When a job may start, and which job it waits for last."""
    if job.needs is None:
        return barrier
    latest: tuple[float, str | None] = (0.0, None)
    for need in job.needs:
        span = spans.get(need.job)
        if span is not None and (latest[1] is None or span.end > latest[0]):
            latest = (span.end, need.job)
    return latest


def _ordered(jobs: list[JobSpec]) -> list[JobSpec]:
    """Jobs of one stage with those first that others of the same stage need."""
    names = {job.name: job for job in jobs}
    waits = {job.name: {need.job for need in job.needs or () if need.job in names} for job in jobs}
    follow: dict[str, list[str]] = {}
    for name, needed in waits.items():
        for one in needed:
            follow.setdefault(one, []).append(name)
    ready = [name for name in names if not waits[name]]
    ordered: list[JobSpec] = []
    for name in ready:  # grows while it is walked
        ordered.append(names[name])
        for other in follow.get(name, ()):
            waits[other].discard(name)
            if not waits[other]:
                ready.append(other)
    return ordered


def _way_back(spans: Mapping[str, Span], before: Mapping[str, str | None]) -> tuple[str, ...]:
    if not spans:
        return ()
    name: str | None = max(spans, key=lambda one: spans[one].end)
    way: list[str] = []
    while name is not None and name not in way:
        way.append(name)
        name = before[name]
    return tuple(reversed(way))


def spoken(seconds: float) -> str:
    """Seconds for people: `0.4 s`, `42 s`, `3 min 20 s`, `1 h 5 min`."""
    whole = round(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(whole, 3600)
    return f"{hours} h {rest // 60} min" if rest >= 60 else f"{hours} h"
