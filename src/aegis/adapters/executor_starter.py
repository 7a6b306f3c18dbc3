"""Starts the processes of steps: from a keeper that forks them, or each as a program where the system has no process descriptors.

A started process waits for its request; `Started` says how it is written to, read, ended and waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final, Protocol

from aegis.core.errors import ExternalError

_SOURCE: Final = str(Path(__file__).parents[2])
INIT: Final = (
    sys.executable, "-I", "-S", "-c",
    f"import sys; sys.path.insert(0, {_SOURCE!r}); from aegis.adapters.executor_init.program import main; main()",
)  # fmt: skip
"""The command line of the init program, to which arguments are added."""
_REPORT: Final = 99
"""Where a kept step reports; `REPORT` of the init program."""
_LIMIT: Final = 1 << 16


class Started(Protocol):
    """An init process that waits for its request."""

    told: int
    """The descriptor that the request names for the report."""
    parent: int
    """Whose child it is."""
    report: int
    """Where the report is read here."""
    output: asyncio.StreamReader

    async def give(self, request: bytes) -> None:
        """Write the request; a process that is gone already says why in its report."""
        ...

    async def wait(self) -> None:
        """Until it has ended with everything it started."""
        ...

    @property
    def ended(self) -> bool:
        """Whether it has."""
        ...

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        ...

    def close(self) -> None:
        """Give its descriptors back, once it has ended."""
        ...


class _Kept:
    """A step that the keeper forked, seen through a process descriptor."""

    told = _REPORT

    def __init__(self, process: int, parent: int, request: int, report: int, output: asyncio.StreamReader) -> None:
        self.parent = parent
        self.report = report
        self.output = output
        self._request = request
        self._process = process
        self._over = asyncio.Event()
        asyncio.get_running_loop().add_reader(process, self._end)

    transport: asyncio.ReadTransport | None = None

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process)
        self._over.set()

    async def give(self, request: bytes) -> None:
        """See `Started`."""
        with contextlib.suppress(BrokenPipeError):
            if len(request) > _LIMIT // 2:
                await asyncio.to_thread(_write, self._request, request)
            else:
                _write(self._request, request)
        descriptor, self._request = self._request, -1
        if descriptor >= 0:
            os.close(descriptor)

    async def wait(self) -> None:
        """See `Started`."""
        await self._over.wait()

    @property
    def ended(self) -> bool:
        """See `Started`."""
        return self._over.is_set()

    def signal(self, number: signal.Signals) -> None:
        """See `Started`."""
        if self._process >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)

    def close(self) -> None:
        """See `Started`."""
        if not self._over.is_set() and self._process >= 0:
            asyncio.get_running_loop().remove_reader(self._process)
        if self.transport is not None:
            self.transport.close()
        # The number of a closed descriptor is soon another's: nothing is closed twice.
        descriptors = (self._process, self.report, self._request)
        self._process = self.report = self._request = -1
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)


class _Spawned:
    """A step that is a program started for it."""

    def __init__(self, process: asyncio.subprocess.Process, report: int, told: int) -> None:
        if process.stdout is None:
            raise ExternalError("executor", "a step was started without its pipes")
        self.parent = os.getpid()
        self.report = report
        self.told = told
        self.output = process.stdout
        self._process = process

    async def give(self, request: bytes) -> None:
        """See `Started`."""
        if self._process.stdin is None:
            return
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(request)
            await self._process.stdin.drain()
        self._process.stdin.close()

    async def wait(self) -> None:
        """See `Started`."""
        await self._process.wait()

    @property
    def ended(self) -> bool:
        """See `Started`."""
        return self._process.returncode is not None

    def signal(self, number: signal.Signals) -> None:
        """See `Started`."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def close(self) -> None:
        """See `Started`."""
        report, self.report = self.report, -1
        if report >= 0:
            os.close(report)


class Starter:
    """Keeps one keeper, which ends with this process. Used by one event loop at a time."""

    def __init__(self) -> None:
        self._door: socket.socket | None = None
        self._keeper: asyncio.subprocess.Process | None = None
        self._asking = asyncio.Lock()

    async def warm(self) -> None:
        """Start the keeper before it is needed; what fails fails again when it is."""
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                async with self._asking:
                    if self._door is None:
                        await self._open()

    async def take(self, ground: bytes = b"") -> Started:
        """A started process; `ExternalError` where none can be started. `ground` describes the one that its step stands on."""
        try:
            return await self._forked(ground) if hasattr(os, "pidfd_open") else await self._spawned()
        except OSError as error:
            raise ExternalError("executor", f"a step could not be started: {error.strerror}", retryable=True) from error

    async def _spawned(self) -> _Spawned:
        reader, writer = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *INIT,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
                pass_fds=(writer,), env={}, start_new_session=True,
            )  # fmt: skip
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        return _Spawned(process, reader, writer)

    async def _forked(self, ground: bytes) -> _Kept:
        request, output, report = os.pipe(), os.pipe(), os.pipe()
        mine, theirs = (request[1], output[0], report[0]), (request[0], output[1], report[1])
        try:
            async with self._asking:
                parent, pid = await self._ask(theirs, ground)
                process = os.pidfd_open(pid)
        except OSError:
            for descriptor in mine:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        stream = asyncio.StreamReader(limit=_LIMIT)
        loop = asyncio.get_running_loop()
        file = os.fdopen(output[0], "rb", buffering=0)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), file)
        made = _Kept(process, parent, request[1], report[0], stream)
        made.transport = transport
        return made

    async def _ask(self, descriptors: tuple[int, ...], ground: bytes) -> tuple[int, int]:
        """The keeper's process id and that of a new child of it, which has these descriptors."""
        loop = asyncio.get_running_loop()
        for attempt in range(2):
            if self._door is None or self._keeper is None:
                await self._open()
            door, keeper = self._door, self._keeper
            if door is None or keeper is None:
                continue
            try:
                message = len(ground).to_bytes(4) + ground
                sent = socket.send_fds(door, [message], list(descriptors))
                await loop.sock_sendall(door, message[sent:])
                answer = await loop.sock_recv(door, 10)
            except (BrokenPipeError, ConnectionError):
                answer = b""
            if answer:
                return keeper.pid, int(answer)
            # The keeper was ended from outside: another one takes over, and what it had running has failed.
            await self.close()
            if attempt:
                break
        raise OSError(0, "the keeper of steps has died")

    async def _open(self) -> None:
        here, there = socket.socketpair()
        here.setblocking(False)  # noqa: FBT003 - its only form
        try:
            self._keeper = await asyncio.create_subprocess_exec(
                *INIT, str(there.fileno()),
                stdin=asyncio.subprocess.DEVNULL, pass_fds=(there.fileno(),), env={}, start_new_session=True,
            )  # fmt: skip
        except OSError:
            here.close()
            raise
        finally:
            there.close()
        self._door = here

    async def close(self) -> None:
        """End the keeper."""
        door, keeper, self._door, self._keeper = self._door, self._keeper, None, None
        if door is not None:
            door.close()
        if keeper is not None:
            await keeper.wait()


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
