"""How GitLab's API answers: its forms of errors, and JSON said to be JSON (a runner takes anything else for an error)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from aegis.core.errors import AegisError
from aegis.web.gitlab_api.intake import TooLarge

Endpoint = Callable[[Request], Awaitable[Response]]
_WORDS: Final = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    409: "Conflict", 413: "Request Entity Too Large", 422: "Unprocessable Entity", 429: "Too Many Requests",
    502: "Bad Gateway", 503: "Service Unavailable",
}  # fmt: skip
_STATUSES: Final = {"user": 400, "check": 422, "denied": 403, "not-found": 404, "conflict": 409, "waiting": 409}


def said(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as JSON."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Response(body, status_code=status, headers=dict(headers or {}), media_type="application/json")


def refused(status: int, why: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """An error as GitLab words it: its number and name, then the reason."""
    word = f"{status} {_WORDS.get(status, 'Error')}"
    return said({"message": f"{word} - {why}" if why else word}, status, headers)


def status_of(error: AegisError) -> int:
    """The status that stands for an error."""
    if isinstance(error, TooLarge):
        return 413
    if error.code == "unauthenticated":
        return 401
    if error.family == "external":
        return 503 if error.retryable else 502
    return _STATUSES.get(error.family, 500)


def translated(endpoint: Endpoint, *, streams: bool = False) -> Endpoint:
    """The endpoint with errors in GitLab's form. `streams`: a refused body is not read to its end, so close."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except AegisError as error:
            status = status_of(error)
            headers: dict[str, Any] = {"Connection": "close"} if streams else {}
            if status == 503:
                headers["Retry-After"] = "5"
            text = error.message + (f" ({error.hint})" if error.hint else "")
            return refused(status, text, headers)
        except ClientDisconnect:
            # Nobody reads this.
            return Response(status_code=499)

    return answer
