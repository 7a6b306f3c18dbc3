"""Services beside a job without a container engine: each is a step of its own image, in the job's network.

A process that does nothing else holds that network. Every service has a loopback address of its own there, which its names lead to in
the job and in the other services; it is told as `AEGIS_SERVICE_ADDRESS`, since two that listen on every address cannot have one port.
A service is `job` as everybody else is, whatever its image's `USER` says. It is ready when its port accepts; an image's own health check
is not run. What a service says is kept, and shown when it does not become ready or the job asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Final

from aegis.adapters.control_groups import ControlGroups
from aegis.adapters.executor_process import StepSandbox
from aegis.adapters.executor_starter import Started, Starter
from aegis.core.errors import ExternalError
from aegis.core.values import dataclass
from aegis.execution.images import DEFAULT_PATH, command
from aegis.execution.network import Network, told
from aegis.execution.ports import SandboxRequest, ServiceRequest, TraceSink

_READ: Final = 64 * 1024
_KEPT: Final = 64 * 1024
_FIRST: Final = 11
"""The last number of the first service's address."""
_ENDING: Final = 2.0
LOCAL: Final = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


@dataclass(slots=True)
class _Service:
    """One that runs, and the end of what it said."""

    asked: ServiceRequest
    address: str
    started: Started
    said: bytearray = field(default_factory=bytearray)
    carrying: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What services have in common with their job: the settings of its steps, and how an image's overlay is made."""

    settings: Mapping[str, Any]
    network: Network
    overlay: Callable[[Path, Path], str]
    grace: float


