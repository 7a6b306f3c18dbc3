"""The relay: carries connections out of jobs' networks, to the places that each job may reach and to no other.

A program of its own, so that what jobs send is read by nobody who holds keys. Steps come on a socket whose path only their first
processes know: each hands in listeners of its own network, its output, and its rules, and is forgotten when it ends. The first
listener is a proxy (CONNECT, and whole addresses for plain HTTP); the others lead to one place each.

A name is resolved here, once, and connected to at the address that was looked at; one that leads to this machine or its link, where
clouds keep what they know of it, is refused. Nothing is resolved for a place that is not allowed, so names tell nobody anything. Where the machine has a proxy of its own the way leads through that one, which
then resolves. What is refused is answered with 403 and said once in the step's output.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import resource
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from aegis.adapters.addresses import is_nearby

HEAD_LIMIT: Final = 32 * 1024
_CHUNK: Final = 256 * 1024
_HEAD_SECONDS: Final = 60.0
_CONNECT_SECONDS: Final = 30.0
_CONNECTIONS: Final = 256
"""At once, for one step."""
_SAID: Final = 40
"""Refusals that are said in a step's output; the rest are only answered."""
_HOP: Final = frozenset({b"proxy-connection", b"proxy-authorization", b"connection", b"keep-alive"})


@dataclass(slots=True)
class _Refused(Exception):
    """A wish that is answered with a status and a sentence; `where` where it is to be said in the output."""

    status: str
    text: str
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What one step may reach; `doors` are the places that the listeners after the first lead to."""

    places: frozenset[str]
    doors: tuple[str, ...]
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine's own proxies by scheme, and for which hosts it does without."""

    proxies: Mapping[str, str] = field(default_factory=dict)
    bypass: tuple[str, ...] = ()

    def proxy(self, scheme: str, host: str) -> str:
        """The proxy on the way to a host; empty where there is none."""
        for one in self.bypass:
            suffix = one.lower().lstrip("*").lstrip(".")
            if one == "*" or (suffix and (host == suffix or host.endswith(f".{suffix}"))):
                return ""
        return self.proxies.get(scheme, "")


def split(where: str) -> tuple[str, int]:
    """Host and port of `host:port`; `_Refused` where it is none."""
    host, _, port = where.rpartition(":")
    host = host.strip("[]").rstrip(".").lower()
    if not host or not port.isascii() or not port.isdigit() or len(port) > 5 or not host.isascii():
        raise _Refused("400 Bad Request", f"{where[:200]!r} is not a host with its port")
    return host, int(port)


