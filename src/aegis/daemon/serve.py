"""One serving process: starts what a plant holds in the right order, and ends it in the reverse one.

Order of a start: the ledger is open already (its writer's place taken), then projections, open runs, traffic, cluster, what
was interrupted, the loops, the runner, and the port last: `ready` is printed when work is accepted and what ran before
answers again.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import uvicorn

from aegis import __version__
from aegis.access.id_tokens import discovery, key_set
from aegis.access.tokens import Kind
from aegis.adapters.listener import address_of, listening
from aegis.adapters.zero_copy import ZeroCopyProtocol
from aegis.bootstrap import plant as plants
from aegis.core import events
from aegis.core.errors import AegisError, UserError
from aegis.core.events import Draft
from aegis.daemon.auto_stop import AutoStop
from aegis.daemon.checkpoints import Anchors
from aegis.daemon.loops import Flow, Loop, Projector, Reporter
from aegis.daemon.recover import answers, resume
from aegis.daemon.schedules import Schedules
from aegis.daemon.stream import LedgerStream
from aegis.daemon.trace_export import TraceExport
from aegis.daemon.upkeep import Upkeep
from aegis.daemon.verifier import Verifier
from aegis.daemon.watchers import Expiry, Observer, RolloutDriver
from aegis.delivery.context import Adopted
from aegis.delivery.dispatch import SYSTEM, Asking
from aegis.delivery.gitlab_door import GitlabDoor
from aegis.delivery.handlers.access import make
from aegis.delivery.handlers.projects import provide, put_in_force
from aegis.delivery.queries.facade import Facade
from aegis.delivery.views import Actor, InboxEntry
from aegis.notify import routing
from aegis.web import app as web
from aegis.web import charts_api, git_door, gitlab_api, oci_api, oidc_door, pages_door, portal, pypi_api, status_page
from aegis.web.events import Bell
from aegis.web.gitlab_api.waiting import WaitingRoom

OPERATOR = "operator"
TOKEN_SECONDS = 366 * 86400.0
IDLE_SECONDS = 75
"""How long a connection may be idle. Longer than clients keep one (httpx 5 s, browsers and proxies about 60 s): who closes
first must be the client, or the server closes just when it is used again."""
RESTORED_SECONDS = 3.0
"""How long `ready` waits for workloads that ran before."""


class Server:
    """A running server. `run` blocks until it is told to stop."""

    def __init__(self, adopted: Adopted, data: Path, host: str, port: int, environ: Mapping[str, str]) -> None:
        if host not in ("127.0.0.1", "localhost", "::1"):
            raise UserError(
                "not-loopback",
                f"{host} is reachable by others, and there is no TLS here",
                hint="bind 127.0.0.1 and put a proxy with TLS in front (--behind-proxy is a work of its own)",
            )
        self._data = plants.private(data)
        self._socket = listening(host, port)
        self.url = address_of(self._socket)
        self._reporter = Reporter()
        try:
            self._plant = plants.build(adopted, self._data, self.url, environ)
        except AegisError:
            self._socket.close()
            raise
        self._loops: list[Loop] = []
        self._stop_runner: Callable[[], None] = lambda: None
        self._started = False
        self._restored = False

    # -- life ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start, say `ready`, serve until SIGTERM or SIGINT, drain, stop."""
        try:
            self._start()
            asyncio.run(self._serve())
        finally:
            self._stop()

    def _start(self) -> None:
        plant = self._plant
        context = plant.context
        self._projector = Projector(context, plant.projections)
        plant.projections.catch_up()
        if not context.subject("policy"):
            put_in_force(context, context.options.policy_digest, "aegis up --config", Asking(actor=SYSTEM))
        context.engine.recover()
        plant.traffic.start()
        plant.cluster.start()
        provide(context)
        resume(context, plant.dispatcher, self._reporter)
        self._flow = Flow(context, plant.dispatcher, plant.checkpoints, self._reporter)
        self._anchors = Anchors(plant)
        rounds: dict[str, Callable[[], float]] = {
            "projector": self._projector.round,
            "flow": self._flow.round,
            "observer": Observer(context, self._reporter).round,
            "rollouts": RolloutDriver(context, self._reporter).round,
            "expiry": Expiry(context).round,
            "verifier": Verifier(context, self._reporter).round,
            "schedules": Schedules(context, plant.dispatcher, self._reporter).round,
            "auto-stop": AutoStop(context, plant.dispatcher, self._reporter).round,
            "upkeep": Upkeep(context, plant.dispatcher, self._reporter).round,
            "traces": TraceExport(context, plant.checkpoints, plant.collector, self._reporter).round,
            "leases": self._leases,
            "writer": self._still_writer,
            "anchors": self._anchors.round,
        }
        self._loops = [Loop(name, round_, self._reporter) for name, round_ in rounds.items()]
        for loop in self._loops:
            loop.start()
        self._stop_runner = self._run_jobs()
        self._note(events.ServerStarted(version=__version__, epoch=plant.ledger.epoch))
        self._token()
        self._started = True

    def _leases(self) -> float:
        self._plant.context.engine.tick()
        return 0.5

    def _still_writer(self) -> float:
        """A server that another has taken over from ends, also where it has nothing to write."""
        self._plant.ledger.check()
        return 1.0

    def _run_jobs(self) -> Callable[[], None]:
        """The built-in runner in a thread with an event loop of its own, so that pages stay quick."""
        supervisor = self._plant.supervisor()
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()

        def work() -> None:
            asyncio.set_event_loop(loop)
            try:
                loop.run_until_complete(supervisor.run(stop))
            except Exception as error:  # noqa: BLE001 - the runner's end must be seen, whatever it was
                self._reporter.say("runner", error)
            finally:
                loop.close()

        thread = threading.Thread(target=work, name="aegis-runner", daemon=True)
        thread.start()

        def end() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(stop.set)
            thread.join(40)

        return end

    def _token(self) -> None:
        plain, _, _ = make(self._plant.context, OPERATOR, Kind.USER, TOKEN_SECONDS, Asking(actor=SYSTEM))
        plants.write_server_file(self._data, self.url, plain)

    def _note(self, event: object) -> None:
        self._plant.context.append(Draft(subject="server", data=event, actor=SYSTEM.id))

    async def _serve(self) -> None:
        self._room = WaitingRoom(self._plant.runner_door)
        config = uvicorn.Config(
            self._app(), log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=5,
            timeout_keep_alive=IDLE_SECONDS, http=ZeroCopyProtocol, server_header=False,
        )  # fmt: skip
        server = _Quiet(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, server)
        self._plant.ledger.on_lost(lambda: loop.call_soon_threadsafe(self._end, server))
        task = asyncio.create_task(server.serve(sockets=[self._socket]))
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has a flag and no event for it
            await asyncio.sleep(0.005)
        await self._restore(task)
        if not task.done():
            sys.stdout.write(f"ready {self.url}\n")
            sys.stdout.flush()
        await task

    def _end(self, server: _Quiet) -> None:
        self._room.stop()
        self._bell.end()
        server.stop()

    async def _restore(self, serving: asyncio.Task[None]) -> None:
        """Pages answer already; what ran before comes back meanwhile. One that never does must not keep the others."""
        loop = asyncio.get_running_loop()
        until = loop.time() + RESTORED_SECONDS
        context = self._plant.context
        while not serving.done() and not await asyncio.to_thread(answers, context) and loop.time() < until:
            await asyncio.wait([serving], timeout=0.02)
        self._restored = True

    def _app(self) -> Any:
        plant = self._plant
        context = plant.context
        facade = Facade(context, plant.traces, self._inbox, self._projector.caught_up, lambda: plant.warnings)
        stream = LedgerStream(plant.ledger)
        self._bell = Bell(stream)
        gitlab = GitlabDoor(context, plant.runner_door, facade, plant.dispatcher)
        doors = (
            *oidc_door.routes(lambda: discovery(self.url), lambda: key_set(plant.keys.identity)),
            *git_door.routes(plant.git_door),
            *gitlab_api.routes(gitlab, plant.entrance, self._room),
            *oci_api.routes(lambda: plant.entrance),
            *pypi_api.routes(lambda: plant.entrance),
            *charts_api.routes(lambda: plant.entrance),
            *pages_door.routes(plant.pages, plant.entrance),
            *status_page.routes(facade, plant.dispatcher, plant.entrance),
            *portal.routes(facade, plant.dispatcher, plant.entrance),
        )
        parts = web.Parts(
            queries=facade,
            commands=plant.dispatcher,
            credentials=plant.entrance,
            stream=stream,
            metrics=plant.metrics.exposition,
            advisories=self._advisories,
            ready=self._ready,
            doors=doors,
        )
        return web.create_app(parts, self._bell)

    def _advisories(self) -> bytes:
        return self._plant.context.adopted.advisories()

    def _ready(self) -> str:
        lag = self._projector.lag()
        if not self._restored:
            return "what ran before is still starting"
        return f"the projections are {lag} records behind" if lag > 5000 else ""

    def _inbox(self, actor: Actor) -> tuple[InboxEntry, ...]:
        options = self._plant.context.options
        developers = self._plant.context.adopted.access.options.developers
        approvers = {name: one.approval.groups for name, one in options.environments.items()}
        routes = routing.Routes(
            approvers=approvers,
            emergency={name: one.approval.emergency_groups for name, one in options.environments.items()},
            projects=dict.fromkeys(options.projects, developers),
            services=dict.fromkeys(options.services, developers),
            operators=self._plant.context.adopted.access.options.administrators,
        )
        entries = self._plant.inbox.entries(include_resolved=True)
        found = routing.inbox_of(entries, actor.id, actor.groups, routes, include_resolved=True)
        names = {field: field for field in InboxEntry.__dataclass_fields__}
        return tuple(InboxEntry(**{name: getattr(one, name) for name in names}) for one in found)

    def _stop(self) -> None:
        """End in the reverse order; what fails is said and the rest still ends."""
        plant = self._plant
        steps: list[tuple[str, Callable[[], None]]] = []
        if self._loops:
            steps += [
                ("runner", self._stop_runner),
                *((loop.name, loop.stop) for loop in self._loops if loop.name not in ("projector", "anchors")),
                ("flow", self._flow.stop),
            ]
        steps += [("cluster", plant.cluster.stop), ("traffic", plant.traffic.stop)]
        if self._started:
            steps += [
                ("ledger", lambda: self._note(events.ServerStopped(reason="asked to"))),
                ("anchors", self._anchors.write),
            ]
        steps += [(loop.name, loop.stop) for loop in self._loops if loop.name in ("projector", "anchors")]
        steps += [("projections", plant.projections.save), *(("store", close) for close in plant.closers)]
        for name, step in steps:
            try:
                step()
            except Exception as error:  # noqa: BLE001 - ending goes on whatever one part says
                self._reporter.say(f"stopping {name}", error)
        with contextlib.suppress(FileNotFoundError):
            (self._data / "server.json").unlink()
        self._socket.close()


class _Quiet(uvicorn.Server):
    """Without uvicorn's own signal handlers: the server's are set where its order of ending is known."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Nothing is captured here."""
        yield

    def stop(self) -> None:
        """Take no more requests and end."""
        self.should_exit = True