class Services:
    """The services of one job, and the network they share with it."""

    def __init__(self, request: SandboxRequest, around: Surroundings, starter: Starter) -> None:
        self._request = request
        self._around = around
        self._starter = starter
        self._holder: Started | None = None
        self._refusals: asyncio.Task[None] | None = None
        self._running: list[_Service] = []
        self.within = ""
        """Where the network's namespaces lie, once it is held."""
        self.hosts = request.place.root / "hosts"

    async def start(self, entrances: Sequence[str]) -> None:
        """Start them all, and wait for each as long as it asks. Those that do not become ready are said in the log."""
        addressed = [(one, f"127.0.0.{_FIRST + number}") for number, one in enumerate(self._request.services)]
        lines = [f"{address}\t{' '.join(one.aliases)}\n" for one, address in addressed if one.aliases]
        self.hosts.write_text(LOCAL + "".join(lines), encoding="ascii")
        await self._hold()
        for number, (one, address) in enumerate(addressed):
            self._running.append(await self._start(number, one, address, entrances))
        await asyncio.gather(*(self._await_one(one) for one in self._running))

    async def _hold(self) -> None:
        holder = await self._starter.take()
        self._holder = holder
        settings = {key: self._around.settings[key] for key in ("mode", "network")}
        await holder.give(marshal.dumps({**settings, "hold": True, "report": holder.told, "parent": holder.parent}))
        said = (await asyncio.to_thread(os.read, holder.report, 4096)).decode("utf-8", "replace").strip()
        kind, _, what = said.partition(" ")
        if kind != "holds":
            raise ExternalError(
                "isolation", f"the job's network could not be made: {what or said}", hint="aegis doctor"
            )
        self.within = f"/proc/{what}/ns"
        self._refusals = asyncio.create_task(self._copy(holder))

    async def _copy(self, holder: Started) -> None:
        """What the relay refuses is said on the output of whoever holds the network."""
        while data := await holder.output.read(_READ):
            if self._request.log is not None:
                await self._request.log.write(data)

    async def _start(self, number: int, one: ServiceRequest, address: str, entrances: Sequence[str]) -> _Service:
        root = self._request.place.root / f"service-{number}"
        mountpoint = root / "root"
        mountpoint.mkdir(parents=True)
        image = one.image
        asked = one.command if one.command is not None else image.command if one.entrypoint is None else ()
        argv = command(image.entrypoint, one.entrypoint, "", asked)
        if not (words := [word for word in argv if word]):
            raise ExternalError("service", f"the service {one.name} has no command", hint="name one: command: [...]")
        limits = self._request.limits
        values = {
            "PATH": DEFAULT_PATH, "HOME": "/home/job", **image.environment, **one.variables, "AEGIS_SERVICE_ADDRESS": address,
        }  # fmt: skip
        started = await self._starter.take()
        settings = {key: self._around.settings[key] for key in ("mode", "owner", "network")}
        document = {
            **settings, "root": str(mountpoint), "image": self._around.overlay(image.path, root), "read_only": [], "writable": [],
            "given": [["/etc/hosts", str(self.hosts)]], "service": True, "within": self.within, "argv": words,
            "environment": told(self._around.network, values, self._names()), "directory": image.directory or "/",
            "grace": self._around.grace, "groups": list(entrances),
            "limits": {"memory": limits.memory, "processes": limits.processes, "files": limits.files},
            "report": started.told, "parent": started.parent,
        }  # fmt: skip
        made = _Service(asked=one, address=address, started=started)
        made.carrying = asyncio.create_task(self._carry(made))
        await started.give(marshal.dumps(document))
        return made

    def _names(self) -> list[str]:
        return [name for one in self._request.services for name in one.aliases]

    async def _carry(self, service: _Service) -> None:
        """Keep the end of what it says, and show it where the job wants to see it."""
        name = service.asked.aliases[-1] if service.asked.aliases else service.asked.name
        rest = b""
        while data := await service.started.output.read(_READ):
            service.said += data
            del service.said[:-_KEPT]
            if self._request.show_services and self._request.log is not None:
                *lines, rest = (rest + data).split(b"\n")
                rest = rest[-_KEPT:]
                await self._request.log.write(b"".join(b"[%s] %s\n" % (name.encode(), line) for line in lines))

    async def _await_one(self, service: _Service) -> None:
        """Until its port accepts, it has ended, or its time is over."""
        one = service.asked
        if not one.port:
            return
        waiting = asyncio.create_task(self._accepts(service.address, one.port, one.wait_seconds))
        ending = asyncio.create_task(service.started.wait())
        try:
            await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
            ready = waiting.done() and waiting.result()
        finally:
            await _dropped(waiting, ending)
        if not ready:
            await self._complain(service)

    async def _accepts(self, address: str, port: int, seconds: float) -> bool:
        probe = await self._starter.take()
        try:
            document = {
                "mode": self._around.settings["mode"], "within": self.within, "probe": [address, port, seconds],
                "report": probe.told, "parent": probe.parent,
            }  # fmt: skip
            await probe.give(marshal.dumps(document))
            await probe.wait()
            with os.fdopen(probe.report, "rb", closefd=False) as file:
                return file.read().strip() == b"exit 0"
        finally:
            if not probe.ended:
                probe.signal(signal.SIGKILL)
                await probe.wait()
            probe.close()

    async def _complain(self, service: _Service) -> None:
        one = service.asked
        if service.started.ended:
            how = "has ended before it was ready"
            if service.carrying is not None:
                await asyncio.wait({service.carrying}, timeout=1)
        else:
            how = f"did not accept on port {one.port} within {one.wait_seconds:g} s"
        text = bytes(service.said[-4096:]).decode("utf-8", "replace").rstrip()
        said = f"; lately it said:\n{text}" if text else ", and said nothing"
        await _write(self._request.log, f"WARNING: the service {one.name} {how}{said}\n")

    async def stop(self) -> None:
        """End them and the network. Idempotent."""
        running, self._running = self._running, []
        holder, self._holder = self._holder, None
        for one in running:
            one.started.signal(signal.SIGTERM)
        for one in running:
            await _over(one.started)
            if one.carrying is not None:
                await asyncio.wait({one.carrying}, timeout=1)
                await _dropped(one.carrying)
            one.started.close()
        if holder is not None:
            holder.signal(signal.SIGKILL)
            await holder.wait()
            if self._refusals is not None:
                await asyncio.wait({self._refusals}, timeout=1)
                await _dropped(self._refusals)
            holder.close()


async def _over(started: Started) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(started.wait(), _ENDING)
        return
    started.signal(signal.SIGKILL)
    await started.wait()


async def _dropped(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _write(log: TraceSink | None, text: str) -> None:
    if log is not None:
        await log.write(text.encode())


class ServedSandbox(StepSandbox):
    """The steps of a job that has services: in their network, with their names."""

    def __init__(
        self,
        request: SandboxRequest,
        settings: Mapping[str, Any],
        services: Services,
        *,
        grace: float,
        starter: Starter,
        groups: ControlGroups | None,
    ) -> None:
        super().__init__(request, settings, grace=grace, starter=starter, groups=groups)
        self._services = services

    async def start(self) -> None:
        """Start the services; where that fails, nothing of them is left."""
        try:
            await self._services.start(self._group.entrances if self._group is not None else [])
        except BaseException:
            await self.cleanup()
            raise
        more = {"within": self._services.within, "given": [["/etc/hosts", str(self._services.hosts)]]}
        self._settings = {**self._settings, **more}

    async def cleanup(self) -> None:
        """See `Sandbox`."""
        await self._end()
        await self._services.stop()
        await super().cleanup()
