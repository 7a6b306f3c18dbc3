"""Traces in OTLP's JSON form, for any collector's `/v1/traces`, and what its answer means. Pure.

The mapping is the specification's (OTLP 1.x, "JSON Protobuf Encoding"): names in lower camel case, ids in hexadecimal, 64-bit
numbers as text, enumerations as numbers. Nothing is sent from here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aegis.core.tracing import SAMPLED
from aegis.observe.spans import RunTrace, Span, Value

SCHEMA: Final = "https://opentelemetry.io/schemas/1.37.0"
BATCH: Final = 2000
"""Spans of one request: about 1.5 MB."""
_KINDS: Final = {"internal": 1, "server": 2}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AGAIN: Final = frozenset({408, 429, 502, 503, 504})
_FLAGS: Final = 0x100 | int(SAMPLED, 16)
"""Sampled, and known not to be remote."""


def documents(traces: Iterable[RunTrace], *, batch: int = BATCH) -> Iterator[dict[str, Any]]:
    """`ExportTraceServiceRequest`s that hold these traces, each with at most `batch` spans."""
    for trace in traces:
        for first in range(0, len(trace.spans), batch):
            yield {"resourceSpans": [_resource_spans(trace, trace.spans[first : first + batch])]}


def document(traces: Iterable[RunTrace]) -> dict[str, Any]:
    """One request with all of these traces: what is written to a file."""
    return {"resourceSpans": [_resource_spans(trace, trace.spans) for trace in traces]}


def encode(request: Mapping[str, Any]) -> bytes:
    """A request as bytes."""
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()


def _resource_spans(trace: RunTrace, spans: Sequence[Span]) -> dict[str, Any]:
    return {
        "resource": {"attributes": _attributes(trace.resource)},
        "scopeSpans": [
            {
                "scope": {"name": "aegis", "version": str(trace.resource.get("service.version", ""))},
                "spans": [_span(trace.id, span) for span in spans],
                "schemaUrl": SCHEMA,
            }
        ],
        "schemaUrl": SCHEMA,
    }


def _span(trace: str, span: Span) -> dict[str, Any]:
    made: dict[str, Any] = {
        "traceId": trace,
        "spanId": span.id,
        "flags": _FLAGS,
        "name": span.name,
        "kind": _KINDS[span.kind],
        "startTimeUnixNano": _nanoseconds(span.begun),
        "endTimeUnixNano": _nanoseconds(span.ended),
        "attributes": _attributes(span.attributes),
        "status": {"code": 2, "message": span.message} if span.error else {},
    }
    if span.parent:
        made["parentSpanId"] = span.parent
    if span.links:
        made["links"] = [
            {
                "traceId": link.trace,
                "spanId": link.span,
                "attributes": _attributes({"aegis.pipeline.relation": link.relation}),
            }
            for link in span.links
        ]
    return made


def _nanoseconds(at: datetime) -> str:
    since = at - _EPOCH
    return str((since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000)


def _attributes(values: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a collector made of a request: taken (with what it `rejected`), to be sent `again`, or refused for good."""

    taken: bool
    again: bool = False
    after: float | None = None
    """Seconds that the collector asks to wait."""
    rejected: int = 0
    message: str = ""


def answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Read a collector's answer (OTLP/HTTP Response)."""
    if 200 <= status < 300:
        partial = _partial(body)
        rejected = str(partial.get("rejectedSpans", "0"))
        return Answer(
            taken=True,
            rejected=int(rejected) if rejected.isascii() and rejected.isdigit() else 0,
            message=str(partial.get("errorMessage", ""))[:500],
        )
    after = headers.get("retry-after", "")
    return Answer(
        taken=False,
        again=status in _AGAIN,
        after=float(after) if after.isascii() and after.isdigit() else None,
        message=f"it answered {status}: {body[:200].decode('utf-8', 'replace')}",
    )


def _partial(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body) if body.strip() else {}
    except ValueError:
        return {}
    partial = found.get("partialSuccess", {}) if isinstance(found, dict) else {}
    return partial if isinstance(partial, dict) else {}
