"""The services of one job in a container engine: a network of their own, its containers, the wait until they are ready.

What a service says is read all the time: its end is shown where it does not come up, all of it when the job asks for that.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from aegis.adapters.container_engine import Engine, Stream
from aegis.core.errors import ExternalError
from aegis.execution import containers
from aegis.execution.containers import ContainerPolicy, Surroundings
from aegis.execution.ports import SandboxRequest, ServiceRequest

_LOOK_SECONDS: Final = 0.1
_TAIL: Final = 4096
_LINE: Final = 1 << 16
_CONNECT_SECONDS: Final = 1.0


class _Voice:
    """What a service writes, by lines; the last of it is kept."""

    def __init__(self, stream: Stream, name: str, request: SandboxRequest) -> None:
        self._stream = stream
        self._name = name
        self._request = request
        self.tail = bytearray()
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        log, line = self._request.log, bytearray()
        with contextlib.suppress(ExternalError, OSError):
            async for data in self._stream.output():
                self.tail = (self.tail + data)[-_TAIL:]
                if log is None or not self._request.show_services:
                    continue
                line += data
                whole, newline, rest = bytes(line).rpartition(b"\n")
                if newline or len(line) > _LINE:
                    given = whole if newline else bytes(line)
                    line = bytearray(rest if newline else b"")
                    mark = f"[service:{self._name}] ".encode()
                    await log.write(b"".join(mark + one + b"\n" for one in given.split(b"\n")))

    async def close(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        self._stream.close()


class Services:
    """Those of `request`, in a network called `name`. `close` takes all of it away, whatever `start` came to."""

    def __init__(
        self, engine: Engine, request: SandboxRequest, policy: ContainerPolicy, around: Surroundings, *, name: str
    ) -> None:
        self._engine = engine
        self._request = request
        self._policy = policy
        self._around = around
        self._name = name
        self._network = ""
        self._ids: list[str] = []
        self._voices: list[_Voice] = []

    async def start(self) -> Surroundings:
        """Start them one after another, wait for all at once; what the job's own container is surrounded by."""
        try:
            wish = {"Name": self._name, "Labels": dict(self._around.labels), "CheckDuplicate": True, "Driver": "bridge"}
            if self._around.closed:
                # Nor is the machine itself reached by its address in there.
                wish |= {"Internal": True, "Options": {"com.docker.network.bridge.inhibit_ipv4": "true"}}
            made = await self._engine.need("POST", "/networks/create", {}, wish)
            self._network = str(made["Id"])
            around = replace(self._around, network=self._name)
            begun = []
            for service in self._request.services:
                address, container, voice = await self._begin(service, around)
                begun.append((service, container, voice))
                if address:
                    around = replace(around, hosts=(*around.hosts, *(f"{one}:{address}" for one in service.aliases)))
            await asyncio.gather(*(self._await(*one) for one in begun))
        except BaseException:
            await asyncio.shield(self.close())
            raise
        return around

    async def _begin(self, service: ServiceRequest, around: Surroundings) -> tuple[str, str, _Voice]:
        names = ", ".join(service.aliases)
        await self._say(f"Starting the service {service.name} ({names}) ...")
        mine = replace(around, keep_id=False)
        document = containers.service_document(service, mine, self._policy, self._request.place)
        container = str((await self._engine.need("POST", "/containers/create", {}, document))["Id"])
        self._ids.append(container)
        here = f"/containers/{container}"
        if self._engine.name == "podman":
            await self._engine.ask("POST", f"/libpod{here}/init")
        stream = await self._engine.open("POST", f"{here}/attach", {"stream": 1, "stdout": 1, "stderr": 1})
        voice = _Voice(stream, service.aliases[0] if service.aliases else service.name, self._request)
        self._voices.append(voice)
        started = await self._engine.ask("POST", f"{here}/start")
        if started.status >= 300:
            raise ExternalError("service", f"the service {service.name} could not be started: {started.message}")
        found = await self._engine.need("GET", f"{here}/json")
        networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
        return str((networks.get(self._name) or {}).get("IPAddress") or ""), container, voice

    async def _await(self, service: ServiceRequest, container: str, voice: _Voice) -> None:
        if not service.port and service.image.health is None:
            return
        trouble = f"it was not ready within {service.wait_seconds:g} s"
        with contextlib.suppress(TimeoutError):
            trouble = await asyncio.wait_for(self._watch(service, container), service.wait_seconds)
        if trouble:
            what = "its health check" if service.image.health is not None else f"port {service.port}"
            await self._say(f"WARNING: the service {service.name} probably did not start properly ({what}): {trouble}.")
            for line in bytes(voice.tail).decode("utf-8", "replace").splitlines()[-20:]:
                await self._say(f"  {line}")

    async def _watch(self, service: ServiceRequest, container: str) -> str:
        """Until it is ready (empty), or has ended: then how."""
        while True:
            found = await self._engine.need("GET", f"/containers/{container}/json")
            state = found.get("State") or {}
            if not state.get("Running"):
                return f"it ended with exit code {state.get('ExitCode')}"
            if service.image.health is not None:
                answer = await self._healthy(service, container, state)
            else:
                answer = await self._listens(service.port, found)
            if answer:
                return ""
            await asyncio.sleep(_LOOK_SECONDS)

    async def _healthy(self, service: ServiceRequest, container: str, state: dict[str, Any]) -> bool:
        """By the engine's own check where it makes one, else asked here; podman without systemd makes none."""
        if (state.get("Health") or state.get("Healthcheck") or {}).get("Status") == "healthy":
            return True
        check = service.image.health
        if check is None:
            return False
        wish = {"Cmd": list(check.argv), "AttachStdout": True, "AttachStderr": True}
        made = await self._engine.ask("POST", f"/containers/{container}/exec", {}, wish)
        if made.status >= 300:
            return False
        task = str(made.value["Id"])
        with contextlib.suppress(TimeoutError, ExternalError):
            await asyncio.wait_for(
                self._engine.ask("POST", f"/exec/{task}/start", {}, {"Detach": False}), check.timeout
            )
            told = await self._engine.need("GET", f"/exec/{task}/json")
            return not told.get("Running") and told.get("ExitCode") == 0
        return False

    async def _listens(self, port: int, found: dict[str, Any]) -> bool:
        """Whether somebody listens: by the kernel's table where the process is in sight, else by a connection."""
        tables = [Path(f"/proc/{(found.get('State') or {}).get('Pid', 0)}/net/{kind}") for kind in ("tcp", "tcp6")]
        try:
            return any(containers.listening(one.read_text(encoding="ascii"), port) for one in tables if one.exists())
        except OSError:
            networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
            address = (networks.get(self._name) or {}).get("IPAddress")
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), _CONNECT_SECONDS)
        except OSError:
            return False
        writer.close()
        return True

    async def _say(self, text: str) -> None:
        if self._request.log is not None:
            await self._request.log.write(f"{text}\n".encode())

    async def close(self) -> None:
        """Take everything away; idempotent."""
        for voice in self._voices:
            await voice.close()
        for container in self._ids:
            await self._engine.ask("DELETE", f"/containers/{container}", {"force": 1, "v": 1})
        if self._network:
            await self._engine.ask("DELETE", f"/networks/{self._network}")
        self._voices, self._ids, self._network = [], [], ""
