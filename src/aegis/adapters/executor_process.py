"""`Executor` without isolation: a job is a process tree of this user. For local runs where nothing better is there.

`StepSandbox` is shared with the namespace executor: both have `executor_init` carry out every step. On Linux a subreaper finds descendants that made sessions of their own; elsewhere only the step's
process group is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import marshal
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from aegis.adapters.control_groups import ControlGroups
from aegis.adapters.executor_starter import Started, Starter
from aegis.adapters.shell_interactive import attend
from aegis.adapters.step_file import lay
from aegis.core.errors import ExternalError
from aegis.core.spent import JobUsage
from aegis.execution.images import command
from aegis.execution.network import NetworkPolicy, told
from aegis.execution.ports import Exit, Place, Sandbox, SandboxRequest, TraceSink

_READ: Final = 64 * 1024
_DRAIN_SECONDS: Final = 3.0


@functools.cache
def shell() -> str:
    """The shell of every step: bash, or the system's `sh` where there is no bash."""
    return shutil.which("bash", path="/bin:/usr/bin:/usr/local/bin") or "/bin/sh"


def outside_places(root: Path) -> dict[str, Path]:
    """The four directories of a job below its root."""
    return {name: root / name for name in ("work", "tmp", "home", "files")}


class StepSandbox:
    """Runs the steps of one job through the init program. `settings` are its request, apart from the step."""

    def __init__(
        self,
        request: SandboxRequest,
        settings: Mapping[str, Any],
        *,
        grace: float,
        starter: Starter,
        groups: ControlGroups | None = None,
        ground: bytes = b"",
    ) -> None:
        self._ground = ground
        self._groups = groups
        self._group = groups.make(request.limits) if groups is not None else None
        self._starter = starter
        self._request = request
        self._settings = settings
        self._grace = grace
        self._process: Started | None = None
        self._stopped = False
        self._steps = 0

    async def run(self, script: bytes, environment: Mapping[str, str], sink: TraceSink) -> Exit:
        """See `Sandbox`."""
        place = self._request.place
        self._stopped = False
        self._steps += 1
        name = f".step-{self._steps}"
        lay(place.files / name, script)
        document = self._document(f"{place.inner_files}/{name}", environment)
        started = await self._starter.take(self._ground)
        self._process = started
        if self._stopped:
            self._terminate()
        try:
            await self._carry(started, {**document, "report": started.told, "parent": started.parent}, sink)
            with os.fdopen(started.report, "rb", closefd=False) as file:
                return self._counted(self._outcome(file.read()))
        finally:
            await self._end()
            started.close()

    def _document(self, script: str, environment: Mapping[str, str]) -> dict[str, Any]:
        request, limits, group = self._request, self._request.limits, self._group
        names = [name for one in request.services for name in one.aliases]
        return {
            **self._settings,
            "argv": self._argv(script),
            "environment": told(request.network, environment, names),
            "directory": self._request.place.inner_work,
            "grace": self._grace,
            "limits": {
                # Without a group the bound of the whole is at least that of each process.
                "memory": limits.memory or (0 if group is not None and group.bounds_memory else limits.total_memory),
                "processes": limits.processes,
                "files": limits.files,
            },
            "groups": group.entrances if group is not None else [],
        }

    def _argv(self, *script: str) -> list[str]:
        image = self._request.image
        if image is None:
            return [shell(), *script]
        return command(image.entrypoint, self._request.entrypoint, image.shell_path, script)

    @staticmethod
    async def _carry(started: Started, document: Mapping[str, Any], sink: TraceSink) -> None:
        await started.give(marshal.dumps(dict(document)))

        async def copy() -> None:
            while data := await started.output.read(_READ):
                await sink.write(data)

        copying = asyncio.create_task(copy())
        try:
            await asyncio.wait({copying, asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_EXCEPTION)
            if not copying.done():
                await asyncio.wait_for(copying, _DRAIN_SECONDS)
            copying.result()
        finally:
            copying.cancel()

    def _counted(self, ended: Exit | None) -> Exit:
        """The end with what the job's group has counted; None is an end without a word."""
        usage, killed = self._group.since(ended.usage if ended else None) if self._group is not None else (None, 0)
        if ended is None and not killed:
            raise ExternalError("executor", "the step's first process died without a word", retryable=True)
        ended = ended or Exit(code=128 + signal.SIGKILL)
        return replace(ended, usage=usage or ended.usage, out_of_memory=killed > 0)

    def _outcome(self, told: bytes) -> Exit | None:
        usage: JobUsage | None = None
        for line in told.decode("utf-8", "replace").splitlines():
            kind, _, what = line.partition(" ")
            if kind == "used":
                seconds, *sizes = what.split()
                peak, read, written = (int(one) for one in sizes)
                usage = JobUsage(cpu_seconds=float(seconds), peak_memory=peak, read_bytes=read, written_bytes=written)
                continue
            if kind == "exit":
                return Exit(code=int(what), stopped=self._stopped, usage=usage)
            raise ExternalError("isolation", f"the step's world could not be made: {what}", hint="aegis doctor")
        return Exit(code=128 + signal.SIGKILL, stopped=True) if self._stopped else None

    async def stop(self) -> None:
        """See `Sandbox`."""
        self._stopped = True
        self._terminate()
        process = self._process
        if process is not None and not process.ended:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), self._grace + 2.0)
                return
            process.signal(signal.SIGKILL)

    def _terminate(self) -> None:
        if self._process is not None and not self._process.ended:
            self._process.signal(signal.SIGTERM)

    async def _end(self) -> None:
        process = self._process
        if process is not None and not process.ended:
            self._terminate()
            try:
                await asyncio.wait_for(process.wait(), self._grace + 2.0)
            except TimeoutError:
                process.signal(signal.SIGKILL)
                await process.wait()
        self._process = None

    async def interact(self, environment: Mapping[str, str], terminal: int = 0) -> None:
        """See `Sandbox`."""
        term = {"TERM": os.environ.get("TERM", "dumb"), "PS1": "job \\w $ "}
        image = self._request.image
        program = shell() if image is None else image.shell_path
        quiet = ("--norc", "--noprofile") if program.endswith("bash") else ()
        document = {**self._document("", {**environment, **term}), "argv": [program, *quiet, "-i"]}
        await asyncio.to_thread(attend, document, terminal)

    async def cleanup(self) -> None:
        """See `Sandbox`."""
        await self._end()
        group, self._group = self._group, None
        if group is not None and self._groups is not None:
            self._groups.give_back(group)


