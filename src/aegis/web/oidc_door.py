"""The two addresses by which others check `id_tokens`: the discovery document and the public keys. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route


def routes(discovery: Callable[[], Mapping[str, Any]], keys: Callable[[], Mapping[str, Any]]) -> tuple[BaseRoute, ...]:
    """`/.well-known/openid-configuration` and `/oauth/discovery/keys`, open to everybody."""

    async def configuration(_request: Request) -> Response:
        return JSONResponse(dict(discovery()), headers={"Cache-Control": "public, max-age=300"})

    async def key_set(_request: Request) -> Response:
        return JSONResponse(dict(keys()), headers={"Cache-Control": "public, max-age=300"})

    return (
        Route("/.well-known/openid-configuration", configuration),
        Route("/oauth/discovery/keys", key_set),
    )
