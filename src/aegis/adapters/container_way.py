"""The way out of a container whose network leads nowhere: listeners in it, whose connections the relay carries on.

`Way` keeps one for a step; `main` is the program that enters the container's network, makes the listeners, hands them to the
relay and stays until its standard input ends. Only root can enter; where jobs may go is the relay's to judge.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from aegis.core.errors import ExternalError
from aegis.execution.ports import TraceSink

_SOURCE: Final = str(Path(__file__).parents[2])
_PROGRAM: Final = (
    sys.executable, "-I", "-S", "-c",
    f"import sys; sys.path.insert(0, {_SOURCE!r}); from aegis.adapters.container_door import main; main()",
)  # fmt: skip
_READ: Final = 1 << 16


class Way:
    """The way out of one step. `wanted` is what `executor_init.network` makes of a request."""

    def __init__(self, wanted: dict[str, Any], gate: Path, owner: tuple[int, int]) -> None:
        self._wanted = wanted
        self._gate = gate
        self._process: asyncio.subprocess.Process | None = None
        self._copying: asyncio.Task[None] | None = None
        gate.unlink(missing_ok=True)
        os.mkfifo(gate, 0o600)
        os.chown(gate, *owner)
        # Open at both ends: nobody waits here, and the step finds its line whenever it comes.
        self._door = os.open(gate, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    async def open(self, process: int, sink: TraceSink) -> None:
        """Make it in the network of the container's first process, and let the step begin."""
        self._process = made = await asyncio.create_subprocess_exec(
            *_PROGRAM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={},
            start_new_session=True,
        )  # fmt: skip
        if made.stdin is None or made.stderr is None:
            raise ExternalError("network", "the way out was started without its pipes")
        made.stdin.write(json.dumps({**self._wanted, "process": process}).encode() + b"\n")
        told = (await made.stderr.readline()).decode("utf-8", "replace").strip()
        if told != "ready":
            raise ExternalError("network", f"the job's way out could not be made: {told or 'it ended without a word'}")
        self._copying = asyncio.create_task(self._copy(sink))
        os.write(self._door, b"go\n")

    async def _copy(self, sink: TraceSink) -> None:
        output = self._process.stdout if self._process is not None else None
        while output is not None and (data := await output.read(_READ)):
            await sink.write(data)

    async def close(self) -> None:
        """End it; what the relay said last has arrived then."""
        door, self._door = self._door, -1
        if door >= 0:
            os.close(door)
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            await self._process.wait()
        if self._copying is not None:
            self._copying.cancel()
