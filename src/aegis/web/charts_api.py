"""`/charts/`: a Helm repository over the charts in the image registry. Translates; `index.yaml` and packages are read only.

Charts come in as OCI artifacts (`helm push`). `/charts/index.yaml` has all that the caller may pull, `/charts/GROUP/index.yaml`
those below a path. Clients log in with HTTP Basic: any user name, a token as the password.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from aegis.core.errors import AegisError, Denied
from aegis.delivery.doors import ChartDoors, ChartHandle, status_of
from aegis.web import content

_CHALLENGE: Final = 'Basic realm="aegis", charset="UTF-8"'


def routes(doors: Callable[[], ChartDoors]) -> Sequence[Route]:
    """The routes of `/charts/`; `doors` is asked for on each request."""

    async def handle(request: Request) -> ChartHandle:
        def opened() -> ChartHandle:
            door = doors()
            grant = door.authenticate(request.headers.get("authorization"))
            request.state.anonymous = grant.anonymous
            return door.charts(grant)

        return await run_in_threadpool(opened)

    async def index(request: Request) -> Response:
        charts = await handle(request)
        body = await run_in_threadpool(charts.index, request.path_params.get("under", ""))
        headers = {"Cache-Control": "private, no-cache", "Content-Type": "application/yaml; charset=utf-8"}
        return Response(body, headers=headers)

    async def package(request: Request) -> Response:
        charts = await handle(request)
        path, filename = request.path_params["repository"], f"{request.path_params['name']}.tgz"
        chart = await run_in_threadpool(charts.package, path, filename)
        headers = {
            "Content-Type": "application/gzip", "ETag": f'"{chart.digest}"', "Content-Disposition": "attachment"
        }  # fmt: skip
        return await content.respond(
            request, chart.size, headers, open_file=partial(charts.open_file, chart), read=partial(charts.read, chart)
        )  # fmt: skip

    return [
        Route("/charts/index.yaml", _translated(index), methods=["GET"]),
        Route("/charts/{under:path}/index.yaml", _translated(index), methods=["GET"]),
        Route("/charts/{repository:path}/{name}.tgz", _translated(package), methods=["GET"]),
    ]


def _translated(endpoint: content.Endpoint) -> content.Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except AegisError as error:
            status, headers = status_of(error), {}
            if isinstance(error, Denied) and getattr(request.state, "anonymous", True):
                status, headers = 401, {"WWW-Authenticate": _CHALLENGE}
            hint = f"\n{error.hint}" if error.hint else ""
            return PlainTextResponse(f"{error.message}{hint}\n", status_code=status, headers=headers)

    return answer
