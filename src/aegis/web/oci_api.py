"""`/v2/`: the OCI distribution specification 1.1 in HTTP. Translates; the rules live in the handle.

A request is authorised once, before its body is read. Bodies stream in constant memory: pieces of about 1 MiB are
handed to the handle in a thread, while the next one arrives. Clients log in with HTTP Basic (any user name, a token as
the password), or with the token for named repositories that `/v2/token` gives for it, as docker's clients do.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aegis.core.errors import AegisError, Denied, UserError
from aegis.core.ids import is_digest
from aegis.delivery.doors import Doors, Grant, OciAction, OciHandle, oci_problem
from aegis.web import content, oci_token

T = TypeVar("T")
_ENOUGH: Final = 512 * 1024
_MANIFEST_LIMIT: Final = 4 * 1024 * 1024
_RANGE: Final = re.compile(r"(?:bytes[= ])?(\d+)-(\d+)?(?:/.*)?")
_PULL: Final[frozenset[OciAction]] = frozenset({"pull"})
_PUSH: Final[frozenset[OciAction]] = frozenset({"pull", "push"})
_DELETE: Final[frozenset[OciAction]] = frozenset({"delete"})
_VERSION: Final = {"Docker-Distribution-Api-Version": "registry/2.0"}


def routes(doors: Callable[[], Doors]) -> Sequence[Route]:
    """The routes of `/v2/`; `doors` is asked for on each request."""
    api = _Api(doors)
    name = "{name:path}"
    table = [
        ("/v2/", ["GET"], api.version),
        (oci_token.PATH, ["GET", "POST"], api.token),
        (f"/v2/{name}/tags/list", ["GET"], api.tags),
        (f"/v2/{name}/referrers/{{digest}}", ["GET"], api.referrers),
        (f"/v2/{name}/blobs/uploads/", ["POST"], api.start),
        (f"/v2/{name}/blobs/uploads", ["POST"], api.start),
        (f"/v2/{name}/blobs/uploads/{{upload}}", ["GET"], api.progress),
        (f"/v2/{name}/blobs/uploads/{{upload}}", ["PATCH"], api.patch),
        (f"/v2/{name}/blobs/uploads/{{upload}}", ["PUT"], api.finish),
        (f"/v2/{name}/blobs/uploads/{{upload}}", ["DELETE"], api.cancel),
        (f"/v2/{name}/blobs/{{digest}}", ["GET"], api.blob),
        (f"/v2/{name}/blobs/{{digest}}", ["DELETE"], api.delete_blob),
        (f"/v2/{name}/manifests/{{reference}}", ["GET"], api.manifest),
        (f"/v2/{name}/manifests/{{reference}}", ["PUT"], api.put_manifest),
        (f"/v2/{name}/manifests/{{reference}}", ["DELETE"], api.delete_manifest),
    ]
    return [Route(path, _translated(endpoint), methods=methods) for path, methods, endpoint in table]


class _Api:
    def __init__(self, doors: Callable[[], Doors]) -> None:
        self._doors = doors

    # -- the door itself ----------------------------------------------------------------------------------

    async def version(self, request: Request) -> Response:
        grant = await self._grant(request)
        if grant.anonymous:
            raise Denied("oci-denied", "log in with a token as the password", hint="skopeo login HOST")
        return JSONResponse({})

    async def token(self, request: Request) -> Response:
        return await oci_token.answer(request, self._doors())

    async def _grant(self, request: Request) -> Grant:
        return await run_in_threadpool(self._entered, request)

    def _entered(self, request: Request) -> Grant:
        grant = self._doors().authenticate(request.headers.get("authorization"))
        request.state.anonymous = grant.anonymous
        return grant

    async def _handle(self, request: Request, actions: frozenset[OciAction]) -> OciHandle:
        request.state.actions = actions

        def opened() -> OciHandle:
            return self._doors().oci(self._entered(request), request.path_params["name"], actions)

        return await run_in_threadpool(opened)

    # -- blobs --------------------------------------------------------------------------------------------

    async def blob(self, request: Request) -> Response:
        handle = await self._handle(request, _PULL)
        digest = request.path_params["digest"]
        size = await run_in_threadpool(handle.blob_size, digest)
        headers = {
            "Docker-Content-Digest": digest, "ETag": f'"{digest}"', "Content-Type": "application/octet-stream"
        }  # fmt: skip
        return await content.respond(
            request, size, headers,
            open_file=partial(handle.blob_file, digest),
            read=lambda offset, length: handle.read_blob(digest, offset=offset, length=length),
        )  # fmt: skip

    async def delete_blob(self, request: Request) -> Response:
        handle = await self._handle(request, _DELETE)
        await run_in_threadpool(handle.delete_blob, request.path_params["digest"])
        return Response(status_code=202)

    # -- uploads ------------------------------------------------------------------------------------------

    async def start(self, request: Request) -> Response:
        handle = await self._handle(request, _PUSH)
        wanted, digest = request.query_params.get("mount"), request.query_params.get("digest")
        if wanted and await self._mounted(request, handle, wanted):
            return _created(handle.name, wanted)
        if digest:
            return await self._whole(request, handle, _checked(digest))
        upload = await run_in_threadpool(handle.start_upload)
        return _progress(handle.name, upload.name, 0, 202)

    async def _whole(self, request: Request, handle: OciHandle, digest: str) -> Response:
        """An upload in one request: what does not become a blob leaves nothing behind."""
        upload = await run_in_threadpool(handle.start_upload)
        try:
            await _receive(request, handle, upload.name, None)
            await run_in_threadpool(handle.finish, upload.name, digest)
        except BaseException:
            await run_in_threadpool(handle.cancel, upload.name)
            raise
        return _created(handle.name, digest)

    async def _mounted(self, request: Request, handle: OciHandle, digest: str) -> bool:
        source = request.query_params.get("from")
        if not source:
            return False
        try:
            grant = await self._grant(request)
            other = await run_in_threadpool(self._doors().oci, grant, source, _PULL)
            return await run_in_threadpool(handle.mount, digest, other)
        except (Denied, UserError):
            return False  # the specification: a mount that cannot be made becomes an ordinary upload

    async def progress(self, request: Request) -> Response:
        handle = await self._handle(request, _PUSH)
        upload = await run_in_threadpool(handle.upload, request.path_params["upload"])
        return _progress(handle.name, upload.name, upload.size, 204)

    async def patch(self, request: Request) -> Response:
        handle = await self._handle(request, _PUSH)
        name = request.path_params["upload"]
        size = await _receive(request, handle, name, _offset(request))
        return _progress(handle.name, name, size, 202)

    async def finish(self, request: Request) -> Response:
        handle = await self._handle(request, _PUSH)
        name, digest = request.path_params["upload"], _checked(request.query_params.get("digest", ""))
        await _receive(request, handle, name, _offset(request))
        await run_in_threadpool(handle.finish, name, digest)
        return _created(handle.name, digest)

    async def cancel(self, request: Request) -> Response:
        handle = await self._handle(request, _PUSH)
        await run_in_threadpool(handle.cancel, request.path_params["upload"])
        return Response(status_code=204)

    # -- manifests ----------------------------------------------------------------------------------------

    async def manifest(self, request: Request) -> Response:
        handle = await self._handle(request, _PULL)
        reference = request.path_params["reference"]
        if request.method == "HEAD":
            facts = await run_in_threadpool(handle.stat, reference)
            headers = {"Content-Length": str(facts.size), "Content-Type": facts.media_type}
            return Response(headers={**headers, **_named(facts.digest)})
        found = await run_in_threadpool(handle.manifest, reference)
        return Response(found.body, headers={"Content-Type": found.media_type, **_named(found.digest)})

    async def put_manifest(self, request: Request) -> Response:
        handle = await self._handle(request, _PUSH)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MANIFEST_LIMIT:
                raise UserError("oci-too-large", f"a manifest has at most {_MANIFEST_LIMIT} bytes")
        kind, reference = request.headers.get("content-type", ""), request.path_params["reference"]
        tags = request.query_params.getlist("tag") if is_digest(reference) else []
        stored = await run_in_threadpool(partial(handle.put_manifest, reference, kind, bytes(body), tags=tags))
        headers = {"Location": f"/v2/{handle.name}/manifests/{stored.digest}", "Docker-Content-Digest": stored.digest}
        if stored.subject:
            headers["OCI-Subject"] = stored.subject
        response = Response(status_code=201, headers=headers)
        for tag in tags:
            response.headers.append("OCI-Tag", tag)
        return response

    async def delete_manifest(self, request: Request) -> Response:
        handle = await self._handle(request, _DELETE)
        await run_in_threadpool(handle.delete_manifest, request.path_params["reference"])
        return Response(status_code=202)

    # -- lists --------------------------------------------------------------------------------------------

    async def tags(self, request: Request) -> Response:
        handle = await self._handle(request, _PULL)
        limit = _number(request.query_params.get("n"))
        last = request.query_params.get("last", "")
        page = await run_in_threadpool(partial(handle.tags, limit=limit, last=last))
        headers = {}
        if page.more and page.names:
            following = f"/v2/{handle.name}/tags/list?n={limit}&last={quote(page.names[-1])}"
            headers["Link"] = f'<{following}>; rel="next"'
        return JSONResponse({"name": handle.name, "tags": list(page.names)}, headers=headers)

    async def referrers(self, request: Request) -> Response:
        handle = await self._handle(request, _PULL)
        wanted = request.query_params.get("artifactType", "")
        body = await run_in_threadpool(
            partial(handle.referrers, request.path_params["digest"], artifact_type=wanted)
        )  # fmt: skip
        headers = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
        if wanted:
            headers["OCI-Filters-Applied"] = "artifactType"
        return Response(body, headers=headers)


Endpoint = Callable[[Request], Awaitable[Response]]


def _translated(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            response = await endpoint(request)
        except AegisError as error:
            response = _refusal(request, error)
        except ClientDisconnect:
            response = Response(status_code=499)  # nobody is there to read it
        response.headers.update(_VERSION)
        return response

    return answer


def _refusal(request: Request, error: AegisError) -> Response:
    status, code = oci_problem(error)
    headers = {}
    if isinstance(error, Denied) and getattr(request.state, "anonymous", True):
        # Nobody, or credentials that do not hold: ask for some. Known and not allowed stays 403.
        status, code = 401, "UNAUTHORIZED"
    if status == 401:
        headers = {"WWW-Authenticate": oci_token.challenge(request, insufficient=error.code == "oci-scope")}
    detail: Mapping[str, Any] = {"reason": error.code, "hint": error.hint}
    body = {"errors": [{"code": code, "message": error.message, "detail": detail}]}
    # A refused upload is not read to its end: the connection closes, so that the rest is not taken for a request.
    if request.method in ("PUT", "PATCH", "POST"):
        headers["Connection"] = "close"
    return Response(json.dumps(body), status_code=status, headers={"Content-Type": "application/json", **headers})


async def _receive(request: Request, handle: OciHandle, name: str, offset: int | None) -> int:
    """Hand the body to the upload in pieces, each while the next one arrives; the upload's size afterwards."""
    writing: asyncio.Future[int] | None = None

    def write(piece: Sequence[bytes], at: int | None) -> int:
        return handle.append(name, piece, offset=at).size

    try:
        async for piece in _pieces(request.stream()):
            offset = await writing if writing is not None else offset
            writing = asyncio.ensure_future(run_in_threadpool(write, (piece,), offset))
        return await (writing if writing is not None else run_in_threadpool(write, (), offset))
    except BaseException:
        if writing is not None:
            await asyncio.wait([writing])  # the connection may resume where the last whole piece ended
            writing.exception()
        raise


