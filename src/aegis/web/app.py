"""The application on the one port: composes the doors, guards hosts, answers errors in one form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aegis.core.errors import AegisError
from aegis.delivery.views import Commands, Credentials, Queries, Stream
from aegis.web import api, events
from aegis.web.answers import refusal

SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the application is made of. `hosts` are the names it answers to; `ready` says whether it accepts work."""

    queries: Queries
    commands: Commands
    credentials: Credentials
    stream: Stream
    metrics: Callable[[], str]
    advisories: Callable[[], bytes]
    ready: Callable[[], str]
    """Empty when ready, else why not."""
    doors: Sequence[BaseRoute] = ()
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")


class HostGuard:
    """Refuses requests for other names (DNS rebinding), and sets the headers that every answer carries."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if name not in self._hosts:
            response = PlainTextResponse(f"this server does not answer to {name!r}\n", status_code=421)
            await response(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for key, value in SECURITY_HEADERS.items():
                    headers.setdefault(key, value)
            await send(message)

        await self._app(scope, receive, with_headers)


def create_app(parts: Parts, bell: events.Bell) -> Starlette:
    """The application; its life begins and ends the watcher of the event stream."""

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        await bell.start()
        try:
            yield
        finally:
            bell.end()

    async def health(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readiness(_request: Request) -> Response:
        why = await run_in_threadpool(parts.ready)
        return PlainTextResponse(f"{why or 'ready'}\n", status_code=503 if why else 200)

    async def metrics(_request: Request) -> Response:
        text = await run_in_threadpool(parts.metrics)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def refused(_request: Request, error: Exception) -> Response:
        if not isinstance(error, AegisError):
            raise error
        return refusal(error)

    async def lost(request: Request, _error: Exception) -> Response:
        body = {
            "error": {"code": "no-such-page", "message": f"nothing is at {request.url.path}", "hint": "", "where": None}
        }
        return JSONResponse(body, status_code=404)

    routes = [
        Route("/healthz", health),
        Route("/readyz", readiness),
        Route("/metrics", metrics),
        *api.routes(parts.queries, parts.commands, parts.credentials, parts.advisories),
        *events.routes(parts.stream, parts.credentials, bell),
        *parts.doors,
    ]
    app = Starlette(routes=routes, lifespan=life, exception_handlers={AegisError: refused, 404: lost})
    app.add_middleware(HostGuard, hosts=parts.hosts)
    return app
