"""What all traffic to the outside must obey: one suite, inherited by each adapter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from aegis.adapters.addresses import is_public
from aegis.adapters.egress_http import EgressRules, HttpEgress
from aegis.core.errors import ExternalError
from aegis.core.ports import Egress


class _Handler(BaseHTTPRequestHandler):
    """Echoes what it got; `/redirect/<n>/<target>` redirects, `/large` is large, `/slow` waits for the end."""

    release = threading.Event()

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        if self.path == "/slow":
            self.release.wait(5)
        body = b"x" * 100_000 if self.path == "/large" else self._echo()
        self.send_response(404 if self.path == "/absent" else 200)
        self.send_header("X-Path", self.path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def _echo(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        names = ("host", "job-token", "accept", "authorization")
        return f"{self.command} {[self.headers.get(name) for name in names]} ".encode() + body

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[str]:
    _Handler.release = threading.Event()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{http.server_address[1]}"
    _Handler.release.set()
    http.shutdown()
    http.server_close()
    thread.join()


class EgressContract:
    """`make(allowed, private)` opens an egress with these rules; every name resolves to the loopback server."""

    @pytest.fixture
    def make(self) -> Callable[..., Egress]:
        raise LookupError

    def test_a_declared_host_answers_whatever_the_status(self, make: Callable[..., Egress], server: str) -> None:
        egress = make(private=(server,))
        answer = egress.request("GET", f"http://{server}/absent", headers={"JOB-TOKEN": "t"})
        assert answer.status == 404
        assert answer.headers["x-path"] == "/absent"
        assert b"'t'" in answer.body
        assert egress.request("POST", f"http://{server}/", body=b"data").body.endswith(b"data")

    def test_a_host_that_is_not_declared_is_refused(self, make: Callable[..., Egress], server: str) -> None:
        with pytest.raises(ExternalError) as caught:
            make(allowed=("*.example.org",)).request("GET", f"http://{server}/")
        assert caught.value.code == "egress-host"

    def test_a_private_address_is_refused_even_for_an_allowed_name(
        self, make: Callable[..., Egress], server: str
    ) -> None:
        port = server.rpartition(":")[2]
        for host in ("127.0.0.1", "packages.example.org"):
            with pytest.raises(ExternalError) as caught:
                make(allowed=("*",)).request("GET", f"http://{host}:{port}/")
            assert caught.value.code == "egress-private"

    def test_a_redirect_is_checked_anew(self, make: Callable[..., Egress], server: str) -> None:
        egress = make(private=(server,))
        port = server.rpartition(":")[2]
        for target, code in (
            (f"http://elsewhere.example:{port}/", "egress-host"),
            ("http://169.254.169.254/latest/", "egress-host"),
            ("file:///etc/passwd", "egress-url"),
            (f"http://user:pass@{server}/", "egress-credentials"),
            (f"/to//to//to//to//to//to/http://{server}/", "egress-redirects"),
        ):
            with pytest.raises(ExternalError) as caught:
                egress.request("GET", f"http://{server}/to/{target}")
            assert caught.value.code == code
        with pytest.raises(ExternalError) as caught:
            make(allowed=("*",), private=(server,)).request("GET", f"http://{server}/to/http://inside.example:{port}/")
        assert caught.value.code == "egress-private"

    def test_tokens_stay_with_their_origin(self, make: Callable[..., Egress], server: str) -> None:
        port = server.rpartition(":")[2]
        egress = make(private=(server, f"other.example:{port}"))
        headers = {"JOB-TOKEN": "hidden", "Authorization": "hidden", "Accept": "text/plain"}
        same = egress.request("GET", f"http://{server}/to/http://{server}/x", headers=headers)
        assert same.body.count(b"hidden") == 2
        other = egress.request("GET", f"http://{server}/to/http://other.example:{port}/x", headers=headers)
        assert b"hidden" not in other.body
        assert b"text/plain" in other.body
        assert f"other.example:{port}".encode() in other.body

    def test_sizes_and_times_are_bounded(self, make: Callable[..., Egress], server: str) -> None:
        egress = make(private=(server,))
        assert len(egress.request("GET", f"http://{server}/large", limit=100_000).body) == 100_000
        with pytest.raises(ExternalError) as caught:
            egress.request("GET", f"http://{server}/large", limit=99_999)
        assert caught.value.code == "egress-too-large"
        with pytest.raises(ExternalError) as caught:
            egress.request("GET", f"http://{server}/slow", timeout=0.2)
        assert caught.value.code == "egress-timeout"

    def test_nobody_there_is_an_external_error(self, make: Callable[..., Egress]) -> None:
        with pytest.raises(ExternalError) as caught:
            make(private=("127.0.0.1:9",)).request("GET", "http://127.0.0.1:9/")
        assert caught.value.retryable


class TestHttpEgress(EgressContract):
    """Over httpx."""

    @pytest.fixture
    def make(self) -> Callable[..., Egress]:
        def made(allowed: tuple[str, ...] = (), private: tuple[str, ...] = ()) -> Egress:
            return HttpEgress(
                EgressRules(allowed=allowed, private=frozenset(private)), resolve=lambda _host, _port: ["127.0.0.1"]
            )

        return made

    def test_the_address_that_was_checked_is_the_one_that_is_used(self, server: str) -> None:
        answers = iter([["127.0.0.1"], ["203.0.113.1"]])
        port = server.rpartition(":")[2]
        rules = EgressRules(private=frozenset({f"name.example:{port}"}))
        egress = HttpEgress(rules, resolve=lambda _host, _port: next(answers))
        assert egress.request("GET", f"http://name.example:{port}/").status == 200

    def test_one_private_address_among_public_ones_refuses_all(self) -> None:
        rules = EgressRules(allowed=("*",))
        egress = HttpEgress(rules, resolve=lambda _host, _port: ["93.184.216.34", "10.0.0.1"])
        with pytest.raises(ExternalError) as caught:
            egress.request("GET", "http://rebinding.example/")
        assert caught.value.code == "egress-private"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.1.2.3",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "nonsense",
    ],
)
def test_private_addresses_are_known_in_every_dress(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)
