"""The contract of `rollout.ports.Traffic`, held by Traefik and by the fake that other tests use."""

from __future__ import annotations

import http.server
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aegis.adapters.clock_system import SystemClock
from aegis.adapters.traffic_traefik import TraefikTraffic, find_binary
from aegis.core.errors import ExternalError, NotFound
from aegis.rollout.ports import Traffic
from support.speed import best
from support.traffic_memory import MemoryTraffic
from support.workloads import get, until

PAIRS = (("orders", "production"), ("orders", "staging"))


class Backends:
    """Two versions that really listen; `status` says what they answer."""

    def __init__(self) -> None:
        self.status = {"orders@1": 200, "orders@2": 200}
        self.servers: dict[str, http.server.ThreadingHTTPServer] = {}
        for version in self.status:
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler(version))
            self.servers[version] = server
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def _handler(self, version: str) -> type[http.server.BaseHTTPRequestHandler]:
        status = self.status

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status[version])
                self.end_headers()
                self.wfile.write(version.encode())

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def at(self, version: str) -> tuple[str, ...]:
        return (f"http://127.0.0.1:{self.servers[version].server_address[1]}",)

    def close(self) -> None:
        for server in self.servers.values():
            server.shutdown()
            server.server_close()


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    made = Backends()
    yield made
    made.close()


class TrafficContract:
    """What every implementation holds. `call` sends one request and says which version served it."""

    call: Callable[..., str]

    def share(self, traffic: Traffic, backends: Backends, calls: int = 40) -> dict[str, int]:
        seen: dict[str, int] = {}
        for _ in range(calls):
            version = self.call(traffic, backends)
            seen[version] = seen.get(version, 0) + 1
        return seen

    def test_the_url_is_known_before_the_first_version_and_never_changes(self, traffic: Traffic, backends: Backends):
        before = traffic.url("orders", "production")
        assert before != traffic.url("orders", "staging")
        assert not before.endswith("/")
        traffic.set_weights("orders", "production", {"orders@1": (backends.at("orders@1"), 100)})
        assert traffic.url("orders", "production") == before

    def test_weights_are_in_force_when_the_call_returns(self, traffic: Traffic, backends: Backends):
        one, two = backends.at("orders@1"), backends.at("orders@2")
        traffic.set_weights("orders", "production", {"orders@1": (one, 100)})
        assert self.share(traffic, backends, 10) == {"orders@1": 10}
        traffic.set_weights("orders", "production", {"orders@1": (one, 75), "orders@2": (two, 25)})
        assert traffic.weights("orders", "production") == {"orders@1": 75, "orders@2": 25}
        assert self.share(traffic, backends) == {"orders@1": 30, "orders@2": 10}
        traffic.set_weights("orders", "production", {"orders@1": (one, 100), "orders@2": (two, 0)})
        assert self.share(traffic, backends, 10) == {"orders@1": 10}

    def test_counters_belong_to_the_version_that_served(self, traffic: Traffic, backends: Backends):
        one, two = backends.at("orders@1"), backends.at("orders@2")
        traffic.set_weights("orders", "production", {"orders@1": (one, 50), "orders@2": (two, 50)})
        before = {each.version: each for each in traffic.samples("orders", "production")}
        backends.status["orders@2"] = 503
        try:
            self.share(traffic, backends, 20)
        finally:
            backends.status["orders@2"] = 200
        after = {each.version: each for each in traffic.samples("orders", "production")}
        assert after["orders@1"].requests - before["orders@1"].requests == 10
        assert after["orders@1"].errors == before["orders@1"].errors
        assert after["orders@2"].errors - before["orders@2"].errors == 10

    def test_addresses_move_and_weights_stay(self, traffic: Traffic, backends: Backends):
        traffic.set_weights("orders", "production", {"orders@1": (("http://127.0.0.1:9",), 100)})
        traffic.set_addresses("orders", "production", "orders@1", backends.at("orders@1"))
        assert traffic.weights("orders", "production") == {"orders@1": 100}
        assert self.share(traffic, backends, 3) == {"orders@1": 3}
        traffic.set_addresses("orders", "production", "orders@9", backends.at("orders@2"))
        assert traffic.weights("orders", "production") == {"orders@1": 100}

    def test_a_split_to_nowhere_is_refused_and_the_old_one_holds(self, traffic: Traffic, backends: Backends):
        traffic.set_weights("orders", "production", {"orders@1": (backends.at("orders@1"), 100)})
        for nowhere in ({}, {"orders@2": ((), 100)}, {"orders@2": (backends.at("orders@2"), 0)}):
            with pytest.raises(ExternalError):
                traffic.set_weights("orders", "production", nowhere)
        assert traffic.weights("orders", "production") == {"orders@1": 100}

    def test_environments_do_not_touch_each_other(self, traffic: Traffic, backends: Backends):
        traffic.set_weights("orders", "production", {"orders@1": (backends.at("orders@1"), 100)})
        traffic.set_weights("orders", "staging", {"orders@2": (backends.at("orders@2"), 100)})
        assert self.call(traffic, backends, "staging") == "orders@2"
        assert self.call(traffic, backends, "production") == "orders@1"

    def test_what_was_never_declared_is_not_found(self, traffic: Traffic):
        with pytest.raises(NotFound):
            traffic.url("basket", "production")
        with pytest.raises(NotFound):
            traffic.set_weights("orders", "nowhere", {"orders@1": (("http://127.0.0.1:9",), 1)})


