"""`/api/v4/`: GitLab's Runner API and REST in HTTP, translated to the doors and verbs of delivery. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aegis.delivery.gitlab_door import GitlabDoor
from aegis.delivery.views import Credentials
from aegis.web.gitlab_api import rest, runner
from aegis.web.gitlab_api.answers import translated
from aegis.web.gitlab_api.waiting import WaitingRoom


def routes(door: GitlabDoor, credentials: Credentials, room: WaitingRoom) -> Sequence[Route]:
    """Everything under `/api/v4/`: what runners and jobs ask, then the rest."""

    async def archive(request: Request) -> Response:
        return await runner.archive(door.runners, request)

    return [
        *runner.routes(door.runners, room),
        Route(f"{runner.BASE}/jobs/{{id:int}}/artifacts", translated(archive), methods=["GET"]),
        *rest.routes(door, credentials),
    ]