async def _pieces(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    held = bytearray()
    async for chunk in stream:
        if not held and len(chunk) >= _ENOUGH:
            yield chunk
            continue
        held += chunk
        if len(held) >= _ENOUGH:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def _offset(request: Request) -> int | None:
    header = request.headers.get("content-range")
    if not header:
        return None
    match = _RANGE.fullmatch(header.strip())
    if match is None:
        raise UserError("oci-upload-invalid", f"the Content-Range {header[:80]!r} cannot be read")
    return int(match[1])


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdigit():
        raise UserError("oci-unsupported", f"n={text[:20]!r} is not a number")
    return int(text)


def _checked(digest: str) -> str:
    if not is_digest(digest):
        raise UserError("oci-digest-invalid", f"{digest[:80]!r} is not a digest")
    return digest


def _named(digest: str) -> dict[str, str]:
    return {"Docker-Content-Digest": digest, "ETag": f'"{digest}"'}


def _created(repository: str, digest: str) -> Response:
    headers = {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest}
    return Response(status_code=201, headers=headers)


def _progress(repository: str, upload: str, size: int, status: int) -> Response:
    headers = {
        "Location": f"/v2/{repository}/blobs/uploads/{upload}",
        "Range": f"0-{max(0, size - 1)}",
        "Docker-Upload-UUID": upload,
    }
    return Response(status_code=status, headers=headers)
