"""Keeps the relay of jobs' connections: one process for an executor, started when a job first needs it.

Decides nothing about where jobs may go: each step brings its rules. `program` is what runs there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_SOURCE: Final = str(Path(__file__).parents[3])
_PROGRAM: Final = (
    sys.executable, "-I", "-S", "-c",
    f"import sys; sys.path.insert(0, {_SOURCE!r}); from aegis.adapters.relay.program import main; main()",
)  # fmt: skip


class Relay:
    """Used by one event loop at a time. `environ` is the machine's, of which its proxies count."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._settings = _settings(environ)
        self._folder: Path | None = None
        self._door: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()

    async def path(self) -> str:
        """The path on which steps hand in their listeners. Who connects is served as soon as the relay has started."""
        async with self._starting:
            return await self._path()

    async def _path(self) -> str:
        if self._folder is None or self._door is None:
            self._folder = Path(tempfile.mkdtemp(prefix="aegis-relay-"))
            self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._door.bind(str(self._folder / "door"))
            self._door.listen(512)
        if self._process is None or self._process.returncode is not None:
            # What an ended relay held of its steps is lost; the listeners of later ones are new.
            process = await asyncio.create_subprocess_exec(
                *_PROGRAM, str(self._door.fileno()),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, pass_fds=(self._door.fileno(),),
                env={}, start_new_session=True,
            )  # fmt: skip
            self._process = process
            if process.stdin is not None:
                process.stdin.write(self._settings)
        return str(self._folder / "door")

    async def close(self) -> None:
        """End it."""
        process, door, folder = self._process, self._door, self._folder
        self._process = self._door = self._folder = None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                try:
                    await asyncio.wait_for(process.wait(), 5)
                except TimeoutError:
                    process.kill()
                    await process.wait()
        if door is not None:
            door.close()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _settings(environ: Mapping[str, str]) -> bytes:
    proxies = {}
    for scheme in ("http", "https"):
        names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
        found = next((environ[name] for name in names if environ.get(name)), "")
        if found:
            proxies[scheme] = found if "://" in found else f"http://{found}"
    bypass = (environ.get("no_proxy") or environ.get("NO_PROXY") or "").replace(" ", "").split(",")
    return json.dumps({"proxies": proxies, "bypass": [one for one in bypass if one]}).encode() + b"\n"
