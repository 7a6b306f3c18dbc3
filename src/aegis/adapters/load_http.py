"""Generates bounded HTTP traffic to a loopback address: paced, over a few kept connections, counted."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from aegis.core.errors import UserError

THREADS: Final = 4
MAXIMUM_SECONDS: Final = 900.0
_HOSTS: Final = ("127.0.0.1", "localhost", "::1")


class Call(Protocol):
    """One kind of request: `share` is its part of all, `body` is sent as JSON."""

    @property
    def method(self) -> str: ...  # noqa: D102 - as named
    @property
    def path(self) -> str: ...  # noqa: D102 - as named
    @property
    def body(self) -> Mapping[str, Any] | None: ...  # noqa: D102 - as named
    @property
    def share(self) -> float: ...  # noqa: D102 - as named


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCounts:
    """Requests sent, and those that got no answer or one of 500 and above."""

    sent: int
    failed: int


class HttpLoad:
    """Traffic from its creation until `stop`, for fifteen minutes at most."""

    def __init__(self, url: str, calls: Sequence[Call], per_second: float) -> None:
        address = urlsplit(url)
        if address.hostname not in _HOSTS or address.port is None:
            raise UserError("load-target", f"traffic is generated on this machine only, not to {url}")
        self._address = (address.hostname, address.port)
        self._wheel = _wheel(calls)
        self._pause = THREADS / per_second
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._sent = self._failed = 0
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def counts(self) -> LoadCounts:
        """See `Load`."""
        with self._lock:
            return LoadCounts(sent=self._sent, failed=self._failed)

    def stop(self) -> LoadCounts:
        """See `Load`."""
        self._stop.set()
        for thread in self._threads:
            thread.join(5.0)
        return self.counts()

    def _run(self, number: int) -> None:
        calls = itertools.islice(itertools.cycle(self._wheel), number * 7, None)
        connection = http.client.HTTPConnection(*self._address, timeout=5.0)
        begun = due = time.monotonic() + number * self._pause / THREADS
        while not self._stop.is_set() and time.monotonic() - begun < MAXIMUM_SECONDS:
            wait = due - time.monotonic()
            if wait > 0:
                self._stop.wait(wait)
            due = max(due + self._pause, time.monotonic() - 1.0)
            ok = self._send(connection, next(calls))
            with self._lock:
                self._sent += 1
                self._failed += not ok
        connection.close()

    @staticmethod
    def _send(connection: http.client.HTTPConnection, call: Call) -> bool:
        body = json.dumps(call.body, ensure_ascii=False).encode() if call.body is not None else None
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            connection.request(call.method, call.path, body=body, headers=headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return False
        return answer.status < 500


def _wheel(calls: Sequence[Call]) -> tuple[Call, ...]:
    """A hundred calls in the declared shares, spread evenly."""
    total = sum(call.share for call in calls)
    due = [0.0] * len(calls)
    wheel = []
    for _ in range(100):
        due = [owed + call.share / total for owed, call in zip(due, calls, strict=True)]
        chosen = max(range(len(calls)), key=due.__getitem__)
        due[chosen] -= 1.0
        wheel.append(calls[chosen])
    return tuple(wheel)
