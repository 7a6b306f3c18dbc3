"""A job's log as it grows: `GET /jobs/<run>/<job>/trace?offset=`.

Answers bytes from an offset as a file that nothing executes, or (`as=lines`) the whole lines among them as markup
for our own page. Waits for more for up to twenty seconds, so that a page needs one request per news.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse

from aegis.core.errors import AegisError
from aegis.delivery.views import Actor, TraceChunk
from aegis.web.portal import logs
from aegis.web.portal.doors import HEADERS, Portal
from aegis.web.portal.rendering import environment

WAIT: Final = 20.0
_FILE: Final = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Content-Type": "text/plain; charset=utf-8",
}


def trace(portal: Portal) -> Callable[[Request], Response]:
    """The door."""

    def answer(request: Request) -> Response:
        actor = portal.actor(request)
        if actor is None:
            return PlainTextResponse("log in first\n", 401, headers=dict(HEADERS))
        offset = _count(request, "offset")
        run, job = request.path_params["run"], request.path_params["job"]
        try:
            if request.query_params.get("as") == "file":
                return _whole(portal, actor, run, job)
            if request.query_params.get("wait"):
                portal.queries.trace_wait(actor, run, job, offset=offset, timeout=WAIT)
            chunk = portal.queries.trace(actor, run, job, offset=offset)
        except AegisError as error:
            status = 403 if error.family == "denied" else 404 if error.family == "not-found" else 502
            return PlainTextResponse(f"{error.message}\n", status, headers=dict(HEADERS))
        return _lines(chunk, _count(request, "line")) if request.query_params.get("as") == "lines" else _bytes(chunk)

    return answer


def _whole(portal: Portal, actor: Actor, run: str, job: str) -> Response:
    first = portal.queries.trace(actor, run, job, offset=0)

    def stream() -> Iterator[bytes]:
        chunk = first
        while chunk.data:
            yield chunk.data
            chunk = portal.queries.trace(actor, run, job, offset=chunk.next_offset)

    headers = {**_FILE, "Content-Disposition": 'attachment; filename="job.log"'}
    return StreamingResponse(stream(), headers=headers)


def _bytes(chunk: TraceChunk) -> Response:
    return Response(chunk.data, headers={**_FILE, **_progress(chunk.next_offset, complete=chunk.complete)})


def _lines(chunk: TraceChunk, first: int) -> Response:
    ended = chunk.complete and not chunk.data
    found, used = logs.lines(chunk.data, first=max(first, 1), complete=ended or chunk.complete)
    html = environment().get_template("lines.html").render(lines=found, decisive=None, before=0, after=0)
    done = chunk.complete and used == len(chunk.data)
    return HTMLResponse(html, headers={**HEADERS, **_progress(chunk.offset + used, complete=done)})


def _progress(offset: int, *, complete: bool) -> dict[str, str]:
    return {"X-Next-Offset": str(offset), "X-Complete": "true" if complete else "false"}


def _count(request: Request, name: str) -> int:
    given = request.query_params.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 16 else 0
