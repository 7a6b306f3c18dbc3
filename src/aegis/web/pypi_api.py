"""`/pypi/<index>/`: simple pages, files and the legacy upload in HTTP. Translates; the rules live in the handle.

Clients log in with HTTP Basic (any user name, a token as the password), also from credentials in an index URL.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from aegis.core.errors import AegisError, Denied, UserError
from aegis.delivery.doors import Doors, PypiAction, PypiHandle, status_of
from aegis.web import content

_CHALLENGE: Final = 'Basic realm="aegis", charset="UTF-8"'
_PROVENANCE: Final = "application/vnd.pypi.integrity.v1+json"
_FOREVER: Final = "private, max-age=31536000, immutable"  # a file name is given once


def routes(doors: Callable[[], Doors]) -> Sequence[Route]:
    """The routes of `/pypi/`; `doors` is asked for on each request."""
    api = _Api(doors)
    table = [
        ("/pypi/{index}/simple/", ["GET"], api.projects),
        ("/pypi/{index}/simple/{project}/", ["GET"], api.project),
        ("/pypi/{index}/simple/{project}", ["GET"], api.with_slash),
        ("/pypi/{index}/files/{filename}", ["GET"], api.file),
        ("/pypi/{index}/legacy/", ["POST"], api.upload),
        ("/pypi/{index}/legacy", ["POST"], api.upload),
    ]
    return [Route(path, _translated(endpoint), methods=methods) for path, methods, endpoint in table]


class _Api:
    def __init__(self, doors: Callable[[], Doors]) -> None:
        self._doors = doors

    async def _handle(self, request: Request, action: PypiAction) -> PypiHandle:
        def opened() -> PypiHandle:
            doors = self._doors()
            grant = doors.authenticate(request.headers.get("authorization"))
            request.state.anonymous = grant.anonymous
            return doors.pypi(grant, request.path_params["index"], action)

        return await run_in_threadpool(opened)

    async def projects(self, request: Request) -> Response:
        handle = await self._handle(request, "read")
        page = await run_in_threadpool(handle.project_list, request.headers.get("accept", ""))
        return Response(page.body, headers=_page_headers(page.content_type))

    async def project(self, request: Request) -> Response:
        handle = await self._handle(request, "read")
        project = request.path_params["project"]
        normal = re.sub(r"[-_.]+", "-", project).lower()  # PEP 503
        if project != normal:
            return RedirectResponse(f"../{normal}/", status_code=301)
        page = await run_in_threadpool(handle.project_page, project, request.headers.get("accept", ""))
        return Response(page.body, headers=_page_headers(page.content_type))

    async def with_slash(self, request: Request) -> Response:
        return RedirectResponse(f"{request.url.path.rsplit('/', 1)[-1]}/", status_code=301)

    async def file(self, request: Request) -> Response:
        handle = await self._handle(request, "read")
        filename = request.path_params["filename"]
        if filename.endswith(".metadata"):
            body = await run_in_threadpool(handle.metadata, filename.removesuffix(".metadata"))
            return Response(body, media_type="text/plain; charset=utf-8", headers={"Cache-Control": _FOREVER})
        if filename.endswith(".provenance"):
            body = await run_in_threadpool(handle.provenance, filename.removesuffix(".provenance"))
            return Response(body, media_type=_PROVENANCE)
        found = await run_in_threadpool(handle.have, filename)
        headers = {
            "Content-Type": "application/octet-stream", "Cache-Control": _FOREVER, "ETag": f'"{found.digest}"',
            "Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff",
        }  # fmt: skip
        return await content.respond(
            request, found.size, headers,
            open_file=partial(handle.open_file, filename),
            read=lambda offset, length: handle.read(filename, offset=offset, length=length),
        )  # fmt: skip

    async def upload(self, request: Request) -> Response:
        handle = await self._handle(request, "upload")
        try:
            form = await request.form(max_files=4, max_fields=2000, max_part_size=4 * 1024 * 1024)
        except HTTPException as error:
            raise UserError("upload-form", f"the form cannot be read: {error.detail}") from error
        try:
            sent = form.get("content")
            if not isinstance(sent, UploadFile) or not sent.filename:
                raise UserError("upload-form", "the form has no file in `content`")
            fields = {key: value for key, value in form.multi_items() if isinstance(value, str)}
            await run_in_threadpool(handle.upload, fields, sent.filename, sent.file)
        finally:
            await form.close()
        return PlainTextResponse("OK\n")


Endpoint = Callable[[Request], Awaitable[Response]]


def _translated(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except AegisError as error:
            status, headers = status_of(error), {}
            if isinstance(error, Denied) and getattr(request.state, "anonymous", True):
                status, headers = 401, {"WWW-Authenticate": _CHALLENGE}
            hint = f"\n{error.hint}" if error.hint else ""
            if request.method == "POST":
                headers["Connection"] = "close"
            return PlainTextResponse(f"{error.message}{hint}\n", status_code=status, headers=headers)

    return answer


def _page_headers(content_type: str) -> dict[str, str]:
    return {"Content-Type": content_type, "Vary": "Accept", "Cache-Control": "no-cache"}