def joined(host: str, port: int) -> str:
    """`host:port` in its one spelling."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Out:
    """The way out of one step: decides, resolves, connects."""

    def __init__(self, rules: Rules, machine: Machine) -> None:
        self._rules = rules
        self._machine = machine

    async def reach(self, where: str, scheme: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        """A connection towards a place, and the proxy that is at its other end, if any. `_Refused` where it may not be."""
        host, port = split(where)
        name = joined(host, port)
        if name not in self._rules.places and "*" not in self._rules.places:
            raise _Refused("403 Forbidden", self._rules.hint.replace("{}", name), name)
        parent = self._machine.proxy(scheme, host)
        if parent:
            parts = urlsplit(parent)
            reader, writer = await _connect([(parts.hostname or "", parts.port or 3128)], name)
            return reader, writer, parent
        addresses = await self._addresses(host, port, name)
        return *await _connect([(one, port) for one in addresses], name), ""

    async def _addresses(self, host: str, port: int, name: str) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise _Refused("502 Bad Gateway", f"{host} has no address") from error
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        if not _literal(host) and host != "localhost":
            for address in addresses:
                if is_nearby(address):
                    told = f"{host} has the address {address}, which is this machine or its link; a name must not lead there"
                    raise _Refused("403 Forbidden", told, name)
        return addresses


def _literal(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError:
        return False
    return True


async def _connect(places: Iterable[tuple[str, int]], name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    failure: Exception | None = None
    for host, port in places:
        try:
            return await asyncio.wait_for(asyncio.open_connection(host, port, limit=_CHUNK), _CONNECT_SECONDS)
        except (OSError, TimeoutError) as error:
            failure = error
    raise _Refused("502 Bad Gateway", f"{name} cannot be reached: {failure}")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All that comes, until it ends; the other side hears of the end."""
    with contextlib.suppress(ConnectionError, OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _both(
    near: tuple[asyncio.StreamReader, asyncio.StreamWriter], far: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    await asyncio.gather(_pump(near[0], far[1]), _pump(far[0], near[1]))


class Step:
    """One step's listeners and connections."""

    def __init__(self, rules: Rules, machine: Machine, output: int) -> None:
        self._rules = rules
        self._out = Out(rules, machine)
        self._output = output
        self._said: set[str] = set()
        self._working: set[asyncio.Task[Any]] = set()
        self._servers: list[asyncio.Server] = []

    async def open(self, listeners: list[tuple[str, socket.socket]]) -> None:
        """Begin to take connections; `listeners` are named by where they lead to, the proxy by nothing."""
        for where, listening in listeners:
            listening.setblocking(False)  # noqa: FBT003 - its only form

            async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str = where) -> None:
                await self._take(reader, writer, where)

            self._servers.append(await asyncio.start_server(take, sock=listening, limit=HEAD_LIMIT))

    async def close(self) -> None:
        """The step has ended: nothing of it stays."""
        for server in self._servers:
            server.close()
        # First of all: the runner waits until nobody holds the step's output any more.
        output, self._output = self._output, -1
        os.close(output)
        for task in tuple(self._working):
            task.cancel()
        if self._working:
            await asyncio.wait(self._working)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str) -> None:
        task = asyncio.current_task()
        if task is None or len(self._working) >= _CONNECTIONS:
            writer.close()
            return
        self._working.add(task)
        try:
            if where:
                await self._straight(reader, writer, where)
            else:
                await self._proxy(reader, writer)
        except (ConnectionError, OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()  # either side has gone, or says nothing that is understood
        except asyncio.CancelledError:
            writer.transport.abort()  # the step has ended
        finally:
            self._working.discard(task)
            writer.close()

    async def _straight(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str) -> None:
        try:
            far = await _connect([split(where)], where)
        except _Refused:
            writer.transport.abort()
            return
        async with _closing(far[1]):
            await _both((reader, writer), far)

    async def _proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._carry(reader, writer)
        except _Refused as refused:
            if refused.where:
                self._say(refused)
            body = f"{refused.text}\n".encode()
            writer.write(
                f"HTTP/1.1 {refused.status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\nX-Aegis-Network: refused\r\n\r\n".encode()
                + body
            )
            await writer.drain()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_SECONDS)
        first, *lines = head[:-4].split(b"\r\n")
        if any(b"\n" in one or b"\r" in one or one[:1] in b" \t" for one in (first, *lines)):
            # Others may take them for ends of lines, and see other headers, or another request, than were looked at here.
            raise _Refused("400 Bad Request", "a head has lines that end in CR LF, and none that goes on")
        words = first.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            raise _Refused("400 Bad Request", "this is a proxy for HTTP")
        method, target = words[0], words[1].decode("latin-1")
        if method == b"CONNECT":
            far, parent = await self._tunnel(target)
            async with _closing(far[1]):
                if not parent:
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await _both((reader, writer), far)
            return
        parts = urlsplit(target)
        if parts.scheme != "http" or not parts.hostname:
            raise _Refused("400 Bad Request", "write http://host/… or use CONNECT")
        where = joined(parts.hostname, parts.port or 80)
        far_reader, far_writer, parent = await self._out.reach(where, "http")
        async with _closing(far_writer):
            far_writer.write(_request(method, target, parts.netloc.rpartition("@")[2], lines, parent))
            await _both((reader, writer), (far_reader, far_writer))

    async def _tunnel(self, where: str) -> tuple[tuple[asyncio.StreamReader, asyncio.StreamWriter], str]:
        reader, writer, parent = await self._out.reach(where, "https")
        if parent:
            name = joined(*split(where))
            writer.write(f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n{_credentials(parent)}\r\n".encode())
        return (reader, writer), parent

    def _say(self, refused: _Refused) -> None:
        """Once for each place, on the step's output; where that is full, not at all: a step must not hold the relay up."""
        if self._output < 0 or refused.where in self._said or len(self._said) >= _SAID:
            return
        self._said.add(refused.where)
        line = f"WARNING: network: {refused.text}\n".encode()[:2048]
        with contextlib.suppress(OSError):
            # Opened anew: what is set on the step's own descriptor would be set for its programs as well.
            own = os.open(f"/proc/self/fd/{self._output}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                os.write(own, line)
            finally:
                os.close(own)


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()


def _request(method: bytes, target: str, authority: str, lines: list[bytes], parent: str) -> bytes:
    """The head of a plain request as it goes on: to its host by path, to a proxy whole; one request for each connection."""
    parts = urlsplit(target)
    path = target if parent else (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kept = [one for one in lines if one.partition(b":")[0].strip().lower() not in {*_HOP, b"host"}]
    head = [b" ".join((method, path.encode("latin-1"), b"HTTP/1.1")), b"Host: " + authority.encode("latin-1")]
    more = _credentials(parent).encode() if parent else b""
    return b"\r\n".join([*head, *kept, b"Connection: close", more + b"\r\n"])


def _credentials(parent: str) -> str:
    parts = urlsplit(parent)
    if not parts.username:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"


def rules_of(body: bytes) -> Rules:
    """A step's rules, as its executor wrote them."""
    document = json.loads(body)
    return Rules(
        places=frozenset(document["places"]), doors=tuple(document["doors"]),
        hint=document["hint"],
    )  # fmt: skip


def _receive(connection: socket.socket) -> tuple[list[int], bytes]:
    """The descriptors and the message of a step. Its first process wrote them; it has nothing better to do than to send all."""
    connection.settimeout(10)
    size, given, _, _ = socket.recv_fds(connection, 8, 64)
    body = b""
    while len(body) < int(size):
        data = connection.recv(int(size) - len(body))
        if not data:
            break
        body += data
    return given, body


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)


async def _step(connection: socket.socket, machine: Machine) -> None:
    """From the first word of a step to its end."""
    loop = asyncio.get_running_loop()
    with connection:
        try:
            await _readable(connection)
            given, body = _receive(connection)
        except (OSError, ValueError):
            return  # it ended before it said anything
        places, _, text = body.partition(b" ")
        rules = rules_of(text)
        ways = ("", *rules.doors)
        named = [ways[int(one)] for one in places.split(b",")]
        step = Step(rules, machine, given[0])
        listeners = [socket.socket(fileno=one) for one in given[1:]]
        await step.open(list(zip(named, listeners, strict=True)))
        connection.setblocking(False)  # noqa: FBT003 - its only form
        with contextlib.suppress(OSError):
            while await loop.sock_recv(connection, 4096):
                pass  # there is nothing more to say
        await step.close()


async def serve(door: socket.socket, machine: Machine, ended: asyncio.Future[None]) -> None:
    """Take steps until `ended` is done."""
    loop = asyncio.get_running_loop()
    door.setblocking(False)  # noqa: FBT003 - its only form
    steps: set[asyncio.Task[None]] = set()

    async def take() -> None:
        while True:
            connection, _ = await loop.sock_accept(door)
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            if struct.unpack("3i", peer)[1] != os.geteuid():
                connection.close()
                continue
            task = asyncio.create_task(_step(connection, machine))
            steps.add(task)
            task.add_done_callback(steps.discard)

    taking = asyncio.create_task(take())
    await ended
    for task in (taking, *steps):
        task.cancel()
    await asyncio.wait({taking, *steps})


def main() -> None:
    """`program DOOR`, with the machine's settings as a line on standard input, whose end is the relay's end."""
    settings = json.loads(sys.stdin.buffer.readline())
    machine = Machine(proxies=settings["proxies"], bypass=tuple(settings["bypass"]))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536, hard))

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def end() -> None:
            if not ended.done():
                ended.set_result(None)

        loop.add_reader(0, end)
        with socket.socket(fileno=int(sys.argv[1])) as door:
            await serve(door, machine, ended)

    asyncio.run(whole())
