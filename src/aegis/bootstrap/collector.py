"""The way to the declared collector of traces: one address, the headers' values looked up, nothing else reachable by it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Final

from aegis.adapters.egress_http import EgressRules, HttpEgress
from aegis.core.errors import AegisError, ExternalError
from aegis.delivery.options import TraceOptions
from aegis.observe.otlp import Answer, answer

_SECONDS: Final = 10.0
_ANSWER: Final = 64 * 1024
_SMALL: Final = 1024
"""Bytes below which nothing is gained by packing them."""


class Collector:
    """Sends requests; made anew when the declaration changes."""

    def __init__(self, options: Callable[[], TraceOptions | None], value: Callable[[str], str]) -> None:
        self._options = options
        self._value = value
        self._made: tuple[EgressRules, HttpEgress] | None = None

    @property
    def declared(self) -> bool:
        """Whether there is a collector."""
        return self._options() is not None

    def send(self, body: bytes) -> Answer:
        """Post one request in OTLP's JSON form. What cannot be reached is an answer too: send it again."""
        options = self._options()
        if options is None:
            return Answer(taken=False, again=True, message="no collector is declared")
        headers = {"content-type": "application/json"}
        try:
            headers |= {name: self._value(of) for name, of in options.headers.items()}
        except AegisError as error:
            return Answer(taken=False, again=True, message=error.message)
        if len(body) > _SMALL:
            headers["content-encoding"] = "gzip"
            body = gzip.compress(body, 6, mtime=0)
        try:
            found = self._egress(options).request(
                "POST", options.endpoint, headers=headers, body=body, limit=_ANSWER, timeout=_SECONDS
            )
        except ExternalError as error:
            return Answer(taken=False, again=True, message=error.message)
        return answer(found.status, found.headers, found.body)

    def _egress(self, options: TraceOptions) -> HttpEgress:
        rules = EgressRules(allowed=options.hosts, private=frozenset(options.private))
        if self._made is None or self._made[0] != rules:
            self._made = (rules, HttpEgress(rules))
        return self._made[1]
