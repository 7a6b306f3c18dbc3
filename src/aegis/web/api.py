"""Our own API under `/api/aegis/v1/`: verbs are posted, views are read; its OpenAPI document is made from both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aegis import __version__
from aegis.core.errors import UserError
from aegis.core.types import Release
from aegis.delivery import dossiers, log_lines, views
from aegis.delivery.commands import VERBS
from aegis.delivery.runner_views import RunnerView
from aegis.delivery.views import Actor, Commands, Credentials, Queries
from aegis.delivery.why_views import WhyView
from aegis.observe import otlp
from aegis.web.answers import SESSION_COOKIE, answer, number

BASE: Final = "/api/aegis/v1"
MAXIMUM_BODY: Final = 1 << 20
Reader = Callable[[Queries, Actor, Request], object]


def _time(request: Request) -> datetime | None:
    text = request.query_params.get("time", "")
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError("time", f"{text!r} is not a time", hint="write 2026-11-23T14:05:00+09:00") from error
    if parsed.tzinfo is None:
        raise UserError("time", f"{text!r} has no offset", hint=f"write {text}Z for UTC")
    return parsed


def _project(request: Request) -> str:
    return str(request.path_params["project"])


READS: Final[tuple[tuple[str, type, Reader, str], ...]] = (
    ("home", views.HomeView, lambda q, a, r: q.home(a, min_seq=number(r, "min_seq")), "What runs and what waits"),
    (
        "runs",
        list[views.RunSummary],
        lambda q, a, r: q.runs(a, project=r.query_params.get("project", ""), limit=min(number(r, "limit", 30), 200)),
        "Runs, newest first",
    ),
    (
        "runs/{id}",
        views.RunView,
        lambda q, a, r: q.run(a, r.path_params["id"], min_seq=number(r, "min_seq")),
        "One run",
    ),
    (
        "runs/{id}/inputs",
        views.RunInputs,
        lambda q, a, r: q.run_inputs(a, r.path_params["id"]),
        "What the jobs of a run were made of: images, variables, scripts, locked versions",
    ),
    (
        "runs/{id}/why",
        WhyView,
        lambda q, a, r: q.why(a, r.path_params["id"], r.query_params.get("job", "")),
        "Why a job (`job`) of a run waits or is slow",
    ),
    (
        "runs/{id}/otlp",
        dict[str, Any],
        lambda q, a, r: otlp.document([q.spans(a, r.path_params["id"])]),
        "A run as a trace, in OTLP's JSON form",
    ),
    (
        "environments",
        list[views.JobEnvironment],
        lambda q, a, r: q.environments(a, project=r.query_params.get("project", "")),
        "The environments that jobs have deployed",
    ),
    (
        "promotions",
        list[views.PromotionView],
        lambda q, a, r: q.promotions(a, waiting=r.query_params.get("waiting") == "true"),
        "Promotions, newest first",
    ),
    (
        "promotions/{id}",
        views.PromotionView,
        lambda q, a, r: q.promotion(a, r.path_params["id"], min_seq=number(r, "min_seq")),
        "One promotion",
    ),
    (
        "rollouts/{id}",
        views.RolloutView,
        lambda q, a, r: q.rollout(a, r.path_params["id"], min_seq=number(r, "min_seq")),
        "One rollout",
    ),
    (
        "releases",
        list[Release],
        lambda q, a, r: q.releases(a, service=r.query_params.get("service", "")),
        "Releases, newest first",
    ),
    (
        "releases/{id}",
        views.ReleaseView,
        lambda q, a, r: q.release(a, r.path_params["id"], min_seq=number(r, "min_seq")),
        "One release",
    ),
    (
        "releases/{id}/dossier",
        dossiers.Dossier,
        lambda q, a, r: q.dossier(a, r.path_params["id"]),
        "Everything else about a release, by its id or an artifact's digest",
    ),
    (
        "releases/{id}/comparison",
        dossiers.ReleaseDifference,
        lambda q, a, r: q.comparison(a, r.query_params.get("from", ""), r.path_params["id"]),
        "How a release differs from the one that `from` names",
    ),
    ("signing-key", dossiers.SigningKeyView, lambda q, a, _: q.signing_key(a), "What this server signs images with"),
    (
        "merge-requests",
        list[views.MergeRequestView],
        lambda q, a, r: q.merge_requests(
            a, project=r.query_params.get("project", ""), state=r.query_params.get("state", "opened")
        ),
        "Merge requests, newest first",
    ),
    (
        "merge-requests/{project:path}/{number:int}",
        views.MergeRequestView,
        lambda q, a, r: q.merge_request(a, _project(r), r.path_params["number"], min_seq=number(r, "min_seq")),
        "One merge request",
    ),
    ("runners", list[RunnerView], lambda q, a, _: q.runners(a), "Remote runners"),
    ("at", views.AtView, lambda q, a, r: q.at(a, _time(r), min_seq=number(r, "min_seq")), "What ran at a time"),
    (
        "inbox",
        list[views.InboxEntry],
        lambda q, a, r: q.inbox(a, include_resolved=r.query_params.get("resolved") == "true"),
        "What concerns you",
    ),
)


def routes(
    queries: Queries, commands: Commands, credentials: Credentials, advisories: Callable[[], bytes]
) -> list[Route]:
    """The API's routes. `advisories` answers the declared advisory store as an archive."""

    def actor(request: Request) -> Actor:
        token = request.headers.get("job-token")
        header = f"Bearer {token}" if token else request.headers.get("authorization")
        return credentials.actor(header, request.cookies.get(SESSION_COOKIE))

    async def execute(request: Request) -> Response:
        body = await request.body()
        if len(body) > MAXIMUM_BODY:
            raise UserError("body-size", "the body is larger than 1 MiB")
        try:
            fields = msgspec.json.decode(body) if body else {}
        except msgspec.DecodeError as error:
            raise UserError("body-json", f"the body is not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise UserError("body-json", "the body must be a JSON object with the verb's fields")
        dry = request.query_params.get("dry_run") == "true"
        verb = request.path_params["verb"]
        who = await run_in_threadpool(actor, request)
        return answer(await run_in_threadpool(lambda: commands.execute(verb, fields, who, dry_run=dry)))

    def read(reader: Reader) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            return answer(await run_in_threadpool(lambda: reader(queries, actor(request), request)))

        return endpoint

    async def trace(request: Request) -> Response:
        path, query = request.path_params, request.query_params
        who = await run_in_threadpool(actor, request)
        offset, wait = number(request, "offset"), min(number(request, "wait"), 25)
        if wait:
            await run_in_threadpool(
                lambda: queries.trace_wait(who, path["id"], path["job"], offset=offset, timeout=float(wait))
            )
        chunk = await run_in_threadpool(
            lambda: queries.trace(
                who, path["id"], path["job"], offset=offset, limit=min(number(request, "limit", 1 << 20), 1 << 20)
            )
        )
        headers = {"X-Next-Offset": str(chunk.next_offset), "X-Complete": str(chunk.complete).lower()}
        headers["X-Content-Type-Options"] = "nosniff"
        if query.get("download"):
            headers["Content-Disposition"] = "attachment"
        return Response(chunk.data, media_type="text/plain; charset=utf-8", headers=headers)

    def reader(request: Request) -> Callable[[int], views.TraceChunk]:
        who, path = actor(request), request.path_params
        return lambda offset: queries.trace(who, path["id"], path["job"], offset=offset)

    async def trace_lines(request: Request) -> Response:
        first, count = number(request, "line"), min(number(request, "count", 1000), 10_000)
        found = await run_in_threadpool(lambda: log_lines.window(reader(request), first=first, count=max(count, 1)))
        headers = {
            "X-First-Line": str(found.first), "X-Total-Lines": str(found.total), "X-Next-Offset": str(found.end),
            "X-Complete": str(found.complete).lower(), "X-Content-Type-Options": "nosniff",
        }  # fmt: skip
        return Response(found.data, media_type="text/plain; charset=utf-8", headers=headers)

    async def trace_search(request: Request) -> Response:
        text, limit, after = (
            request.query_params.get("text", ""),
            number(request, "limit", 200),
            number(request, "after"),
        )
        if not text:
            raise UserError("search-text", "what is to be looked for?", hint="add ?text=…")
        return answer(
            await run_in_threadpool(
                lambda: log_lines.search(reader(request), text, limit=max(1, min(limit, 1000)), after=after)
            )
        )

    async def advisory_store(request: Request) -> Response:
        await run_in_threadpool(actor, request)
        return Response(await run_in_threadpool(advisories), media_type="application/zip")

    async def whoami(request: Request) -> Response:
        return answer(await run_in_threadpool(actor, request))

    async def document(_request: Request) -> Response:
        return answer(openapi())

    return [
        Route(f"{BASE}/openapi.json", document),
        Route(f"{BASE}/verbs/{{verb}}", execute, methods=["POST"]),
        Route(f"{BASE}/whoami", whoami),
        Route(f"{BASE}/advisories", advisory_store),
        Route(f"{BASE}/runs/{{id}}/jobs/{{job:path}}/trace/lines", trace_lines),
        Route(f"{BASE}/runs/{{id}}/jobs/{{job:path}}/trace/search", trace_search),
        Route(f"{BASE}/runs/{{id}}/jobs/{{job:path}}/trace", trace),
        *(Route(f"{BASE}/{path}", read(reader)) for path, _, reader, _ in READS),
    ]


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of all verbs and views."""
    kinds = (
        [verb.command for verb in VERBS.values() if not verb.internal]
        + [kind for _, kind, _, _ in READS]
        + [views.Result]
    )
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    by_kind = dict(zip(map(str, kinds), schemas, strict=True))
    paths: dict[str, Any] = {}
    for verb in VERBS.values():
        if verb.internal:
            continue
        paths[f"{BASE}/verbs/{verb.name}"] = {
            "post": {
                "operationId": verb.name,
                "summary": verb.help,
                "requestBody": {"content": {"application/json": {"schema": by_kind[str(verb.command)]}}},
                "responses": _responses(by_kind[str(views.Result)]),
            }
        }
    for path, kind, _, summary in READS:
        plain = path.replace(":path", "").replace(":int", "")
        paths[f"{BASE}/{plain}"] = {
            "get": {"operationId": f"read {plain}", "summary": summary, "responses": _responses(by_kind[str(kind)])}
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Aegis", "version": __version__},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _responses(schema: dict[str, Any]) -> dict[str, Any]:
    error = {"description": "error: {code, message, hint, where}"}
    return {
        "200": {"description": "done", "content": {"application/json": {"schema": schema}}},
        **{str(status): error for status in (401, 403, 404, 409, 422, 502)},
    }
