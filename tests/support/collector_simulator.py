"""A collector of traces on loopback: takes OTLP over HTTP in its JSON form, as strictly as the specification lets it be.

It imports nothing of what it is to prove. Its rules, by the OTLP specification 1.x: `POST /v1/traces`, `application/json`, gzip
allowed; ids are hexadecimal text of 16 and 8 bytes and not all zero, 64-bit numbers are decimal text, kinds and status codes
are numbers, names are lower camel case; the answer is an `ExportTraceServiceResponse`.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

_SPAN = {
    "traceId", "spanId", "traceState", "parentSpanId", "flags", "name", "kind", "startTimeUnixNano", "endTimeUnixNano",
    "attributes", "droppedAttributesCount", "events", "droppedEventsCount", "links", "droppedLinksCount", "status",
}  # fmt: skip
_VALUES = {"stringValue": str, "boolValue": bool, "intValue": str, "doubleValue": (int, float), "arrayValue": dict}


class Collector:
    """Use it as a context. `answers` are given before anything is taken: (status, headers, body)."""

    def __init__(self, answers: list[tuple[int, dict[str, str], bytes]] | None = None) -> None:
        self.answers = answers or []
        self.spans: list[dict[str, Any]] = []
        self.resources: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, headers, answer = outer.take(self.path, dict(self.headers), body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.requests += 1
        self.headers.append({name.lower(): value for name, value in headers.items()})
        if self.answers:
            return self.answers.pop(0)
        sent = self.headers[-1]
        if path != "/v1/traces" or sent["content-type"] != "application/json":
            return 404, {}, b""
        if sent.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        try:
            resources, spans = parsed(body)
        except (AssertionError, ValueError, KeyError, TypeError) as error:
            return 400, {"content-type": "application/json"}, json.dumps({"message": str(error)}).encode()
        self.resources += resources
        self.spans += spans
        return 200, {"content-type": "application/json"}, b'{"partialSuccess":{}}'


def parsed(body: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Resources as plain attributes, and spans with theirs as plain `values`; `AssertionError` for what is not OTLP."""
    document = json.loads(body)
    assert set(document) == {"resourceSpans"}
    resources, spans = [], []
    for entry in document["resourceSpans"]:
        resources.append(values(entry["resource"]["attributes"]))
        for scope in entry["scopeSpans"]:
            assert isinstance(scope["scope"]["name"], str)
            spans += [_span(span) for span in scope["spans"]]
    return resources, spans


def _span(span: dict[str, Any]) -> dict[str, Any]:
    assert not set(span) - _SPAN, set(span) - _SPAN
    assert _id(span["traceId"], 32)
    assert _id(span["spanId"], 16)
    assert "parentSpanId" not in span or _id(span["parentSpanId"], 16)
    assert isinstance(span["name"], str)
    assert span["name"]
    assert type(span["kind"]) is int
    assert 1 <= span["kind"] <= 5
    start, end = (span[name] for name in ("startTimeUnixNano", "endTimeUnixNano"))
    assert all(isinstance(at, str) and at.isdigit() for at in (start, end))
    assert int(start) <= int(end)
    assert span["status"].get("code", 0) in {0, 1, 2}
    for link in span.get("links", ()):
        assert _id(link["traceId"], 32)
        assert _id(link["spanId"], 16)
        values(link.get("attributes", []))
    return {**span, "values": values(span["attributes"])}


def _id(text: object, size: int) -> bool:
    return isinstance(text, str) and re.fullmatch(f"[0-9a-f]{{{size}}}", text) is not None and int(text, 16) != 0


def values(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """Attributes as a mapping; each name once."""
    found: dict[str, Any] = {}
    for one in attributes:
        assert one["key"] not in found, one["key"]
        ((kind, value),) = one["value"].items()
        assert isinstance(value, _VALUES[kind]), (kind, value)
        assert kind != "doubleValue" or not isinstance(value, bool)
        found[one["key"]] = int(value) if kind == "intValue" else value
    return found
