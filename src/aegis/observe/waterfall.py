"""A trace in OTLP's JSON form, read again to be drawn: rows of jobs with their parts, the critical path, what would save most.

It reads what `otlp` writes, of a server or of a local run's `trace.json`; of other traces it shows what it knows. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, Final

from aegis.core.errors import UserError
from aegis.core.values import dataclass

_WIDTH: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a job: seconds since the run began, and how long."""

    name: str
    phase: str
    at: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An attempt of a job."""

    job: str
    attempt: int
    result: str
    at: float
    queue_seconds: float
    run_seconds: float
    critical: bool
    would_save_seconds: float
    parts: tuple[Part, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """A run's course. `seconds` is its whole time."""

    run: str
    trace_id: str
    pipeline: str
    result: str
    seconds: float
    path_seconds: float
    wait_seconds: float
    queue_seconds: float
    queue_would_save_seconds: float
    rows: tuple[Row, ...]

    @property
    def path(self) -> tuple[Row, ...]:
        """The rows of the critical path, in their order."""
        return tuple(row for row in self.rows if row.critical)

    @property
    def savings(self) -> tuple[tuple[str, float], ...]:
        """What would have saved most: names of jobs (empty: the queue) with seconds, the greatest first."""
        found = {row.job: row.would_save_seconds for row in self.rows if row.would_save_seconds > 0}
        if self.queue_would_save_seconds > 0:
            found[""] = self.queue_would_save_seconds
        return tuple(sorted(found.items(), key=lambda one: -one[1]))


def read(document: Mapping[str, Any]) -> tuple[Waterfall, ...]:
    """The runs of a document; `UserError` where it is no trace of a pipeline."""
    try:
        return tuple(_run(one) for one in document["resourceSpans"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            "not-a-trace", f"that is no trace of a pipeline: {error}", hint="aegis trace RUN --otlp FILE"
        ) from error


def _run(resource: Mapping[str, Any]) -> Waterfall:
    spans = [span for scope in resource["scopeSpans"] for span in scope["spans"]]
    root = next((span for span in spans if not span.get("parentSpanId")), None)
    if root is None:
        raise ValueError("it has no span that all others belong to")
    begun, known = int(root["startTimeUnixNano"]), _values(root["attributes"])
    children: dict[str, list[Mapping[str, Any]]] = {}
    for span in spans:
        children.setdefault(span.get("parentSpanId", ""), []).append(span)
    rows = [_row(span, begun, children.get(span["spanId"], ())) for span in children.get(root["spanId"], ())]
    return Waterfall(
        run=known["cicd.pipeline.run.id"],
        trace_id=root["traceId"],
        pipeline=known["cicd.pipeline.name"],
        result=known.get("cicd.pipeline.result", ""),
        seconds=_seconds(begun, int(root["endTimeUnixNano"])),
        path_seconds=known["aegis.critical_path.seconds"],
        wait_seconds=known["aegis.critical_path.wait_seconds"],
        queue_seconds=known["aegis.critical_path.queue_seconds"],
        queue_would_save_seconds=known["aegis.queue.would_save_seconds"],
        rows=tuple(sorted(rows, key=lambda row: row.at + row.queue_seconds)),
    )


def _row(span: Mapping[str, Any], begun: int, parts: Iterable[Mapping[str, Any]]) -> Row:
    known = _values(span["attributes"])
    return Row(
        job=known["cicd.pipeline.task.name"],
        attempt=known["aegis.job.attempt"],
        result=known["cicd.pipeline.task.run.result"],
        at=_seconds(begun, int(span["startTimeUnixNano"])),
        queue_seconds=known.get("aegis.job.queue_seconds", 0.0),
        run_seconds=known.get("aegis.job.run_seconds", 0.0),
        critical=known["aegis.job.critical"],
        would_save_seconds=known.get("aegis.job.would_save_seconds", 0.0),
        parts=tuple(
            Part(
                name=one["name"],
                phase=_values(one["attributes"])["aegis.job.phase"],
                at=_seconds(begun, int(one["startTimeUnixNano"])),
                seconds=_seconds(int(one["startTimeUnixNano"]), int(one["endTimeUnixNano"])),
            )
            for one in parts
        ),
        attributes={key: value for key, value in known.items() if key.startswith(("aegis.job.", "error.", "process."))},
    )


def _values(attributes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in attributes:
        ((kind, value),) = one["value"].items()
        found[one["key"]] = int(value) if kind == "intValue" else value
    return found


def _seconds(start: int, end: int) -> float:
    return (end - start) / 1e9


def bar(row: Row, whole: float, width: int = _WIDTH) -> str:
    """A row's place in the run: `·` waiting for a runner, `█` running on the critical path, `▒` beside it."""
    scale = width / whole if whole > 0 else 0.0
    first = min(round(row.at * scale), width - 1)
    queued = round(row.queue_seconds * scale)
    ran = max(round(row.run_seconds * scale), 1)
    text = " " * first + "·" * queued + ("█" if row.critical else "▒") * ran
    return text[:width].ljust(width)


def summary(found: Waterfall) -> tuple[str, ...]:
    """The course in sentences: the path, and what would save most."""
    if not found.rows:
        return ()
    names = [row.job for row in found.path]
    shown = names if len(names) <= 6 else [*names[:3], "…", *names[-2:]]
    waited = f", {found.wait_seconds:.1f} s of waiting" if found.wait_seconds >= 0.05 else ""
    queue = f" ({found.queue_seconds:.1f} s for a runner)" if waited and found.queue_seconds >= 0.05 else ""
    lines = [f"critical path: {' → '.join(shown)}: {found.path_seconds:.1f} s of work{waited}{queue}"]
    for name, seconds in found.savings[:3]:
        if seconds < max(0.05, 0.01 * found.seconds):
            continue
        what = f"without {name}" if name else "with a free runner for every job"
        lines.append(f"  {what} it would end {seconds:.1f} s sooner")
    return tuple(lines)
