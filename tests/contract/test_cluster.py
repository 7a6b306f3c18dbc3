"""The contract of `gitops.ports.Cluster`, held by the local cluster with real processes behind real Traefik."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aegis.adapters.clock_system import SystemClock
from aegis.adapters.cluster_local import LocalCluster
from aegis.adapters.traffic_traefik import TraefikTraffic, find_binary
from aegis.core.errors import Conflict, ExternalError, NotFound
from aegis.core.types import DeploymentState, Workload
from aegis.gitops.manifest import manifest
from aegis.gitops.ports import Cluster, JobState
from support.workloads import SERVER, Callers, Registry, get, image, layer, shop, until

NAMESPACES = {"aegis-dev": "development", "aegis-prod": "production"}
PAIRS = tuple((service, environment) for service in ("shop", "peer") for environment in NAMESPACES.values())


@dataclass
class World:
    """A cluster with its splitter and registry, that can be stopped and begun again."""

    data: Path
    registry: Registry = field(default_factory=Registry)

    def begin(self) -> World:
        import sys

        self.traffic = TraefikTraffic(
            self.data / "traffic", binary=find_binary(), clock=SystemClock(), pairs=PAIRS, conceal=[self.data]
        )
        self.traffic.start()
        self.cluster = LocalCluster(
            self.data / "cluster",
            pull=self.registry.pull,
            clock=SystemClock(),
            python=sys.executable,
            namespaces=NAMESPACES,
            traffic=self.traffic,
            conceal=[self.data],
            drain_seconds=0.1,
        )
        self.cluster.start()
        return self

    def end(self) -> None:
        self.cluster.stop()
        self.traffic.stop()

    @property
    def url(self) -> str:
        return self.traffic.url("shop", "development")

    def workload(self, version: str, namespace: str = "aegis-dev") -> Workload | None:
        return next((one for one in self.cluster.observe(namespace) if one.release == f"shop@{version}"), None)

    def reaches(self, version: str, state: DeploymentState, namespace: str = "aegis-dev") -> Workload:
        def seen() -> Workload | None:
            one = self.workload(version, namespace)
            return one if one is not None and one.state is state else None

        found = until(seen, said=lambda: self.cluster.observe(namespace))
        assert isinstance(found, Workload)
        return found

    def answer(self, environment: str = "development") -> dict[str, str]:
        status, body = get(self.traffic.url("shop", environment))
        return json.loads(body)["environment"] if status == 200 else {}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world")).begin()
    yield made
    made.end()


@pytest.fixture
def digest(world: World) -> str:
    return world.registry.push(image())


@pytest.fixture(autouse=True)
def cleared(world: World) -> Iterator[None]:
    """Each test finds an empty cluster."""
    yield
    for namespace in NAMESPACES:
        refs = [one.ref for one in world.cluster.live(namespace)]
        if refs:
            world.cluster.prune(namespace, refs, key=f"clear-{id(refs)}-{os.urandom(4).hex()}")
    until(lambda: not any(world.cluster.observe(namespace) for namespace in NAMESPACES))


def _key() -> str:
    return os.urandom(8).hex()


def test_the_local_cluster_is_a_cluster(world: World):
    held: Cluster = world.cluster
    assert held is world.cluster
    assert world.cluster.isolation


def test_a_release_is_applied_healthy_and_traced_to_its_commit(world: World, digest: str):
    world.cluster.apply("aegis-dev", shop(digest, "1.0.0"), key=_key())
    workload = world.reaches("1.0.0", DeploymentState.HEALTHY)
    assert workload.digest == digest
    assert workload.commit == "1" * 40
    until(world.answer)
    values = world.answer()
    assert values["AEGIS_COMMIT"] == "1" * 40
    assert values["AEGIS_IMAGE_DIGEST"] == digest
    assert values["PEER_URL"] == world.traffic.url("peer", "development")
    (pid,) = workload.processes
    assert b"AEGIS_RELEASE=shop@1.0.0" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert world.cluster.active("aegis-dev", "shop") == "shop@1.0.0"


def test_a_workload_has_a_clean_environment_and_its_paths_are_those_of_the_image(world: World, digest: str):
    world.cluster.apply("aegis-dev", shop(digest, "1.0.0"), key=_key())
    world.reaches("1.0.0", DeploymentState.HEALTHY)
    until(world.answer)
    body = json.loads(get(world.url)[1])
    assert body["file"].endswith("app/start.py")
    search = body["environment"]["PYTHONPATH"].split(":")
    assert [one[-7:] for one in search] == ["app/lib", "app/src"]
    assert not {"VIRTUAL_ENV", "PYTEST_CURRENT_TEST", "SSH_AUTH_SOCK"} & set(body["environment"])


def test_an_update_is_rolling_and_no_request_fails(world: World, digest: str):
    world.cluster.apply("aegis-dev", shop(digest, "1.0.0", replicas=2), key=_key())
    world.reaches("1.0.0", DeploymentState.HEALTHY)
    until(world.answer)
    with Callers(world.url) as callers:
        until(lambda: callers.total > 20)
        slow = {"SLOW_START": "0.3"}
        world.cluster.apply("aegis-dev", shop(digest, "1.1.0", replicas=2, variables=slow), key=_key())
        until(lambda: world.cluster.active("aegis-dev", "shop") == "shop@1.1.0")
        until(lambda: world.workload("1.0.0") is None)
        before = callers.total
        until(lambda: callers.total > before + 20)
    assert {status for status, _ in callers.seen} == {200}
    assert {release for _, release in callers.seen} == {"shop@1.0.0", "shop@1.1.0"}


def test_a_version_that_crashes_is_degraded_with_its_last_words_and_the_old_one_stays(world: World, digest: str):
    world.cluster.apply("aegis-dev", shop(digest, "1.0.0"), key=_key())
    world.reaches("1.0.0", DeploymentState.HEALTHY)
    until(world.answer)
    world.cluster.apply("aegis-dev", shop(digest, "2.0.0", variables={"CRASH": "no database"}), key=_key())
    broken = world.reaches("2.0.0", DeploymentState.DEGRADED)
    assert "crash loop" in broken.message
    assert "exit code 3" in broken.message
    assert "cannot go on: no database" in broken.message
    assert world.answer()["AEGIS_RELEASE"] == "shop@1.0.0"
    assert any("no database" in line for line in world.cluster.logs("aegis-dev", "shop", release="shop@2.0.0"))
    world.cluster.apply("aegis-dev", shop(digest, "1.0.0"), key=_key())
    until(lambda: world.workload("2.0.0") is None)
    assert world.answer()["AEGIS_RELEASE"] == "shop@1.0.0"


def test_a_version_that_is_never_ready_is_degraded_after_its_deadline(world: World, digest: str):
    world.cluster.apply("aegis-dev", shop(digest, "3.0.0", variables={"SLOW_START": "60"}, deadline=1), key=_key())
    late = world.reaches("3.0.0", DeploymentState.DEGRADED)
    assert "not ready within 1 s" in late.message
    assert "answers 500" in late.message


def test_a_canary_runs_beside_until_it_is_told_otherwise(world: World, digest: str):
    def canary(version: str) -> None:
        manifests = shop(digest, version, strategy="canary", namespace="aegis-prod", environment="production")
        world.cluster.apply("aegis-prod", manifests, key=_key())

    canary("1.0.0")
    world.reaches("1.0.0", DeploymentState.HEALTHY, "aegis-prod")
    until(lambda: world.cluster.active("aegis-prod", "shop"))
    canary("1.1.0")
    new = world.reaches("1.1.0", DeploymentState.HEALTHY, "aegis-prod")
    old = world.workload("1.0.0", "aegis-prod")
    assert old is not None
    assert world.cluster.active("aegis-prod", "shop") == "shop@1.0.0"
    split = {"shop@1.0.0": (old.addresses, 50), "shop@1.1.0": (new.addresses, 50)}
    world.traffic.set_weights("shop", "production", split)
    assert {world.answer("production")["AEGIS_RELEASE"] for _ in range(6)} == {"shop@1.0.0", "shop@1.1.0"}
    world.traffic.set_weights("shop", "production", {**split, "shop@1.0.0": (old.addresses, 0)})
    world.cluster.set_active("aegis-prod", "shop", "shop@1.1.0")
    with pytest.raises(Conflict):
        world.cluster.retire("aegis-prod", "shop", "shop@1.1.0")
    assert world.workload("1.0.0", "aegis-prod") is not None
    world.cluster.retire("aegis-prod", "shop", "shop@1.0.0")
    until(lambda: world.workload("1.0.0", "aegis-prod") is None)
    assert world.answer("production")["AEGIS_RELEASE"] == "shop@1.1.0"


def test_a_canary_that_is_taken_back_in_git_is_ended_by_itself(world: World, digest: str):
    def canary(version: str) -> None:
        manifests = shop(digest, version, strategy="canary", namespace="aegis-prod", environment="production")
        world.cluster.apply("aegis-prod", manifests, key=_key())

    canary("1.0.0")
    until(lambda: world.cluster.active("aegis-prod", "shop"))
    canary("1.1.0")
    new = world.reaches("1.1.0", DeploymentState.HEALTHY, "aegis-prod")
    canary("1.0.0")
    until(lambda: world.workload("1.1.0", "aegis-prod") is None)
    assert world.cluster.active("aegis-prod", "shop") == "shop@1.0.0"
    until(lambda: not Path(f"/proc/{new.processes[0]}").exists())


def test_applying_is_idempotent_by_key_and_by_content(world: World, digest: str):
    key = _key()
    assert not world.cluster.find(key)
    world.cluster.apply("aegis-dev", shop(digest, "1.0.0"), key=key)
    assert world.cluster.find(key)
    first = world.reaches("1.0.0", DeploymentState.HEALTHY)
    world.cluster.apply("aegis-dev", shop(digest, "1.0.0"), key=key)
    world.cluster.apply("aegis-dev", shop(digest, "1.0.0"), key=_key())
    (again,) = world.cluster.observe("aegis-dev")
    assert again.processes == first.processes


def test_more_replicas_start_no_new_version(world: World, digest: str):
    world.cluster.apply("aegis-dev", shop(digest, "1.0.0"), key=_key())
    first = world.reaches("1.0.0", DeploymentState.HEALTHY)
    world.cluster.apply("aegis-dev", shop(digest, "1.0.0", replicas=2), key=_key())
    until(lambda: len(world.reaches("1.0.0", DeploymentState.HEALTHY).addresses) == 2)
    (again,) = world.cluster.observe("aegis-dev")
    assert first.processes[0] in again.processes


def test_a_replica_that_is_killed_comes_back(world: World, digest: str):
    world.cluster.apply("aegis-dev", shop(digest, "1.0.0"), key=_key())
    first = world.reaches("1.0.0", DeploymentState.HEALTHY)
    os.kill(int(first.processes[0]), signal.SIGKILL)

    def back() -> bool:
        one = world.workload("1.0.0")
        return one is not None and one.state is DeploymentState.HEALTHY and one.processes != first.processes

    until(back)
    until(world.answer)


def test_a_seed_job_runs_once_and_its_log_is_kept(world: World, digest: str):
    manifests = shop(digest, "1.0.0", seed=True)
    job = next(one for one in manifests if one.kind == "Job")
    world.cluster.apply("aegis-dev", manifests, key=_key())
    until(lambda: any(one.state is JobState.SUCCEEDED for one in world.cluster.jobs("aegis-dev")))
    (line,) = world.cluster.logs("aegis-dev", job.name)
    assert line == f"seeded shop@1.0.0 {world.url}"
    world.cluster.apply("aegis-dev", manifests, key=_key())
    assert len(world.cluster.logs("aegis-dev", job.name)) == 1


def test_a_job_that_fails_says_its_last_words(world: World):
    broken = world.registry.push(
        image(layer({"app/start.py": SERVER, "app/src/seed.py": b"raise SystemExit('no such table')\n"}))
    )
    manifests = [one for one in shop(broken, "1.0.1", seed=True) if one.kind == "Job"]
    world.cluster.apply("aegis-dev", manifests, key=_key())
    until(lambda: any(one.state is JobState.FAILED for one in world.cluster.jobs("aegis-dev")))
    (status,) = world.cluster.jobs("aegis-dev")
    assert "no such table" in status.message


def test_what_cannot_be_carried_out_is_refused_and_changes_nothing(world: World, digest: str):
    good = shop(digest, "1.0.0")
    daemon = manifest({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "x"}})
    with pytest.raises(ExternalError, match="DaemonSet"):
        world.cluster.apply("aegis-dev", [*good, daemon], key=_key())
    assert world.cluster.live("aegis-dev") == ()
    assert world.cluster.observe("aegis-dev") == ()


def test_live_shows_what_was_applied_and_unknown_versions_are_not_found(world: World, digest: str):
    manifests = shop(digest, "1.0.0")
    world.cluster.apply("aegis-dev", manifests, key=_key())
    assert world.cluster.live("aegis-dev") == manifests
    for call in (world.cluster.retire, world.cluster.set_active):
        with pytest.raises(NotFound):
            call("aegis-dev", "shop", "shop@9.9.9")
    assert world.cluster.active("aegis-dev", "nobody") is None


def test_a_workload_does_not_see_the_data_directory(world: World):
    if world.cluster.isolation.startswith("process"):
        pytest.skip("mount namespaces need root")
    peek = f"import os; print(sorted(os.listdir({str(world.data)!r})), sorted(os.listdir({str(world.data / 'cluster')!r})))"
    spying = world.registry.push(image(layer({"app/start.py": SERVER, "app/src/seed.py": peek.encode()})))
    manifests = [one for one in shop(spying, "1.0.2", seed=True) if one.kind == "Job"]
    world.cluster.apply("aegis-dev", manifests, key=_key())
    until(lambda: any(one.state is JobState.SUCCEEDED for one in world.cluster.jobs("aegis-dev")))
    assert world.cluster.logs("aegis-dev", manifests[0].name) == ("['cluster'] ['store']",)


def test_after_a_restart_everything_runs_as_before_also_amid_a_rollout(tmp_path: Path):
    world = World(tmp_path)
    digest = world.registry.push(image())

    def canary(version: str, key: str) -> None:
        manifests = shop(digest, version, strategy="canary", namespace="aegis-prod", environment="production")
        world.cluster.apply("aegis-prod", manifests, key=key)

    def both() -> list[Workload]:
        running = list(world.cluster.observe("aegis-prod"))
        return running if [one.state for one in running] == [DeploymentState.HEALTHY] * 2 else []

    world.begin()
    try:
        canary("1.0.0", "first")
        until(lambda: world.cluster.active("aegis-prod", "shop"))
        canary("1.1.0", "second")
        until(both)
        old, new = both()
        address = world.traffic.url("shop", "production")
        split = {old.release: (old.addresses, 75), new.release: (new.addresses, 25)}
        world.traffic.set_weights("shop", "production", split)
        world.end()
        assert not Path(f"/proc/{old.processes[0]}").exists()
        world.begin()
        assert world.cluster.find("first")
        assert world.cluster.active("aegis-prod", "shop") == "shop@1.0.0"
        until(both)
        assert [one.addresses for one in both()] == [old.addresses, new.addresses]
        assert world.traffic.url("shop", "production") == address
        assert world.traffic.weights("shop", "production") == {"shop@1.0.0": 75, "shop@1.1.0": 25}
        until(lambda: world.answer("production"))
        assert {world.answer("production")["AEGIS_RELEASE"] for _ in range(8)} == {"shop@1.0.0", "shop@1.1.0"}
        assert world.registry.pulled[digest] == 1
    finally:
        world.end()


def test_a_replica_that_dies_leaves_the_traffic_to_the_others(world: World, digest: str):
    world.cluster.apply("aegis-dev", shop(digest, "1.0.0", replicas=2), key=_key())
    first = world.reaches("1.0.0", DeploymentState.HEALTHY)
    until(world.answer)
    with Callers(world.url) as callers:
        until(lambda: callers.total > 20)
        os.kill(int(first.processes[0]), signal.SIGKILL)
        killed = callers.total
        until(lambda: callers.total > killed + 100)
        until(lambda: len(world.reaches("1.0.0", DeploymentState.HEALTHY).addresses) == 2)
    failed = sum(count for (status, _), count in callers.seen.items() if status != 200)
    assert failed / callers.total < 0.3
