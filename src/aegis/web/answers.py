"""How doors answer: one JSON form for values and errors, one mapping from error families to statuses."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aegis.core import codec
from aegis.core.errors import AegisError

STATUSES: Final = {
    "user": 422,
    "check": 422,
    "denied": 403,
    "not-found": 404,
    "conflict": 409,
    "external": 502,
    "waiting": 409,
    "error": 500,
}
SESSION_COOKIE: Final = "aegis_session"


def answer(value: object, status: int = 200) -> Response:
    """`value` (a dataclass or plain data) as JSON."""
    return Response(codec.encode(value), status_code=status, media_type="application/json")


def refusal(error: AegisError) -> JSONResponse:
    """An error in the one form, with the status of its family."""
    status = 401 if error.code == "unauthenticated" else STATUSES.get(error.family, 500)
    where: dict[str, Any] | None = None
    if error.where is not None:
        where = {"file": error.where.file, "line": error.where.line, "column": error.where.column}
    headers = {"WWW-Authenticate": 'Bearer realm="aegis"'} if status == 401 else None
    body = {
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "where": where,
            "family": error.family,
        }
    }
    return JSONResponse(body, status_code=status, headers=headers)


def number(request: Request, name: str, default: int = 0) -> int:
    """A whole number of the query string; `default` where it is absent or none."""
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else default
