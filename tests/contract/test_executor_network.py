"""What a job reaches under each policy, and that it reaches nothing else. Everything is on loopback or in networks of the test's own."""

from __future__ import annotations

import asyncio
import http.server
import os
import pty
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters.executor_namespace import NamespaceExecutor, isolation_available
from aegis.execution.network import Network, NetworkPolicy
from aegis.execution.supervise.places import remove
from contract.test_executor import Bench, run

NONE = Network(policy=NetworkPolicy.NONE)
pytestmark = pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail)


def only(*places: str) -> Network:
    return Network(policy=NetworkPolicy.REGISTRIES, places=places)


class _Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        seen = self.server.seen  # type: ignore[attr-defined]
        seen.append((self.path, dict(self.headers)))
        body = f"answer to {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


class Site:
    """A server on the machine's loopback, and what it was asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
        self.server.seen = self.seen  # type: ignore[attr-defined]
        self.server.daemon_threads = True
        self.place = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture(params=["root", "user"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(NamespaceExecutor(grace=0.2, mode="user" if request.param == "user" else ""), tmp_path / "jobs")
    yield made
    remove(made.root)


def test_without_a_network_there_is_loopback_of_its_own(bench: Bench, site: Site) -> None:
    async def work() -> None:
        ended, text = await bench.step(
            "python3 -c 'import socket as s; print([name for _, name in s.if_nameindex()])'",
            "python3 -m http.server 8123 --bind 127.0.0.1 >/dev/null 2>&1 &",
            "for i in $(seq 100); do curl -s --noproxy '*' http://127.0.0.1:8123/ >/dev/null && break; sleep 0.1; done",
            f"! curl -s --noproxy '*' -m 3 http://{site.place}/", "env | grep -i _proxy && exit 3 || true",
            network=NONE, environment={"HTTPS_PROXY": "http://proxy.example:3128"},
        )  # fmt: skip
        assert ended.code == 0, text
        assert "['lo']" in text
        assert site.seen == []

    run(work, bench.executor)


def test_a_place_of_the_machines_loopback_is_found_where_it_is(bench: Bench, site: Site) -> None:
    async def work() -> None:
        _, text = await bench.step(
            f"curl -sS http://{site.place}/direct", f"curl -sS --noproxy '' http://{site.place}/by-proxy",
            f"curl -sS --noproxy '' -p http://{site.place}/tunnel", network=only(site.place),
        )  # fmt: skip
        assert [path for path, _ in site.seen] == ["/direct", "/by-proxy", "/tunnel"], text
        assert all(f"answer to {path}\n" in text for path, _ in site.seen)

    run(work, bench.executor)


def test_what_is_not_named_is_refused_and_said_with_its_mend(bench: Bench, site: Site) -> None:
    other = Site()

    async def work() -> None:
        ended, text = await bench.step(
            "curl -sS https://evil.example/ || true", "curl -sS -o /dev/null -w '%{http_code}' http://evil.example/x",
            f"! curl -s -m 3 http://{other.place}/", f"curl -sS --noproxy '' -o /dev/null http://{other.place}/",
            network=only(site.place),
        )  # fmt: skip
        assert ended.code == 0, text
        assert text.count("WARNING: network: evil.example:443 is not among the hosts") == 1
        assert "runner: {network_hosts: [evil.example:443]}" in text
        assert "403" in text
        assert (site.seen, other.seen) == ([], [])

    try:
        run(work, bench.executor)
    finally:
        other.close()


ATTEMPTS = """
import ctypes, errno, os, socket, sys
def tried(name, what):
    try:
        what()
    except OSError as error:
        print(name, errno.errorcode.get(error.errno, str(error)))
    else:
        print(name, "REACHED")
def tcp(host, port):
    with socket.create_connection((host, port), 2):
        pass
def udp(host):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", (host, 53))
def abstract(name):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(name)
tried("metadata", lambda: tcp("169.254.169.254", 80))
tried("lan", lambda: tcp(sys.argv[1], 22))
tried("dns", lambda: udp("10.255.255.53"))
tried("dns6", lambda: socket.getaddrinfo("secret.attacker.example", 80))
tried("unix", lambda: abstract(chr(0) + sys.argv[2]))
tried("path", lambda: abstract(sys.argv[3]))
tried("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
tried("alg", lambda: socket.socket(38, socket.SOCK_SEQPACKET))
tried("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
tried("packet", lambda: socket.socket(17, socket.SOCK_RAW))
tried("port", lambda: tcp("127.0.0.1", int(sys.argv[4])))
"""


def test_a_job_reaches_nothing_beside(bench: Bench, site: Site, tmp_path: Path) -> None:
    name = f"aegis-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as path, socket.socket() as port:
        abstract.bind("\0" + name)
        path.bind(str(tmp_path / "s"))
        port.bind(("127.0.0.1", 0))
        for one in (abstract, path, port):
            one.listen()

        async def work() -> None:
            for network in (NONE, only(site.place)):
                sandbox, request = await bench.sandbox(network=network)
                (request.place.work / "attempts.py").write_text(ATTEMPTS)
                await sandbox.cleanup()
                ended, text = await bench.step(
                    f"cat > a.py <<'END'\n{ATTEMPTS}\nEND",
                    f"python3 a.py {socket.gethostbyname(socket.gethostname())} {name} {tmp_path}/s {port.getsockname()[1]}",
                    network=network,
                )  # fmt: skip
                assert ended.code == 0, text
                said = dict(line.split(" ", 1) for line in text.splitlines() if line.count(" ") == 1)
                assert "REACHED" not in text.split("END", 2)[-1].replace('"REACHED"', ""), text
                assert {said[one] for one in ("vsock", "alg")} == {"EAFNOSUPPORT"}
                assert said["unix"] == "ECONNREFUSED"
                assert said["path"] == "ENOENT"

        run(work, bench.executor)


def test_a_person_in_a_failed_jobs_shell_reaches_what_the_job_reached(bench: Bench, site: Site) -> None:
    async def work() -> None:
        sandbox, _ = await bench.sandbox(network=only(site.place))
        person, terminal = pty.openpty()
        os.write(person, f"curl -s http://{site.place}/by-hand; curl -s http://evil.example/; exit\n".encode())
        shown = bytearray()

        def look() -> None:
            while b"THE END" not in shown:
                shown.extend(os.read(person, 4096))

        looking = asyncio.create_task(asyncio.to_thread(look))
        await asyncio.wait_for(sandbox.interact({"PATH": "/usr/local/bin:/usr/bin:/bin"}, terminal), 30)  # type: ignore[call-arg]
        os.write(terminal, b"THE END")
        await asyncio.wait_for(looking, 30)
        for descriptor in (person, terminal):
            os.close(descriptor)
        await sandbox.cleanup()
        text = shown.decode("utf-8", "replace")
        assert [path for path, _ in site.seen] == ["/by-hand"], text
        assert "network: evil.example:80 is not among the hosts" in text

    run(work, bench.executor)
