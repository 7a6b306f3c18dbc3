"""`/pages/<project>/…`: the pages of projects, on the one port and yet apart from everything else on it.

A browser that comes with a session is sent on to a visit's address (`/pages/~<token>/…`), where no cookie counts. Everything is
answered there with a sandbox without an origin of its own and a policy that reaches nothing but these very pages: scripts run, and act
as nobody. Programs send their token and are answered at once.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from aegis.core.errors import Denied, NotFound
from aegis.delivery.pages_door import Page, PagesDoor
from aegis.delivery.views import Credentials
from aegis.web.answers import SESSION_COOKIE

_TEXT: Final = ("text/", "application/javascript", "application/json", "application/xml", "image/svg+xml")


def routes(door: PagesDoor, credentials: Credentials) -> Sequence[BaseRoute]:
    """The routes of the pages."""

    def come(request: Request) -> Response:
        path = request.path_params["rest"]
        if path.startswith("~"):
            token, _, inner = path[1:].partition("/")
            project, rest = door.split(inner)
            try:
                door.visited(token, project)
            except Denied:
                return _moved(f"/pages/{inner}")
            return _answer(request, door, project, rest, f"/pages/~{token}/{project}/")
        project, rest = door.split(path)
        header = request.headers.get("authorization") or _header(request)
        if header:
            door.authorise(credentials.actor(header), project)
            return _answer(request, door, project, rest, f"/pages/{project}/")
        try:
            actor = credentials.actor(None, request.cookies.get(SESSION_COOKIE))
        except Denied:
            return _moved(f"/login?next={quote(f'/pages/{path}', safe='')}", encoded=True)
        return _moved(f"/pages/~{door.visit(actor, project)}/{project}/{rest}")

    async def pages(request: Request) -> Response:
        return await run_in_threadpool(come, request)

    return (Route("/pages/{rest:path}", pages, methods=["GET", "HEAD"]),)


def _header(request: Request) -> str:
    token = request.headers.get("private-token") or request.headers.get("job-token")
    return f"Bearer {token}" if token else ""


def _moved(target: str, *, encoded: bool = False) -> Response:
    where = target if encoded else quote(target, safe="/~.-_")
    return RedirectResponse(where, 303, headers={"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"})


def policy(base: str) -> str:
    """The content security policy of pages under `base`: an origin of nobody, and nothing beyond these pages."""
    here = f"{base} data: blob:"
    return (
        "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox; "
        f"default-src {here} 'unsafe-inline'; connect-src {base}; base-uri {base}; form-action 'none'; frame-ancestors 'none'"
    )


def _answer(request: Request, door: PagesDoor, project: str, rest: str, base: str) -> Response:
    try:
        page = door.page(project, rest)
    except NotFound as error:
        return Response(f"{error.message}\n", 404, _headers(request, base), media_type="text/plain")
    if page.moved is not None:
        return _moved(f"{base}{page.moved}")
    headers = {**_headers(request, base), "ETag": page.etag, "Cache-Control": "private, max-age=60"}
    if request.headers.get("if-none-match") == page.etag:
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(page.size)
    status = 200 if page.found else 404
    if request.method == "HEAD":
        return Response(None, status, headers, media_type=_media(page))
    return StreamingResponse(page.pieces, status, headers, media_type=_media(page))


def _headers(request: Request, base: str) -> dict[str, str]:
    origin = f"{request.url.scheme}://{request.url.netloc}"
    return {
        "Content-Security-Policy": policy(f"{origin}{base}"),
        "Access-Control-Allow-Origin": "*",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }


def _media(page: Page) -> str:
    kind = mimetypes.guess_type(page.name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith(_TEXT) else kind
