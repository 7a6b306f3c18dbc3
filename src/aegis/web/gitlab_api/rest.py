"""GitLab's REST under `/api/v4/`: one door that authenticates, finds the row of the table, and words answers and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aegis.core.errors import Denied, UserError
from aegis.delivery.gitlab_door import GitlabDoor
from aegis.delivery.views import Actor, Credentials
from aegis.web.gitlab_api import intake, rest_pages, rest_sources, rest_starts, rest_variables, rest_work
from aegis.web.gitlab_api.answers import refused, translated
from aegis.web.gitlab_api.calls import TABLE, Call, Row, answered, find

BASE: Final = "/api/v4/"
_BODY_LIMIT: Final = 32 * 1024 * 1024
_METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH")
_SECRETS: Final = frozenset({"private_token", "access_token", "job_token", "token"})
_TRIGGER: Final = ["trigger", "pipeline"]
ROWS: Final[Sequence[Row]] = TABLE
"""The supported calls; the modules named here register them."""
MODULES: Final = (rest_sources, rest_work, rest_variables, rest_pages, rest_starts)


def routes(door: GitlabDoor, credentials: Credentials) -> Sequence[Route]:
    """The one route of the REST; the Runner API's own come before it."""

    async def answer(request: Request) -> Response:
        raw = request.scope.get("raw_path") or request.scope["path"].encode()
        segments = raw.decode("ascii", "replace").removeprefix(BASE).rstrip("/").split("/")
        method = "GET" if request.method == "HEAD" else request.method
        body = await intake.whole(request.stream(), limit=_BODY_LIMIT)
        triggers = method == "POST" and segments[2:] == _TRIGGER
        actor = await run_in_threadpool(credentials.actor, _authorization(request, body if triggers else None))
        found = find(method, segments)
        if isinstance(found, set):
            allowed = {"Allow": ", ".join(sorted(found))}
            return refused(405, headers=allowed) if found else refused(404)
        row, path = found
        call = _call(request, body, door, actor, path, f"{door.url}{raw.decode('ascii', 'replace')}")
        return await run_in_threadpool(lambda: answered(call, row.handler(call)))

    return [Route(f"{BASE}{{rest:path}}", translated(answer), methods=list(_METHODS))]


def _authorization(request: Request, trigger: bytes | None = None) -> str:
    """The token of a call, where GitLab's clients put it: a person's, or a job's; of a `trigger` (its body) its `token`."""
    if trigger is not None:
        token = request.query_params.get("token") or _fields(request, trigger).get("token")
        if token:
            return f"Bearer {token}"
    headers, query = request.headers, request.query_params
    token = (
        headers.get("private-token") or headers.get("job-token") or headers.get("deploy-token")
        or query.get("private_token") or query.get("access_token") or query.get("job_token")
    )  # fmt: skip
    found = f"Bearer {token}" if token else headers.get("authorization", "")
    if not found:
        raise Denied("unauthenticated", "a token is needed: PRIVATE-TOKEN, Authorization: Bearer, or JOB-TOKEN")
    return found


def _call(request: Request, body: bytes, door: GitlabDoor, actor: Actor, path: Mapping[str, str], url: str) -> Call:
    query = {key: _one(request.query_params.getlist(key)) for key in request.query_params}
    plain = {key: value for key, value in request.query_params.items() if key not in _SECRETS}
    return Call(
        door=door, actor=actor, path=path, given={**query, **_fields(request, body)}, query=plain,
        url=url,
    )  # fmt: skip


def _parts(kind: str, body: bytes) -> Mapping[str, Any]:
    """The fields of a form as `curl --form` sends it; `UserError` where it is none."""
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    if not message.is_multipart():
        raise UserError("body-form", "the body is not a form")
    found: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(data, bytes):
            found[name] = data.decode("utf-8", "replace")
    return found


def _one(values: list[str]) -> Any:
    return values[0] if len(values) == 1 else values


def _fields(request: Request, body: bytes) -> Mapping[str, Any]:
    """The fields of a body: JSON, or a form as `curl --data` sends it."""
    if not body:
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return {
            key: _one(values)
            for key, values in parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).items()
        }
    if kind == "multipart/form-data":
        return _parts(request.headers["content-type"], body)
    try:
        found = json.loads(body)
    except ValueError as error:
        raise UserError("body-json", f"the body is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UserError("body-json", "the body must be a JSON object")
    return found
