"""The portal: server-rendered pages over the queries and commands of `delivery`, alive through `/events`.

`routes()` is all that a server needs. Pages work without scripts, for reading and for deciding; the one small script
makes them live. Nothing here decides about a delivery: it shows views and passes verbs on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from aegis.delivery.views import Commands, Queries, Sessions
from aegis.web.portal import actions, contents, logins, pages, rendering, traces
from aegis.web.portal.doors import Handler, Portal

PAGES: Final[tuple[tuple[str, Handler], ...]] = (
    ("/", pages.home),
    ("/runs", pages.runs),
    ("/runs/{run}", pages.run),
    ("/runs/{run}/jobs/{job:path}", pages.log),
    ("/approvals", pages.approvals),
    ("/promotions/{promotion}", pages.promotion),
    ("/rollouts/{rollout}", pages.rollout),
    ("/releases", pages.releases),
    ("/releases/{release}", pages.release),
    ("/releases/{release}/contents", contents.contents),
    ("/releases/{release}/compare", contents.compared),
    ("/merge-requests/{project:path}/{number:int}", pages.merge_request),
    ("/at", pages.at),
    ("/inbox", pages.inbox),
)


def routes(
    queries: Queries,
    commands: Commands,
    sessions: Sessions,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Sequence[BaseRoute]:
    """The portal's routes, without `/status`, which `aegis.web.status_page` serves to everybody."""
    portal = Portal(queries, commands, sessions, clock)
    return [
        *(Route(path, portal.door(handler), methods=["GET"]) for path, handler in PAGES),
        Route("/actions/{verb}", portal.form(actions.act), methods=["POST"]),
        Route("/login", logins.login_page(portal), methods=["GET"]),
        Route("/login", logins.login(portal), methods=["POST"]),
        Route("/logout", logins.logout(portal), methods=["POST"]),
        Route("/jobs/{run}/{job:path}/trace", traces.trace(portal), methods=["GET"]),
        Route("/static/{version}/{name}", static_file, methods=["GET"]),
        Route("/favicon.ico", static_icon, methods=["GET"]),
    ]


def static_file(request: Request) -> Response:
    """A stylesheet, script or icon, kept for ever under the hash of its content."""
    name = request.path_params["name"]
    if name not in rendering.STATIC:
        return PlainTextResponse("no such file\n", 404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(rendering.static(name), media_type=rendering.STATIC[name], headers=headers)


def static_icon(_: Request) -> Response:
    """What browsers ask for unasked."""
    return Response(rendering.static("icon.svg"), media_type="image/svg+xml")
