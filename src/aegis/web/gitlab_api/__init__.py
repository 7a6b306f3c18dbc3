"""`/api/v4/`: GitLab's Runner API and REST in HTTP, translated to the doors and verbs of delivery. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aegis.delivery.runner_door import RunnerDoor
from aegis.web.gitlab_api import runner
from aegis.web.gitlab_api.answers import translated
from aegis.web.gitlab_api.waiting import WaitingRoom


def routes(door: RunnerDoor, room: WaitingRoom) -> Sequence[Route]:
    """Everything under `/api/v4/`."""

    async def archive(request: Request) -> Response:
        return await runner.archive(door, request)

    return [
        *runner.routes(door, room),
        Route(f"{runner.BASE}/jobs/{{id:int}}/artifacts", translated(archive), methods=["GET"]),
    ]
