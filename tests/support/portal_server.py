"""The portal over a fake world, served for real on a free port, with an event stream that a test writes to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from aegis.web import status_page
from aegis.web.portal import routes
from support.live_server import serving
from support.portal_world import World


@dataclass
class Stream:
    """`/events` of a test: what is sent goes to every client; `asked` are the `Last-Event-ID`s they came with."""

    asked: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    closed: bool = False
    generation: int = 0

    def send(self, seq: int, subject: str = "run/run-now") -> None:
        """A record for every page."""
        self.records.append({"seq": seq, "type": "aegis.job.changed", "subject": subject})

    def cut(self) -> None:
        """End every connection; clients may come again."""
        self.generation += 1

    async def answer(self, request: Request) -> Response:
        """The door."""
        if self.closed:
            return Response(status_code=503)
        self.asked.append(request.headers.get("last-event-id", ""))

        async def lines() -> AsyncIterator[bytes]:
            yield b"retry: 1000\n\n"
            at, generation = int(self.asked[-1] or 0), self.generation
            while self.generation == generation and not self.closed:
                for record in [one for one in self.records if one["seq"] > at]:
                    at = record["seq"]
                    yield f"id: {at}\nevent: record\ndata: {json.dumps(record)}\n\n".encode()
                await asyncio.sleep(0.02)

        return StreamingResponse(lines(), media_type="text/event-stream")


@dataclass
class Served:
    """A running portal."""

    url: str
    world: World
    stream: Stream


def application(world: World, stream: Stream) -> Starlette:
    """The portal and the public page over the world."""
    doors = (world, world, world)
    pages = routes(*doors, clock=world.clock)
    return Starlette(routes=[*pages, *status_page.routes(*doors, clock=world.clock), Route("/events", stream.answer)])


@contextmanager
def portal(world: World | None = None) -> Iterator[Served]:
    """The portal on a free port; streams are ended first, so that it stops at once."""
    world, stream = world or World(), Stream()
    with serving(application(world, stream)) as host:
        try:
            yield Served(f"http://{host}", world, stream)
        finally:
            stream.closed = True
            world.log_complete = True
            world.grown.set()


class Visitor:
    """Somebody without scripts: requests straight to the application, with the cookies of one browser."""

    def __init__(self, world: World, cookie: str = "cookie-sora", **headers: str) -> None:
        self.app = application(world, Stream())
        self.cookies = {"aegis_session": cookie} if cookie else {}
        self.headers = headers

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request; redirects are not followed."""

        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://aegis.test", cookies=self.cookies, headers=self.headers
            ) as client:
                return await client.request(method, path, **more)

        return asyncio.run(answer())

    def get(self, path: str, **more: Any) -> httpx.Response:
        """A page."""
        return self.ask("GET", path, **more)

    def post(self, path: str, *, origin: str | None = "http://aegis.test", **fields: str) -> httpx.Response:
        """A form, posted as a browser posts one of this very server."""
        return self.ask("POST", path, data=fields, headers={"Origin": origin} if origin else {})
