"""`/git/<group>/<name>.git`: Git's smart HTTP, translated to the Git door and streamed both ways.

Knows headers, encodings and status codes; who may do what is the door's. There is no anonymous access and no dumb
protocol. Without a valid token every path answers the same 401, so that nobody learns which projects exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from aegis.core.errors import AegisError, Denied, NotFound, UserError
from aegis.core.ids import is_project
from aegis.delivery.git_door import Action, GitAnswer, GitDoor, GitRequest

_PATH: Final = re.compile(r"(?P<project>.+?)(?:\.git)?/(?P<service>info/refs|git-upload-pack|git-receive-pack)")
_SERVICES: Final[dict[str, Action]] = {"git-upload-pack": "fetch", "git-receive-pack": "push"}
_CHUNK: Final = 64 * 1024


def routes(door: GitDoor, *, prefix: str = "/git") -> list[BaseRoute]:
    """The routes of the Git door."""

    async def serve(request: Request) -> Response:
        try:
            return await _serve(door, request)
        except AegisError as error:
            return _refusal(error)

    return [Route(prefix + "/{path:path}", serve, methods=["GET", "POST"])]


async def _serve(door: GitDoor, request: Request) -> Response:
    grant = await asyncio.to_thread(door.authenticate, request.headers.get("authorization"))
    found = _PATH.fullmatch(request.path_params["path"])
    if found is None or not is_project(found["project"]):
        raise NotFound("no-project", "there is no repository here", hint="the address is /git/<group>/<name>.git")
    service = found["service"]
    handle = await asyncio.to_thread(door.open, grant, found["project"], _action(request, service))
    encoding = request.headers.get("content-encoding", "identity").lower()
    body = _Body(request, encoding)
    answer = await handle.serve(
        GitRequest(
            method=request.method,
            service=service,
            query=request.url.query,
            content_type=request.headers.get("content-type", ""),
            protocol=request.headers.get("git-protocol", ""),
            remote=request.client.host if request.client else "",
        ),
        body.chunks(),
    )
    return _Streamed(answer, body, leave_when_gone=service != "git-receive-pack")


def _action(request: Request, service: str) -> Action:
    if service == "info/refs":
        named = parse_qs(request.url.query).get("service", [])
        if request.method != "GET" or len(named) != 1 or named[0] not in _SERVICES:
            raise UserError("git-protocol", "only Git's smart protocol is spoken here", hint="use git 1.6.6 or later")
        return _SERVICES[named[0]]
    if request.method != "POST" or request.headers.get("content-type") != f"application/x-{service}-request":
        raise UserError("git-protocol", f"{service} takes a POST of application/x-{service}-request")
    return _SERVICES[service]


class _Body:
    """A request's body without its content encoding. `ended` is set when the client has sent everything."""

    def __init__(self, request: Request, encoding: str) -> None:
        if encoding not in {"identity", "gzip", "x-gzip", ""}:
            raise UserError("git-encoding", f"the content encoding {encoding!r} is not understood")
        self._request = request
        self._gzip = encoding.endswith("gzip")
        self.ended = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The decoded bytes; a client that goes away in the middle ends them early, which Git notices."""
        inflate = zlib.decompressobj(31) if self._gzip else None
        with contextlib.suppress(ClientDisconnect):
            async for chunk in self._request.stream():
                if not chunk:
                    continue
                if inflate is None:
                    yield chunk
                    continue
                try:
                    data = inflate.decompress(chunk, _CHUNK)
                    while data:
                        yield data
                        data = inflate.decompress(inflate.unconsumed_tail, _CHUNK)
                except zlib.error as error:
                    raise UserError("git-encoding", "the body is not gzip as its header says") from error
        self.ended.set()


class _Streamed(Response):
    """An answer whose body is always closed, so that no Git process outlives its client unseen."""

    def __init__(self, answer: GitAnswer, body: _Body, *, leave_when_gone: bool) -> None:
        self.status_code = answer.status
        self.background = None
        self._answer = answer
        self._body = body
        self._leave = leave_when_gone
        self.init_headers({k: v for k, v in answer.headers.items() if k != "content-length"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        sending = asyncio.create_task(self._send(send))
        watching = asyncio.create_task(self._gone(receive))
        waited: set[asyncio.Task[None]] = {sending, watching} if self._leave else {sending}
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            if not sending.done():
                sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending

    async def _send(self, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for chunk in self._answer.body:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            close = getattr(self._answer.body, "aclose", None)
            if close is not None:
                await close()

    async def _gone(self, receive: Receive) -> None:
        await self._body.ended.wait()
        while (await receive())["type"] != "http.disconnect":
            continue


def _refusal(error: AegisError) -> Response:
    headers: Mapping[str, str] = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    text = error.message + (f"\n{error.hint}" if error.hint else "") + "\n"
    if isinstance(error, Denied) and error.code == "unauthenticated":
        return PlainTextResponse(text, 401, {**headers, "www-authenticate": 'Basic realm="aegis", charset="UTF-8"'})
    status = {"denied": 403, "not-found": 404, "user": 400, "conflict": 409}.get(error.family, 502)
    return PlainTextResponse(text, status, headers)
