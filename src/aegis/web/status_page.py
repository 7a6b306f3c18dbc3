"""`/status`: is it me or is it them? For everybody, without a login, showing only what is meant for everybody.

Decides the one sentence at its top from the services' states; what the states are is decided by the query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from aegis.core.errors import AegisError
from aegis.delivery.views import Commands, Queries, Sessions, StatusView
from aegis.web.portal.doors import Portal
from aegis.web.portal.rendering import Page
from aegis.web.portal.shown import shown


def routes(
    queries: Queries,
    commands: Commands,
    sessions: Sessions,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Sequence[BaseRoute]:
    """The route of the public page."""
    portal = Portal(queries, commands, sessions, clock)

    def status(request: Request) -> Response:
        words = portal.words(request, None)
        try:
            view = queries.status_page()
        except AegisError as error:
            return portal.refused(request, words, None, error)
        state = overall(view)
        values = {"view": view, "overall": shown("status", state), "sentence": f"status.{state}"}
        return portal.page(request, words, None, Page("status.html", words("status.title"), values, watch=None))

    return [Route("/status", status, methods=["GET"])]


def overall(view: StatusView) -> str:
    """The worst of the services' states: `degraded`, `unknown`, `deploying`, `operational`."""
    states = {line.state for line in view.lines}
    worst = ("degraded", "unknown", "deploying")
    return next((state for state in worst if state in states), "operational" if states else "unknown")