class TestMemoryTraffic(TrafficContract):
    @pytest.fixture
    def traffic(self) -> MemoryTraffic:
        return MemoryTraffic(PAIRS)

    def call(self, traffic: Traffic, backends: Backends, environment: str = "production") -> str:
        assert isinstance(traffic, MemoryTraffic)
        failing = frozenset(version for version, status in backends.status.items() if status >= 500)
        return traffic.serve("orders", environment, failing=failing)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraefikTraffic]:
    data = tmp_path_factory.mktemp("data")
    made = TraefikTraffic(
        data / "traefik", binary=find_binary(), clock=SystemClock(), pairs=PAIRS, spare=2, conceal=[data]
    )
    made.start()
    yield made
    made.stop()


class TestTraefikTraffic(TrafficContract):
    @pytest.fixture
    def traffic(self, running: TraefikTraffic) -> TraefikTraffic:
        return running

    def call(self, traffic: Traffic, backends: Backends, environment: str = "production") -> str:  # noqa: ARG002
        return get(traffic.url("orders", environment))[1].decode()

    def test_a_change_is_in_force_within_a_third_of_a_second(self, traffic: TraefikTraffic, backends: Backends):
        one, two = backends.at("orders@1"), backends.at("orders@2")
        weights = itertools.cycle((5, 25, 50, 75))

        def took() -> float:
            weight = next(weights)
            begun = time.monotonic()
            traffic.set_weights("orders", "production", {"orders@1": (one, 100 - weight), "orders@2": (two, weight)})
            return time.monotonic() - begun

        took()
        assert best(0.3, took, tries=20) <= 0.3

    def test_traefik_that_dies_comes_back_with_the_same_split_and_counters_only_grow(
        self, traffic: TraefikTraffic, backends: Backends
    ):
        traffic.set_weights("orders", "production", {"orders@2": (backends.at("orders@2"), 100)})
        self.share(traffic, backends, 5)
        (before,) = traffic.samples("orders", "production")
        killed = traffic.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        until(lambda: traffic.pid not in (None, killed) and get(traffic.url("orders", "production"))[0] == 200)
        assert self.call(traffic, backends) == "orders@2"
        until(lambda: traffic.samples("orders", "production")[0].requests > before.requests)

    def test_latencies_are_measured_in_buckets(self, traffic: TraefikTraffic, backends: Backends):
        traffic.set_weights("orders", "production", {"orders@1": (backends.at("orders@1"), 100)})
        self.share(traffic, backends, 5)
        (sample,) = traffic.samples("orders", "production")
        assert sample.buckets["+Inf"] == sample.requests
        assert sample.buckets["5"] <= sample.requests
        assert sample.latency_sum > 0

    def test_services_that_come_later_get_the_spare_ports_while_there_are_some(
        self, traffic: TraefikTraffic, backends: Backends
    ):
        url = traffic.add("basket", "production")
        traffic.set_weights("basket", "production", {"basket@1": (backends.at("orders@1"), 1)})
        assert get(url)[1] == b"orders@1"
        assert get(traffic.add("empty", "production"))[0] == 503  # a place without a version says so
        with pytest.raises(ExternalError, match="no spare port"):
            traffic.add("more", "production")

    def test_ports_and_weights_survive_a_restart(self, tmp_path: Path, backends: Backends):
        def made() -> TraefikTraffic:
            return TraefikTraffic(tmp_path / "t", binary=find_binary(), clock=SystemClock(), pairs=PAIRS, spare=1)

        first = made()
        first.start()
        url = first.url("orders", "production")
        first.set_weights("orders", "production", {"orders@2": (backends.at("orders@2"), 100)})
        first.stop()
        assert first.pid is None
        second = made()
        second.start()
        try:
            assert second.url("orders", "production") == url
            assert second.weights("orders", "production") == {"orders@2": 100}
            until(lambda: get(url)[1] == b"orders@2")
        finally:
            second.stop()

    def test_a_traefik_that_cannot_start_is_an_error_with_its_last_words(self, tmp_path: Path):
        broken = tmp_path / "traefik"
        broken.write_text("#!/bin/sh\necho no such luck >&2\nexit 1\n")
        broken.chmod(0o755)
        traffic = TraefikTraffic(tmp_path / "t", binary=str(broken), clock=SystemClock(), pairs=PAIRS)
        traffic.START_SECONDS = 0.5
        with pytest.raises(ExternalError, match=r"no such luck|ended with"):
            traffic.start()
