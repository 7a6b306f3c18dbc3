"""What the relay lets through, what it makes of requests, and whom it asks on the way. In one process, on loopback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aegis.adapters.addresses import is_nearby, is_public
from aegis.adapters.relay import _settings
from aegis.adapters.relay.program import Machine, Rules, Step

HINT = "{} is not among them"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def rules(*places: str, doors: tuple[str, ...] = ()) -> Rules:
    return Rules(places=frozenset(places), doors=doors, hint=HINT)


class Beside:
    """A step with its relay, a site that it may reach, and what the site saw."""

    def __init__(self) -> None:
        self.seen = b""
        self.port = 0

    async def site(self) -> asyncio.Server:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.seen += await reader.readuntil(b"\r\n\r\n")
            if self.seen.startswith(b"CONNECT"):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                self.seen += await reader.read(100)
                writer.write(b"through the parent")
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def ask(self, allowed: Rules, machine: Machine, *parts: bytes) -> bytes:
        listener = socket.create_server(("127.0.0.1", 0))
        step = Step(allowed, machine, os.open(os.devnull, os.O_WRONLY))
        await step.open([("", listener)])
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        got = b""
        with contextlib.suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
                got += await asyncio.wait_for(reader.read(100_000), 10)
        writer.close()
        await step.close()
        return got


def run(work: Callable[[Beside], Awaitable[None]]) -> None:
    async def whole() -> None:
        beside = Beside()
        async with await beside.site():
            await work(beside)

    asyncio.run(whole())


def test_a_plain_request_goes_on_by_path_once_and_without_the_proxys_headers() -> None:
    async def work(beside: Beside) -> None:
        where = f"127.0.0.1:{beside.port}"
        got = await beside.ask(
            rules(where), Machine(),
            b"GET http://user:pw@%s/a?b=c HTTP/1.1\r\nHost: evil.example\r\nProxy-Authorization: x\r\n"
            b"Connection: keep-alive\r\nX-Kept: 1\r\n\r\n" % where.encode(),
        )  # fmt: skip
        assert got.endswith(b"ok")
        assert beside.seen == (
            b"GET /a?b=c HTTP/1.1\r\nHost: %s\r\nX-Kept: 1\r\nConnection: close\r\n\r\n" % where.encode()
        )

    run(work)


def test_what_is_not_allowed_is_neither_resolved_nor_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(_: Beside) -> None:
        async def resolve(*_: object, **__: object) -> list[Any]:
            raise AssertionError("resolved")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        for head in (
            b"CONNECT secret-in-a-name.attacker.example:443 HTTP/1.1\r\n\r\n", b"GET http://attacker.example/ HTTP/1.1\r\n\r\n",
            b"CONNECT allowed.example:22 HTTP/1.1\r\n\r\n", b"CONNECT x.allowed.example:443 HTTP/1.1\r\n\r\n",
        ):  # fmt: skip
            reader, writer = asyncio.StreamReader(), _Kept()
            reader.feed_data(head)
            step = Step(rules("allowed.example:443"), Machine(), os.open(os.devnull, os.O_WRONLY))
            await step._proxy(reader, writer)  # type: ignore[arg-type]
            assert writer.data.startswith(b"HTTP/1.1 403 Forbidden\r\n"), head
            assert b"is not among them" in writer.data
            await step.close()

    run(work)


class _Kept:
    """What a writer was given."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None:
        pass


