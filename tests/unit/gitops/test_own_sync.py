"""The own reconciler carries out what `gitops.sync` decides, once, also after an interruption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from aegis.adapters.sync_own import OwnSync
from aegis.core.errors import NotFound
from aegis.core.types import DeploymentState, Workload
from aegis.gitops import overlay
from aegis.gitops.manifest import RELEASE, Manifest, Ref
from aegis.gitops.overlay import EnvironmentSpec, Placed, ServiceSpec
from aegis.gitops.ports import Cluster, JobState, JobStatus
from aegis.gitops.render import render

SPEC = ServiceSpec(
    name="orders",
    environments=(EnvironmentSpec(name="development", namespace="dev", seed=True),),
    seed_command=("python", "seed.py"),
)


def _manifests(version: str) -> tuple[Manifest, ...]:
    placed = Placed(release=f"orders@{version}", image="r.test/o", digest="sha256:" + version[0] * 64, commit="c" * 40)
    files = {**overlay.generate(SPEC), **overlay.set_release(SPEC, "development", placed)}
    return render(files, "services/orders/overlays/development")


class Recorder:
    """A cluster in which everything is healthy as soon as `healthy` says so."""

    def __init__(self) -> None:
        self.objects: dict[Ref, Manifest] = {}
        self.calls: list[tuple[str, str]] = []
        self.keys: set[str] = set()
        self.healthy = False

    def apply(self, _namespace: str, manifests: Sequence[Manifest], *, key: str) -> None:
        if key not in self.keys:
            self.keys.add(key)
            self.calls.append(("apply", " ".join(one.kind for one in manifests)))
            self.objects |= {one.ref: one for one in manifests}

    def prune(self, _namespace: str, refs: Sequence[Ref], *, key: str) -> None:
        self.keys.add(key)
        self.calls.append(("prune", " ".join(one.name for one in refs)))
        for ref in refs:
            del self.objects[ref]

    def live(self, _namespace: str) -> tuple[Manifest, ...]:
        return tuple(self.objects.values())

    def observe(self, _namespace: str) -> tuple[Workload, ...]:
        state = DeploymentState.HEALTHY if self.healthy else DeploymentState.PROGRESSING
        return tuple(
            Workload(
                service=one.name, environment="development", release=one.annotations[RELEASE], digest="", replicas=1,
                ready=1, state=state,
            )
            for one in self.objects.values()
            if one.kind == "Deployment"
        )  # fmt: skip

    def jobs(self, namespace: str) -> tuple[JobStatus, ...]:
        state = JobState.SUCCEEDED if self.healthy else JobState.RUNNING
        names = [one.name for one in self.objects.values() if one.kind == "Job"]
        return tuple(JobStatus(namespace=namespace, name=name, state=state) for name in names)


def _sync(cluster: Recorder) -> OwnSync:
    return OwnSync(cast("Cluster", cluster))


def _request(sync: OwnSync, version: str, key: str) -> None:
    sync.request("orders", "development", namespace="dev", commit=key, manifests=_manifests(version), key=key)


def test_waves_follow_health_and_what_is_left_over_goes_last():
    cluster = Recorder()
    sync = _sync(cluster)
    _request(sync, "1.0.0", "a")
    assert cluster.calls == [("apply", "Deployment Service")]
    assert "orders@1.0.0" in sync.status("orders", "development").waiting_for
    cluster.healthy = True
    status = sync.status("orders", "development")
    assert status.state is DeploymentState.HEALTHY
    assert status.release == "orders@1.0.0"
    assert status.drift == ()
    _request(sync, "2.0.0", "b")
    assert sync.status("orders", "development").state is DeploymentState.HEALTHY
    assert cluster.calls[1:] == [
        ("apply", "Job"),
        ("apply", "Deployment"),
        ("apply", "Job"),
        ("prune", "orders-seed-1-0-0-11111111"),
    ]


def test_asking_again_changes_nothing_also_after_a_restart():
    cluster = Recorder()
    cluster.healthy = True
    _request(_sync(cluster), "1.0.0", "a")
    before = list(cluster.calls)
    again = _sync(cluster)
    _request(again, "1.0.0", "a")
    _request(again, "1.0.0", "a")
    assert cluster.calls == before


def test_what_somebody_removed_by_hand_is_brought_back():
    cluster = Recorder()
    cluster.healthy = True
    sync = _sync(cluster)
    _request(sync, "1.0.0", "a")
    service = next(ref for ref in cluster.objects if ref.kind == "Service")
    del cluster.objects[service]
    assert sync.status("orders", "development").state is DeploymentState.HEALTHY
    assert cluster.calls[-1] == ("apply", "Service")


def test_what_was_never_requested_is_not_found():
    with pytest.raises(NotFound):
        _sync(Recorder()).status("orders", "nowhere")
