"""The Runner API under `/api/v4/`: what `gitlab-runner` asks, translated to the runner door. Nothing is decided here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from aegis.core.errors import Denied, UserError
from aegis.delivery.runner_door import ARTIFACT_LIMIT, BODY_LIMIT, UPDATE_SECONDS, RunnerDoor, Said
from aegis.web.gitlab_api import intake, multipart
from aegis.web.gitlab_api.answers import refused, said, translated
from aegis.web.gitlab_api.waiting import Asking, WaitingRoom

BASE: Final = "/api/v4"
_BODY_LIMIT: Final = 256 * 1024
LAST_UPDATE: Final = "X-GitLab-Last-Update"


def routes(door: RunnerDoor, room: WaitingRoom) -> Sequence[Route]:
    """The routes of the Runner API."""
    api = _Api(door, room)
    table = [
        ("POST", "runners", api.register, False),
        ("DELETE", "runners", api.unregister, False),
        ("POST", "runners/verify", api.verify, False),
        ("DELETE", "runners/managers", api.unregister_machine, False),
        ("POST", "runners/reset_authentication_token", api.renew, False),
        ("GET", "runners/router/discovery", api.discovery, False),
        ("POST", "jobs/request", api.request, False),
        ("PUT", "jobs/{id:int}", api.update, False),
        ("PATCH", "jobs/{id:int}/trace", api.trace, True),
        ("POST", "jobs/{id:int}/artifacts/authorize", api.may_upload, False),
        ("POST", "jobs/{id:int}/artifacts", api.upload, True),
    ]
    return [
        Route(f"{BASE}/{path}", translated(endpoint, streams=streams), methods=[method])
        for method, path, endpoint, streams in table
    ]


async def _body(request: Request) -> dict[str, Any]:
    data = await intake.whole(request.stream(), limit=_BODY_LIMIT)
    if not data:
        return {}
    try:
        body = json.loads(data)
    except ValueError as error:
        raise UserError("body-json", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise UserError("body-json", "the body must be a JSON object")
    return body


def _runner_token(request: Request, body: dict[str, Any]) -> str:
    return str(body.get("token") or request.headers.get("runner-token") or "")


def job_token(request: Request, body: dict[str, Any] | None = None) -> str:
    """The token of a job, where a runner may put it."""
    query = request.query_params
    token = (
        request.headers.get("job-token") or (body or {}).get("token") or query.get("token") or query.get("job_token")
    )
    return str(token or "")


def _info(body: dict[str, Any]) -> dict[str, Any]:
    info = body.get("info")
    return info if isinstance(info, dict) else {}


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


class _Api:
    def __init__(self, door: RunnerDoor, room: WaitingRoom) -> None:
        self._door = door
        self._room = room

    # -- runners ------------------------------------------------------------------------------------------

    async def verify(self, request: Request) -> Response:
        body = await _body(request)
        token = _runner_token(request, body)
        system = str(body.get("system_id") or "")
        runner = await run_in_threadpool(self._door.verify, token, system, _info(body), _address(request))
        return said({"id": runner.number, "token": token, "token_expires_at": None})

    async def register(self, request: Request) -> Response:
        body = await _body(request)
        number, token = await run_in_threadpool(self._door.register, _runner_token(request, body), body)
        return said({"id": number, "token": token, "token_expires_at": None}, 201)

    async def unregister(self, request: Request) -> Response:
        await run_in_threadpool(self._door.unregister, _runner_token(request, await _body(request)))
        return Response(status_code=204)

    async def unregister_machine(self, request: Request) -> Response:
        body = await _body(request)
        system = str(body.get("system_id") or "")
        if not system:
            raise UserError("system-id", "system_id is missing")
        await run_in_threadpool(self._door.unregister_machine, _runner_token(request, body), system)
        return Response(status_code=204)

    async def renew(self, request: Request) -> Response:
        number, token = await run_in_threadpool(self._door.renew, _runner_token(request, await _body(request)))
        return said({"id": number, "token": token, "token_expires_at": None}, 201)

    async def discovery(self, _request: Request) -> Response:
        return refused(501, "there is no job router here")

    # -- jobs ---------------------------------------------------------------------------------------------

    async def request(self, request: Request) -> Response:
        body = await _body(request)
        # What changes between this word and the answer is heard of next time.
        version = await run_in_threadpool(self._door.version)
        asking = Asking(
            token=_runner_token(request, body), system_id=str(body.get("system_id") or ""), info=_info(body),
            address=_address(request),
        )  # fmt: skip
        headers = {LAST_UPDATE: version}
        if body.get("last_update") != version:
            call = (asking.token, asking.system_id, asking.info, asking.address)
            made = await run_in_threadpool(self._door.request, *call)
        elif self._room.full:
            return refused(429, "too many runners wait", {"Retry-After": "5"})
        else:
            await run_in_threadpool(self._door.runner, asking.token)
            made = await self._room.ask(request, asking)
        if made is None:
            return Response(status_code=204, headers=headers)
        return said(made, 201, headers)

    async def trace(self, request: Request) -> Response:
        data = await intake.whole(request.stream(), limit=BODY_LIMIT)
        token, where = job_token(request), request.headers.get("content-range")
        answer = await run_in_threadpool(self._door.trace, request.path_params["id"], token, where, data)
        return _told(answer, {"Range": answer.range})

    async def update(self, request: Request) -> Response:
        body = await _body(request)
        answer = await run_in_threadpool(self._door.update, request.path_params["id"], job_token(request, body), body)
        return _told(answer, {})

    # -- artifacts ----------------------------------------------------------------------------------------

    async def may_upload(self, request: Request) -> Response:
        query = request.query_params
        await run_in_threadpool(
            self._door.may_upload, request.path_params["id"], job_token(request), query.get("artifact_type"),
            query.get("artifact_format"),
        )  # fmt: skip
        return said({"TempPath": "", "MaximumSize": ARTIFACT_LIMIT})

    async def upload(self, request: Request) -> Response:
        number, token, query = request.path_params["id"], job_token(request), request.query_params
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > ARTIFACT_LIMIT + BODY_LIMIT:
            raise intake.TooLarge("artifacts-too-large", f"artifacts hold at most {ARTIFACT_LIMIT} bytes")
        what = await run_in_threadpool(
            self._door.may_upload, number, token, query.get("artifact_type"), query.get("artifact_format")
        )
        form = await multipart.read(request.stream(), request.headers.get("content-type", ""))
        if form.file is None:
            raise UserError("multipart", "the form has no part `file` with a file name")
        sink = partial(self._door.upload, number, token, what, form.filename)
        stored = await intake.pour(form.file, sink, limit=ARTIFACT_LIMIT)
        return said(
            {"id": number, "filename": stored.name, "size": stored.size, "file_type": what.type,
             "file_format": what.format},
            201,
        )  # fmt: skip


def _told(answer: Said, headers: dict[str, str]) -> Response:
    headers = {**headers, "Job-Status": answer.job, "X-GitLab-Trace-Update-Interval": str(UPDATE_SECONDS)}
    if answer.status in (200, 202):
        return said({"status": answer.job} if answer.status == 200 else answer.status, answer.status, headers)
    return refused(answer.status, answer.message, headers)


async def archive(door: RunnerDoor, request: Request) -> Response:
    """`GET jobs/:id/artifacts` with a job's token: the zip, streamed."""
    token = job_token(request)
    if not token:
        raise Denied("unauthenticated", "a job token is needed")
    found = await run_in_threadpool(door.download, request.path_params["id"], token)
    return attachment(found.name, found.size, found.chunks)


def attachment(name: str, size: int, chunks: object) -> Response:
    """A file to be kept, never shown."""
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
        "Content-Security-Policy": "sandbox",
    }
    media = "application/zip" if name.endswith(".zip") else "application/octet-stream"
    body: AsyncIterator[bytes] = chunks  # type: ignore[assignment]
    return StreamingResponse(body, media_type=media, headers=headers)
