"""The reconciler's decisions, and what counts as drift."""

from __future__ import annotations

import copy

from aegis.core.types import DeploymentState, Workload
from aegis.gitops import overlay
from aegis.gitops.drift import drift
from aegis.gitops.manifest import Manifest, manifest
from aegis.gitops.overlay import EnvironmentSpec, Placed, ServiceSpec
from aegis.gitops.ports import JobState, JobStatus
from aegis.gitops.render import render
from aegis.gitops.sync import decide

SPEC = ServiceSpec(
    name="orders",
    environments=(EnvironmentSpec(name="development", namespace="dev", seed=True),),
    seed_command=("python", "seed.py"),
)
PLACED = Placed(release="orders@1.0.0", image="r.test/orders", digest="sha256:" + "a" * 64, commit="c" * 40)
DESIRED = render(
    {**overlay.generate(SPEC), **overlay.set_release(SPEC, "development", PLACED)},
    "services/orders/overlays/development",
)
FIRST = tuple(one for one in DESIRED if one.kind != "Job")


def _workload(state: DeploymentState, message: str = "") -> Workload:
    return Workload(
        service="orders", environment="development", release="orders@1.0.0", digest="", replicas=1, ready=1, state=state,
        message=message,
    )  # fmt: skip


def _job(state: JobState) -> JobStatus:
    return JobStatus(namespace="dev", name=DESIRED[-1].name, state=state, message="no table")


def test_waves_go_upwards_and_wait_for_health():
    first = decide("orders", DESIRED, (), (), ())
    assert first.apply == FIRST
    waiting = decide("orders", DESIRED, FIRST, (_workload(DeploymentState.PROGRESSING),), ())
    assert not waiting.apply
    assert "orders@1.0.0" in waiting.waiting_for
    seed = decide("orders", DESIRED, FIRST, (_workload(DeploymentState.HEALTHY),), ())
    assert [one.kind for one in seed.apply] == ["Job"]


def test_a_job_runs_once_and_decides_with():
    healthy = (_workload(DeploymentState.HEALTHY),)
    assert decide("orders", DESIRED, DESIRED, healthy, (_job(JobState.RUNNING),)).state is DeploymentState.PROGRESSING
    assert decide("orders", DESIRED, DESIRED, healthy, (_job(JobState.SUCCEEDED),)).state is DeploymentState.HEALTHY
    failed = decide("orders", DESIRED, DESIRED, healthy, (_job(JobState.FAILED),))
    assert failed.state is DeploymentState.DEGRADED
    assert "no table" in failed.reason


def test_a_degraded_deployment_says_why():
    decision = decide("orders", DESIRED, FIRST, (_workload(DeploymentState.DEGRADED, "crash loop: boom"),), ())
    assert decision.done
    assert decision.reason == "crash loop: boom"


def test_pruning_is_last_and_only_of_our_own():
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old", "namespace": "dev"}}
    foreign = manifest(body)
    labels = {"app.kubernetes.io/name": "orders", "app.kubernetes.io/managed-by": "aegis"}
    ours = manifest({**body, "metadata": {**body["metadata"], "name": "ours", "labels": labels}})
    healthy = (_workload(DeploymentState.HEALTHY),)
    live = (*DESIRED, foreign, ours)
    assert not decide("orders", DESIRED, (*FIRST, ours), healthy, ()).prune
    assert decide("orders", DESIRED, live, healthy, (_job(JobState.SUCCEEDED),)).prune == (ours.ref,)


def _edited(one: Manifest, replicas: int) -> Manifest:
    body = copy.deepcopy(dict(one.body))
    body["spec"]["replicas"] = replicas
    body["status"] = {"readyReplicas": 3}
    body["spec"]["revisionHistoryLimit"] = 10
    return manifest(body)


def test_drift_names_the_field_and_ignores_what_the_cluster_adds():
    deployment = next(one for one in DESIRED if one.kind == "Deployment")
    assert drift([deployment], [_edited(deployment, 1)]) == ()
    (found,) = drift([deployment], [_edited(deployment, 3)])
    assert str(found) == "Deployment/orders in dev: spec.replicas is 3, Git says 1"
    (missing,) = drift([deployment], [])
    assert "missing" in str(missing)


def test_the_order_of_variables_is_no_drift():
    deployment = next(one for one in DESIRED if one.kind == "Deployment")
    body = copy.deepcopy(dict(deployment.body))
    body["spec"]["template"]["spec"]["containers"][0]["env"].reverse()
    assert drift([deployment], [manifest(body)]) == ()
