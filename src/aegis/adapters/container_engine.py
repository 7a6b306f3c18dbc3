"""A container engine by its HTTP interface on a Unix socket: Docker Engine's, which podman speaks as well.

One connection per question; streams are read as slowly as their reader likes. Decides nothing about containers. Programs and
paths are given; `Keeper` starts podman's service where none runs, and cleans up after a runner that was killed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from aegis.core.errors import ExternalError

VERSION: Final = "v1.40"
"""Docker 19.03 and podman 3 know it, and everything newer."""
_KEEPER: Final = str(Path(__file__).with_name("container_keeper.py"))
_LIMIT: Final = 1 << 16
_OUTPUTS: Final = frozenset({0, 1, 2})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the engine answered; `value` is its document, or None."""

    status: int
    body: bytes

    @property
    def value(self) -> Any:
        """The document in the body."""
        try:
            return json.loads(self.body) if self.body.strip() else None
        except ValueError:
            return None

    @property
    def message(self) -> str:
        """What the engine says went wrong."""
        found = self.value
        text = found.get("message") or found.get("cause") if isinstance(found, dict) else None
        return str(text or self.body.decode("utf-8", "replace").strip() or f"status {self.status}")


class Stream:
    """The body of an answer while it arrives."""

    def __init__(
        self, status: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, chunked: bool
    ) -> None:
        self.status = status
        self._reader = reader
        self._writer = writer
        self._chunked = chunked
        self._rest = bytearray()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, as it comes."""
        while True:
            if self._chunked:
                size = int((await self._reader.readline()).split(b";")[0].strip() or b"0", 16)
                if size == 0:
                    return
                left = size
                while left:
                    data = await self._reader.read(min(left, _LIMIT))
                    if not data:
                        return
                    left -= len(data)
                    yield data
                await self._reader.readline()
            else:
                data = await self._reader.read(_LIMIT)
                if not data:
                    return
                yield data

    async def output(self) -> AsyncIterator[bytes]:
        """What a container without a terminal writes, both streams as one: frames of eight bytes and their data."""
        held, left = bytearray(), 0
        async for piece in self.pieces():
            view = memoryview(piece)
            while view:
                if left:
                    part, view = view[:left], view[left:]
                    left -= len(part)
                    yield bytes(part)
                    continue
                need = 8 - len(held)
                held += view[:need]
                view = view[need:]
                if len(held) == 8:
                    if held[0] not in _OUTPUTS:
                        raise ExternalError("engine", "the container engine sent output that is no frame")
                    left = int.from_bytes(held[4:], "big")
                    held.clear()

    async def body(self) -> bytes:
        """All of it."""
        return b"".join([piece async for piece in self.pieces()])

    def close(self) -> None:
        """The engine need not send more."""
        self._writer.close()


class Engine:
    """`name` is `docker` or `podman`, `socket` where it listens. Used from any loop; `ExternalError` where it is away."""

    def __init__(self, name: str, socket: str) -> None:
        self.name = name
        self.socket = socket

    async def open(
        self, method: str, path: str, query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | bytes | AsyncIterator[bytes] | None = None, headers: Mapping[str, str] | None = None,
    ) -> Stream:  # fmt: skip
        """Ask; the answer as a stream, which the caller closes."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket, limit=_LIMIT)
        except OSError as error:
            raise ExternalError(
                "engine-away", f"{self.name} does not answer at {self.socket}: {error.strerror or error}",
                hint=f"start it; aegis doctor says whether {self.name} is there",
            ) from error  # fmt: skip
        try:
            await self._send(writer, method, _target(path, query), body, headers or {})
            return await _answered(reader, writer)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            writer.close()
            raise ExternalError("engine", f"{self.name} broke off: {error}", retryable=True) from error
        except BaseException:
            writer.close()
            raise

    @staticmethod
    async def _send(
        writer: asyncio.StreamWriter, method: str, target: str,
        body: Mapping[str, Any] | bytes | AsyncIterator[bytes] | None, headers: Mapping[str, str],
    ) -> None:  # fmt: skip
        data = json.dumps(body).encode() if isinstance(body, Mapping) else body or b""
        lines = {
            "Host": "engine",
            "Connection": "close",
            "Content-Type": "application/x-tar" if body and not isinstance(body, Mapping) else "application/json",
            **({"Content-Length": str(len(data))} if isinstance(data, bytes) else {"Transfer-Encoding": "chunked"}),
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode())
        if isinstance(data, bytes):
            writer.write(data)
        else:
            async for piece in data:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def ask(
        self, method: str, path: str, query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | bytes | AsyncIterator[bytes] | None = None, headers: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """Ask and read the whole answer, whatever it is."""
        stream = await self.open(method, path, query, body, headers)
        try:
            return Answer(status=stream.status, body=await stream.body())
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise ExternalError("engine", f"{self.name} broke off: {error}", retryable=True) from error
        finally:
            stream.close()

    async def need(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | bytes | AsyncIterator[bytes] | None = None,
        *,
        also: Sequence[int] = (),
    ) -> Any:
        """Ask for something that must go well (or end with one of `also`); the document."""
        answer = await self.ask(method, path, query, body)
        if answer.status >= 300 and answer.status not in also:
            raise ExternalError("engine", f"{self.name}: {answer.message}")
        return answer.value


def _target(path: str, query: Mapping[str, Any] | None) -> str:
    plain = {key: json.dumps(value) if isinstance(value, dict) else str(value) for key, value in (query or {}).items()}
    return f"/{VERSION}{quote(path, safe='/:@')}{'?' if plain else ''}{urlencode(plain)}"


async def _answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Stream:
    while True:
        status = int((await reader.readuntil(b"\r\n")).split()[1])
        headers = {}
        while (line := (await reader.readuntil(b"\r\n")).strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip().lower()
        if status >= 200:
            break
    if status in {204, 304} or headers.get("content-length") == "0":
        reader.feed_eof()
    return Stream(status, reader, writer, chunked=headers.get("transfer-encoding") == "chunked")


class Keeper:
    """A process beside this one that outlives it for a moment: what bears `label` goes when this process has gone.

    `service` is the command line of the engine's interface, where it has to be started; it ends with the keeper. Blocks;
    safe from any thread.
    """

    def __init__(
        self, engine: Engine, label: str, service: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self._engine = engine
        self._label = label
        self._service = tuple(service)
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()

    def start(self) -> None:
        """Start it, once, and wait until the engine answers; `ExternalError` where it does not."""
        with self._turn:
            if self._process is not None and self._process.poll() is None:
                return
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _KEEPER, self._engine.socket, self._label, *self._service],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environment, start_new_session=True,
            )  # fmt: skip
            said = self._process.stdout.readline() if self._process.stdout is not None else b""
            if said.strip() != b"ready":
                self._end()
                raise ExternalError(
                    "engine-away", f"{self._engine.name} does not answer at {self._engine.socket}",
                    hint=f"start it; aegis doctor says whether {self._engine.name} is there",
                )  # fmt: skip

    def close(self) -> None:
        """Take everything away and end."""
        with self._turn:
            self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.wait()
