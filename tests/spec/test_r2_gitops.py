"""R2 GitOps, as far as repository, reconciler, cluster and splitter reach: real Git, processes and Traefik."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aegis.adapters.clock_system import SystemClock
from aegis.adapters.cluster_local import LocalCluster
from aegis.adapters.sync_own import OwnSync
from aegis.adapters.traffic_traefik import TraefikTraffic, find_binary
from aegis.core.types import ApprovedPromotion, DeploymentState, Promotion
from aegis.gitops import overlay, promote
from aegis.gitops.overlay import EnvironmentSpec, Placed, ServiceSpec
from aegis.gitops.ports import SyncStatus
from aegis.gitops.render import render
from support.speed import best
from support.workloads import Callers, Registry, get, image, until

POLICY = "sha256:" + "0" * 64
SPEC = ServiceSpec(
    name="shop",
    environments=(EnvironmentSpec(name="staging", namespace="aegis-staging", replicas=2),),
    progress_deadline_seconds=20,
    grace_seconds=3,
)


class Platform:
    """The GitOps repository as a mapping with numbered commits, and everything behind it."""

    def __init__(self, data: Path) -> None:
        self.registry = Registry()
        self.traffic = TraefikTraffic(
            data / "t", binary=find_binary(), clock=SystemClock(), pairs=[("shop", "staging")], spare=0
        )
        self.cluster = LocalCluster(
            data / "c",
            pull=self.registry.pull,
            clock=SystemClock(),
            python=sys.executable,
            namespaces={"aegis-staging": "staging"},
            traffic=self.traffic,
            drain_seconds=0.1,
        )
        self.sync = OwnSync(self.cluster)
        self.files: dict[str, bytes] = overlay.generate(SPEC)
        self.log: list[str] = []
        self.traffic.start()
        self.cluster.start()

    def stop(self) -> None:
        self.cluster.stop()
        self.traffic.stop()

    def commit(self, files: dict[str, bytes | None], message: str) -> None:
        self.files = {path: data for path, data in {**self.files, **files}.items() if data is not None}
        self.log.append(message)
        self.reconcile()

    def reconcile(self) -> None:
        """What the server does when it notices a commit."""
        manifests = render(self.files, overlay.overlay_path("shop", "staging"))
        commit = f"{len(self.log):040d}"
        self.sync.request("shop", "staging", namespace="aegis-staging", commit=commit, manifests=manifests, key=commit)

    def promote(self, placed: Placed) -> None:
        planned = promote.plan(
            self.files, base="0" * 40, spec=SPEC, environment="staging", placed=placed, policy_digest=POLICY
        )
        promotion = Promotion(
            id=f"p{len(self.log)}", service="shop", environment="staging", release=placed.release,
            previous=planned.previous, plan_hash=planned.plan_hash, base=planned.base, diff=planned.diff,
            requested_by="flow", requested_at=datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        approved = ApprovedPromotion(promotion=promotion, approved_by=("policy:staging",))
        request = promote.carry_out(approved, planned)
        self.commit(dict(request.files), request.message)

    def settled(self) -> SyncStatus:
        def done() -> SyncStatus | None:
            status = self.sync.status("shop", "staging")
            return status if status.state in (DeploymentState.HEALTHY, DeploymentState.DEGRADED) else None

        status = until(done)
        assert isinstance(status, SyncStatus)
        return status

    def serving(self) -> str:
        status, body = get(self.traffic.url("shop", "staging"))
        return json.loads(body)["environment"]["AEGIS_RELEASE"] if status == 200 else ""

    def placed(self, version: str, *, broken: bool = False) -> Placed:
        from support.workloads import SERVER, layer

        source = b"raise SystemExit('the configuration is missing')\n" if broken else SERVER
        digest = self.registry.push(image(layer({"app/start.py": source})), version)
        return Placed(release=f"shop@{version}", image="r.test/shop", digest=digest, commit="c" * 40)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    made = Platform(tmp_path_factory.mktemp("platform"))
    made.promote(made.placed("1.0.0"))
    assert made.settled().state is DeploymentState.HEALTHY
    until(made.serving)
    yield made
    made.stop()


def test_r2_1_and_2_a_commit_of_a_manifest_is_noticed_and_applied_by_itself(platform: Platform):
    numbers = itertools.count()

    def applied() -> float:
        version = f"1.1.{next(numbers)}"
        placed = platform.placed(version)
        begun = time.monotonic()
        platform.promote(placed)
        seconds = time.monotonic() - begun
        assert platform.settled().release == f"shop@{version}"
        assert any(one.release == f"shop@{version}" for one in platform.cluster.observe("aegis-staging"))
        assert f"Aegis-Release: shop@{version}" in platform.log[-1]
        return seconds

    assert best(1.0, applied) <= 1.0


def test_r2_3_an_update_is_rolling_and_without_downtime(platform: Platform):
    with Callers(platform.traffic.url("shop", "staging")) as callers:
        until(lambda: callers.total > 20)
        platform.promote(platform.placed("1.2.0"))
        platform.settled()
        until(lambda: platform.serving() == "shop@1.2.0")
        seen = callers.total
        until(lambda: callers.total > seen + 20)
    assert {status for status, _ in callers.seen} == {200}
    assert ("shop@1.2.0" in {release for _, release in callers.seen}) is True


def test_r2_4_a_failed_deployment_returns_to_the_previous_release_by_a_commit(platform: Platform):
    before = overlay.released(platform.files, "shop", "staging")
    assert before is not None
    url = platform.traffic.url("shop", "staging")
    with Callers(url) as callers:
        platform.promote(platform.placed("1.3.0", broken=True))
        failed = platform.settled()
        assert failed.state is DeploymentState.DEGRADED
        assert "the configuration is missing" in failed.reason
        _, request = promote.revert(
            platform.files, base="0" * 40, spec=SPEC, environment="staging", to=before, policy_digest=POLICY,
            reason=failed.reason,
        )  # fmt: skip
        platform.commit(dict(request.files), request.message)
        assert platform.settled().state is DeploymentState.HEALTHY
        until(lambda: len(platform.cluster.observe("aegis-staging")) == 1)
    assert {status for status, _ in callers.seen} == {200}
    assert platform.serving() == before.release
    assert "Aegis-Reverts: shop@1.3.0" in platform.log[-1]


def test_r2_5_a_finished_deployment_has_been_confirmed_by_health_checks(platform: Platform):
    status = platform.settled()
    assert status.state is DeploymentState.HEALTHY
    assert status.reason == "every replica answers its health check"
    assert status.drift == ()
    (workload,) = platform.cluster.observe("aegis-staging")
    assert workload.ready == workload.replicas == 2


def test_drift_is_named_and_mended(platform: Platform):
    manifests = render(platform.files, overlay.overlay_path("shop", "staging"))
    deployment = next(one for one in manifests if one.kind == "Deployment")
    body = json.loads(json.dumps(deployment.body))
    body["spec"]["replicas"] = 1
    platform.cluster.apply("aegis-staging", [replace(deployment, body=body)], key="by hand")
    platform.settled()
    until(lambda: platform.cluster.observe("aegis-staging")[0].replicas == 2)
