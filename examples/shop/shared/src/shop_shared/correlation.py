"""One id per request, from the edge through every service it touches.

The id comes from the caller (`X-Correlation-ID`) when it looks like one, else it is made here. It is in the
answer, in every log line of the request and, through `outgoing_headers()`, in calls to other services.
"""

from __future__ import annotations

import logging
import re
import secrets
from contextvars import ContextVar
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER: Final = "X-Correlation-ID"
# What comes from outside goes to logs and on to other services: only harmless characters, and few of them.
_ACCEPTABLE: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_current: ContextVar[str] = ContextVar("correlation_id", default="")


def current_id() -> str:
    """The id of the request being served; empty outside of one."""
    return _current.get()


def outgoing_headers() -> dict[str, str]:
    """The headers that carry the id on to another service."""
    return {HEADER: _current.get()} if _current.get() else {}


class CorrelationMiddleware:
    """Gives every HTTP request its id. Plain ASGI, so that streaming and context variables work."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(HEADER.lower().encode(), b"").decode("latin-1")
        identifier = given if _ACCEPTABLE.fullmatch(given) else secrets.token_hex(8)
        token = _current.set(identifier)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = identifier
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            _current.reset(token)


class CorrelationFilter(logging.Filter):
    """Puts `correlation_id` on every log record, `-` outside of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.correlation_id = _current.get() or "-"
        return True