class ProcessExecutor:
    """Runs jobs as this user, side by side with everything else. `grace` seconds lie between asking and forcing."""

    def __init__(self, *, grace: float = 1.0) -> None:
        self._grace = grace
        self._starter = Starter()

    @property
    def isolation(self) -> str:
        """See `Executor`."""
        return "process"

    @property
    def owner(self) -> tuple[int, int] | None:
        """See `Executor`."""
        return None

    @property
    def carries_images(self) -> bool:
        """See `Executor`. Without namespaces there is no root but the machine's."""
        return False

    @property
    def carries_tools(self) -> bool:
        """See `Executor`."""
        return True

    @property
    def carries_services(self) -> bool:
        """See `Executor`."""
        return False

    def place(self, root: Path, project: str) -> Place:  # noqa: ARG002 - the project is not part of the paths here
        """See `Executor`. Inside is outside."""
        paths = outside_places(root)
        inner = {f"inner_{name}": str(path) for name, path in paths.items()}
        return Place(root=root, **paths, **inner)  # type: ignore[arg-type]

    async def warm(self) -> None:
        """See `Executor`."""
        await self._starter.warm()

    async def prepare(self, request: SandboxRequest) -> Sandbox:
        """See `Executor`. Read-only and writable directories are where they are."""
        if request.image is not None:
            raise ExternalError(
                "no-isolation", "an image cannot be a job's root here", hint="use --executor namespaces"
            )
        if request.network.policy is not NetworkPolicy.ALL:
            raise ExternalError(
                "no-isolation", f"without namespaces a job's network is the machine's, not {request.network.policy}",
                hint="use --executor namespaces, or allow it: --network all, runner: {network: all}",
            )  # fmt: skip
        return StepSandbox(request, {"mode": "process"}, grace=self._grace, starter=self._starter)

    async def close(self) -> None:
        """See `Executor`."""
        await self._starter.close()
