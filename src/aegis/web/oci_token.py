"""`/v2/token`: docker's token protocol. A client's credentials become a token for the repositories that it names.

Follows the distribution project's token authentication specification (GET with Basic) and its OAuth 2 form (POST with
`grant_type=password`). No refresh tokens are given: what a client keeps is the token that it logged in with. Who may do
what is decided behind `Doors.registry_token`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC
from typing import Final, cast
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aegis.core.errors import Denied, UserError
from aegis.delivery.doors import Doors, OciAction

PATH: Final = "/v2/token"
_SCOPE: Final = re.compile(r"repository(?:\([a-z]+\))?:([^:]+(?::\d+/[^:]+)?):([a-z*,]+)")
_ACTIONS: Final = ("pull", "push", "delete")
_LIMIT: Final = 64 * 1024


def challenge(request: Request, *, insufficient: bool = False) -> str:
    """The `WWW-Authenticate` header of an answer that asks for credentials, with the scope that this request needs."""
    if request.url.path == PATH:
        return 'Basic realm="aegis", charset="UTF-8"'
    host = request.headers.get("host", "")
    parts = [f'realm="{request.url.scheme}://{host}{PATH}"', f'service="{host}"']
    name = request.path_params.get("name")
    if name:
        actions: frozenset[OciAction] = getattr(request.state, "actions", frozenset({"pull"}))
        parts.append(f'scope="repository:{name}:{",".join(sorted(actions))}"')
    if insufficient:
        parts.append('error="insufficient_scope"')
    return "Bearer " + ",".join(parts)


def scopes(texts: Sequence[str]) -> tuple[tuple[str, frozenset[OciAction]], ...]:
    """Repositories and actions of `repository:NAME:pull,push`; other kinds of scopes are left out, as the protocol has it."""
    found = []
    for text in " ".join(texts).split():
        match = _SCOPE.fullmatch(text)
        if match is None:
            continue
        named = set(match[2].split(","))
        actions = _ACTIONS if "*" in named else tuple(one for one in _ACTIONS if one in named)
        found.append((match[1], frozenset(cast("tuple[OciAction, ...]", actions))))
    return tuple(found)


async def answer(request: Request, doors: Doors) -> Response:
    """Give a token for what the request names, as far as its credentials reach."""
    request.state.anonymous = True  # whatever is refused here is answered with a challenge
    authorization, wanted = request.headers.get("authorization"), request.query_params.getlist("scope")
    if request.method == "POST":
        authorization, wanted = await _form(request)
    issued = await run_in_threadpool(doors.registry_token, authorization, scopes(wanted))
    at = issued.issued_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {"token": issued.token, "access_token": issued.token, "expires_in": issued.seconds, "issued_at": at}
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


async def _form(request: Request) -> tuple[str, list[str]]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LIMIT:
            raise UserError("oci-unsupported", "the form is too large")
    fields = parse_qs(body.decode("utf-8", "replace"))
    if fields.get("grant_type") != ["password"]:
        raise Denied("oci-denied", "only grant_type=password is understood", hint="log in with a token as the password")
    user, password = fields.get("username", [""])[0], fields.get("password", [""])[0]
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode(), fields.get("scope", [])
