"""`Executor` without isolation: a job is a process tree of this user. For local runs where nothing better is there.

`StepSandbox` is shared with the namespace executor: both start `executor_namespace_init.py` for every step and speak
its one protocol. On Linux a subreaper finds descendants that made sessions of their own; elsewhere only the step's
process group is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aegis.core.errors import ExternalError
from aegis.execution.ports import Exit, Place, Sandbox, SandboxRequest, TraceSink

_INIT: Final = str(Path(__file__).with_name("executor_namespace_init.py"))
_READ: Final = 64 * 1024
_DRAIN_SECONDS: Final = 3.0


def shell() -> str:
    """The shell of every step: bash, or the system's `sh` where there is no bash."""
    return shutil.which("bash", path="/bin:/usr/bin:/usr/local/bin") or "/bin/sh"


def outside_places(root: Path) -> dict[str, Path]:
    """The four directories of a job below its root."""
    return {name: root / name for name in ("work", "tmp", "home", "files")}


@dataclass(frozen=True, slots=True)
class _Started:
    """An init program that waits for its request. `report` is read here, `told` is the same pipe's end over there."""

    process: asyncio.subprocess.Process
    report: int
    told: int


async def _start() -> _Started:
    reader, writer = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", _INIT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            pass_fds=(writer,), env={}, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        os.close(reader)
        raise ExternalError("executor", f"a step could not be started: {error.strerror}") from error
    finally:
        os.close(writer)
    return _Started(process, reader, writer)


class Starter:
    """Keeps one init program started ahead, so that a step does not wait for an interpreter."""

    def __init__(self) -> None:
        self._ahead: asyncio.Task[_Started] | None = None

    async def take(self) -> _Started:
        """A started program; the next is started meanwhile."""
        ahead, self._ahead = self._ahead, None
        started = await _start() if ahead is None else await ahead
        if started.process.returncode is not None:
            os.close(started.report)
            started = await _start()
        self._ahead = asyncio.create_task(_start())
        return started

    async def close(self) -> None:
        """End the program that waits."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        with contextlib.suppress(ExternalError):
            started = await ahead
            os.close(started.report)
            # Without a request it leaves.
            await started.process.communicate(b"")


class StepSandbox:
    """Runs the steps of one job through the init program. `settings` are its request, apart from the step."""

    def __init__(self, request: SandboxRequest, settings: Mapping[str, Any], *, grace: float, starter: Starter) -> None:
        self._starter = starter
        self._request = request
        self._settings = settings
        self._grace = grace
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False
        self._steps = 0

    async def run(self, script: bytes, environment: Mapping[str, str], sink: TraceSink) -> Exit:
        """See `Sandbox`."""
        place = self._request.place
        self._stopped = False
        self._steps += 1
        name = f".step-{self._steps}"
        (place.files / name).write_bytes(script)
        document = self._document(f"{place.inner_files}/{name}", environment)
        started = await self._starter.take()
        process = started.process
        self._process = process
        if self._stopped:
            self._terminate()
        try:
            await self._carry(process, {**document, "report": started.told, "parent": os.getpid()}, sink)
            with os.fdopen(started.report, "rb", closefd=False) as file:
                return self._outcome(file.read())
        finally:
            await self._end()
            os.close(started.report)

    def _document(self, script: str, environment: Mapping[str, str]) -> dict[str, Any]:
        limits = self._request.limits
        return {
            **self._settings,
            "argv": [shell(), script],
            "environment": dict(environment),
            "directory": self._request.place.inner_work,
            "grace": self._grace,
            "limits": {"memory": limits.memory, "processes": limits.processes, "files": limits.files},
        }

    @staticmethod
    async def _carry(process: asyncio.subprocess.Process, document: Mapping[str, Any], sink: TraceSink) -> None:
        if process.stdin is None or process.stdout is None:
            raise ExternalError("executor", "a step was started without its pipes")
        # A process that is gone already says why in its report.
        with contextlib.suppress(ConnectionError):
            process.stdin.write(marshal.dumps(dict(document)))
            await process.stdin.drain()
        process.stdin.close()
        stream = process.stdout

        async def copy() -> None:
            while data := await stream.read(_READ):
                await sink.write(data)

        copying = asyncio.create_task(copy())
        try:
            await asyncio.wait({copying, asyncio.create_task(process.wait())}, return_when=asyncio.FIRST_EXCEPTION)
            await asyncio.wait_for(copying, _DRAIN_SECONDS)
        finally:
            copying.cancel()

    def _outcome(self, told: bytes) -> Exit:
        for line in told.decode("utf-8", "replace").splitlines():
            kind, _, what = line.partition(" ")
            if kind == "exit":
                return Exit(code=int(what), stopped=self._stopped)
            raise ExternalError("isolation", f"the step's world could not be made: {what}", hint="aegis doctor")
        if self._stopped:
            return Exit(code=128 + signal.SIGKILL, stopped=True)
        raise ExternalError("executor", "the step's first process died without a word", retryable=True)

    async def stop(self) -> None:
        """See `Sandbox`."""
        self._stopped = True
        self._terminate()
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), self._grace + 2.0)
                return
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def _terminate(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    async def _end(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            self._terminate()
            try:
                await asyncio.wait_for(process.wait(), self._grace + 2.0)
            except TimeoutError:
                process.kill()
                await process.wait()
        self._process = None

    async def cleanup(self) -> None:
        """See `Sandbox`."""
        await self._end()


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

    def place(self, root: Path, project: str) -> Place:  # noqa: ARG002 - the project is not part of the paths here
        """See `Executor`. Inside is outside."""
        paths = outside_places(root)
        inner = {f"inner_{name}": str(path) for name, path in paths.items()}
        return Place(root=root, **paths, **inner)  # type: ignore[arg-type]

    async def prepare(self, request: SandboxRequest) -> Sandbox:
        """See `Executor`. Read-only and writable directories are where they are."""
        return StepSandbox(request, {"mode": "process"}, grace=self._grace, starter=self._starter)

    async def close(self) -> None:
        """See `Executor`."""
        await self._starter.close()