def test_refusals_are_said_once_for_each_place() -> None:
    async def work(_: Beside) -> None:
        reads, writes = os.pipe()
        step = Step(rules(), Machine(), writes)
        for place in ("a.example:1", "b.example:1", "a.example:1"):
            reader, writer = asyncio.StreamReader(), _Kept()
            reader.feed_data(b"CONNECT %s HTTP/1.1\r\n\r\n" % place.encode())
            await step._proxy(reader, writer)  # type: ignore[arg-type]
        await step.close()
        assert os.read(reads, 10_000).decode() == (
            "WARNING: network: a.example:1 is not among them\nWARNING: network: b.example:1 is not among them\n"
        )
        os.close(reads)

    run(work)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1", b"\x16\x03\x01 x y", b"CONNECT nowhere HTTP/1.1", b"GET ftp://a/ HTTP/1.1", b"x",
        b"GET http://a.example/ HTTP/1.1\r\nX: a\nConnection: keep-alive", b"GET http://a.example/ HTTP/1.1\r\nX: a\r\n b",
        b"GET http://a.example/ HTTP/1.1\r\nX: a\n\nGET http://b.example/ HTTP/1.1",
    ],
)  # fmt: skip
def test_what_is_no_request_of_a_proxy_is_refused(head: bytes) -> None:
    async def work(beside: Beside) -> None:
        got = await beside.ask(rules(), Machine(), head + b"\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 400 ")

    run(work)


def test_a_head_without_end_is_cut_off() -> None:
    async def work(beside: Beside) -> None:
        assert await beside.ask(rules(), Machine(), b"GET " + b"x" * 200_000) == b""

    run(work)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "::", "::ffff:127.0.0.1", "fd00:ec2::254"]
)
def test_a_name_does_not_lead_to_this_machine_or_its_link(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_nearby(address)

    async def work(_: Beside) -> None:
        async def resolve(*_: object, **__: object) -> list[Any]:
            return [(2, 1, 6, "", ("203.0.113.9", 443)), (2, 1, 6, "", (address, 443))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        reader, writer = asyncio.StreamReader(), _Kept()
        reader.feed_data(b"CONNECT allowed.example:443 HTTP/1.1\r\n\r\n")
        step = Step(rules("allowed.example:443"), Machine(), os.open(os.devnull, os.O_WRONLY))
        await step._proxy(reader, writer)  # type: ignore[arg-type]
        await step.close()
        assert writer.data.startswith(b"HTTP/1.1 403")
        assert address.encode() in writer.data

    run(work)


def test_a_private_network_is_not_this_machine() -> None:
    assert not is_nearby("10.1.2.3")
    assert not is_nearby("fd00::7")
    assert not is_public("10.1.2.3")


def test_the_machines_own_proxy_is_on_the_way_with_credentials_that_the_job_never_has() -> None:
    async def work(beside: Beside) -> None:
        machine = Machine(
            proxies={"https": f"http://user:p%40ss@127.0.0.1:{beside.port}", "http": f"http://127.0.0.1:{beside.port}"}
        )
        got = await beside.ask(rules("a.example:443"), machine, b"CONNECT a.example:443 HTTP/1.1\r\n\r\n", b"hello")
        assert got == b"HTTP/1.1 200 OK\r\n\r\nthrough the parent"[: len(got)]
        pair = base64.b64encode(b"user:p@ss")
        assert beside.seen.startswith(
            b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nProxy-Authorization: Basic " + pair
        )
        beside.seen = b""
        await beside.ask(rules("a.example:80"), machine, b"GET http://a.example/x HTTP/1.1\r\n\r\n")
        assert beside.seen.startswith(b"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n")

    run(work)


def test_settings_name_the_machines_proxies_and_where_it_does_without() -> None:
    said = _settings({"HTTPS_PROXY": "proxy.example:3128", "no_proxy": "corp.example, .inner.example"})
    assert (
        said == b'{"proxies": {"https": "http://proxy.example:3128"}, "bypass": ["corp.example", ".inner.example"]}\n'
    )
    machine = Machine(proxies={"https": "http://p:1"}, bypass=("corp.example", ".inner.example"))
    assert machine.proxy("https", "a.example") == "http://p:1"
    assert machine.proxy("https", "git.corp.example") == machine.proxy("https", "inner.example") == ""
    assert Machine(proxies={"https": "http://p:1"}, bypass=("*",)).proxy("https", "a.example") == ""
