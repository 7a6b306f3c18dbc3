"""R3.4 canary and R3.5 blue-green, as far as cluster, splitter and decisions reach: real processes and Traefik."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aegis.adapters.clock_system import SystemClock
from aegis.adapters.cluster_local import LocalCluster
from aegis.adapters.traffic_traefik import TraefikTraffic, find_binary
from aegis.core.types import Rollout, RolloutState, Workload
from aegis.rollout.decide import Decision, Verb, begin, decide
from aegis.rollout.measurements import Measurement, measurement
from aegis.rollout.strategy import Strategy
from support.workloads import Callers, Registry, get, image, shop, until

NAMESPACE = "aegis-prod"
FAST = Strategy(
    kind="canary", step_seconds=0.6, minimum_requests=5, maximum_seconds=30, watch_seconds=1.0, tolerated_rate=0.05
)


class Production:
    """One environment, and the loop that the server runs around `decide`."""

    def __init__(self, data: Path) -> None:
        self.registry = Registry()
        self.clock = SystemClock()
        self.traffic = TraefikTraffic(
            data / "t", binary=find_binary(), clock=self.clock, pairs=[("shop", "production")], spare=0
        )
        self.cluster = LocalCluster(
            data / "c",
            pull=self.registry.pull,
            clock=self.clock,
            python=sys.executable,
            namespaces={NAMESPACE: "production"},
            traffic=self.traffic,
            drain_seconds=0.1,
        )
        self.digest = self.registry.push(image())
        self.traffic.start()
        self.cluster.start()
        self.apply("1.0.0", "canary")
        until(lambda: self.cluster.active(NAMESPACE, "shop"))

    def apply(self, version: str, strategy: str, variables: Mapping[str, str] | None = None) -> None:
        manifests = shop(
            self.digest, version, strategy=strategy, variables=variables, namespace=NAMESPACE, environment="production"
        )
        self.cluster.apply(NAMESPACE, manifests, key=f"{version}-{datetime.now(UTC).isoformat()}")

    def workload(self, release: str) -> Workload | None:
        return next((one for one in self.cluster.observe(NAMESPACE) if one.release == release), None)

    def roll(self, strategy: Strategy, new: str, old: str) -> list[Decision]:
        rollout = Rollout(
            id="r", deployment="d", service="shop", environment="production", release=new, previous=old, steps=()
        )
        rollout = begin(strategy, rollout, now=self.clock.now(), requests_per_minute=6000, error_rate=0.0)
        history: list[Measurement] = []
        made: list[Decision] = []
        pause = threading.Event()
        while rollout.state not in (RolloutState.PROMOTED, RolloutState.ROLLED_BACK):
            samples = self.traffic.samples("shop", "production")
            now = self.clock.now()
            history.append(measurement(samples, at=now, weight=rollout.weight, canary=new, baseline=old))
            decision = decide(strategy, rollout, history, now, canary=self.workload(new))
            if decision.verb is not Verb.WAIT:
                made.append(decision)
            if decision.weight != rollout.weight:
                self.shift(new, old, decision.weight)
            rollout = decision.rollout
            assert len(history) < 600, decision.reason
            pause.wait(0.1)
        return made

    def shift(self, new: str, old: str, weight: int) -> None:
        split = {}
        for release, share in ((new, weight), (old, 100 - weight)):
            one = self.workload(release)
            assert one is not None
            split[release] = (one.addresses, share)
        self.traffic.set_weights("shop", "production", split)

    def serving(self, calls: int = 20) -> set[str]:
        url = self.traffic.url("shop", "production")
        return {json.loads(get(url)[1])["environment"]["AEGIS_RELEASE"] for _ in range(calls)}


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    made = Production(tmp_path_factory.mktemp("production"))
    yield made
    made.cluster.stop()
    made.traffic.stop()


def test_r3_4_a_canary_shifts_traffic_step_by_step_and_is_promoted(production: Production):
    production.apply("1.1.0", "canary")
    with Callers(production.traffic.url("shop", "production")) as callers:
        made = production.roll(FAST, "shop@1.1.0", "shop@1.0.0")
    # Where the machine is slow a step may be held for want of traffic; the order of the weights is the same.
    assert list(dict.fromkeys(one.weight for one in made)) == [5, 25, 50, 100]
    assert made[-1].verb is Verb.PROMOTED
    assert {status for status, _ in callers.seen} == {200}
    assert production.serving() == {"shop@1.1.0"}
    production.cluster.set_active(NAMESPACE, "shop", "shop@1.1.0")
    production.cluster.retire(NAMESPACE, "shop", "shop@1.0.0")
    until(lambda: production.workload("shop@1.0.0") is None)


def test_r3_4_a_canary_that_fails_in_production_loses_its_traffic_by_statistics(production: Production):
    active = production.cluster.active(NAMESPACE, "shop")
    assert active is not None
    production.apply("1.2.0", "canary", {"BROKEN": "1"})
    with Callers(production.traffic.url("shop", "production")) as callers:
        made = production.roll(FAST, "shop@1.2.0", active)
    assert made[-1].verb is Verb.ROLLBACK
    assert "errors" in made[-1].reason
    assert made[-1].counts["canary"][1] >= 3
    assert production.serving() == {active}
    failed = sum(count for (status, _), count in callers.seen.items() if status != 200)
    assert failed / callers.total <= 0.15


def test_r3_5_blue_green_prepares_the_new_side_then_switches_at_once(production: Production):
    active = production.cluster.active(NAMESPACE, "shop")
    assert active is not None
    production.apply("1.3.0", "blue-green", {"SLOW_START": "0.5"})
    strategy = Strategy(kind="blue-green", step_seconds=1, maximum_seconds=30, watch_seconds=0.5)
    with Callers(production.traffic.url("shop", "production")) as callers:
        made = production.roll(strategy, "shop@1.3.0", active)
    assert [(one.verb, one.weight) for one in made] == [(Verb.WATCH, 100), (Verb.PROMOTED, 100)]
    assert {status for status, _ in callers.seen} == {200}
    assert production.serving() == {"shop@1.3.0"}
    assert production.workload(active) is not None  # the old side is kept until it is retired
