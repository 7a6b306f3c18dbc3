"""The event stream: resumed without a gap, and ended properly by a server that stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from aegis.adapters import server_http
from aegis.core.errors import ExternalError
from aegis.daemon import serve
from aegis.delivery.views import Actor
from aegis.web import events


class Records:
    """A ledger of some records that never grows."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.drained: Callable[[], object] = lambda: None

    def after(self, seq: int, limit: int = 500) -> tuple[Mapping[str, Any], ...]:
        found = tuple({"seq": one, "data": {}} for one in range(seq + 1, min(self.count, seq + limit) + 1))
        if not found:
            self.drained()
        return found

    def head(self) -> int:
        return self.count

    def wait(self, after: int, timeout: float) -> bool:
        _ = timeout
        return self.count > after


class Anybody:
    def actor(self, header: str | None, session: str | None) -> Actor:
        _ = header, session
        return Actor(id="ana", name="Ana")


def stream(records: Records | None = None, **headers: str) -> list[int]:
    """The records of a stream whose server is told to stop when all were read: what there is, then a proper end."""

    async def read() -> list[int]:
        given, loop = records or Records(3), asyncio.get_running_loop()
        bell = events.Bell(given)
        given.drained = lambda: loop.call_soon_threadsafe(bell.end)
        app = Starlette(routes=events.routes(given, Anybody(), bell))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            answer = await client.get("/events", headers=headers)
        return [json.loads(one[6:])["seq"] for one in answer.text.splitlines() if one.startswith("data: ")]

    return asyncio.run(asyncio.wait_for(read(), 20))


def test_a_client_resumes_after_the_last_record_it_had() -> None:
    assert stream(**{"Last-Event-ID": "0"}) == [1, 2, 3]
    assert stream(**{"Last-Event-ID": "2"}) == [3]


def test_a_ledger_that_cannot_be_read_for_a_moment_ends_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(Records):
        """Whose database is away at the second look."""

        asked = 0

        def after(self, seq: int, limit: int = 500) -> tuple[Mapping[str, Any], ...]:
            self.asked += 1
            if self.asked == 1:
                raise ExternalError("ledger-unreachable", "the database is away", retryable=True)
            return super().after(seq, limit)

    monkeypatch.setattr(events, "RETRY_SECONDS", 0.0)
    assert stream(Away(3), **{"Last-Event-ID": "1"}) == [2, 3]


def test_a_server_keeps_an_idle_connection_longer_than_its_clients_do() -> None:
    assert serve.IDLE_SECONDS > 2 * server_http.IDLE_SECONDS
