"""What the local runtime reads from manifests, and what it refuses by name."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from aegis.adapters.cluster_local import model
from aegis.core.errors import ExternalError
from aegis.gitops.manifest import Manifest, manifest
from support.workloads import shop

DIGEST = "sha256:" + "a" * 64
DEPLOYMENT = next(one for one in shop(DIGEST, "1.0.0") if one.kind == "Deployment")


def _with(change: Any) -> Manifest:
    body = copy.deepcopy(dict(DEPLOYMENT.body))
    change(body, body["spec"]["template"]["spec"], body["spec"]["template"]["spec"]["containers"][0])
    return manifest(body)


def test_a_deployment_is_read_whole():
    wanted = model.deployment(DEPLOYMENT, {})
    assert wanted.release == "shop@1.0.0"
    assert wanted.program.digest == DIGEST
    assert wanted.program.memory == 256 * 2**20
    assert wanted.program.cpu == 0.5
    assert wanted.probe == model.Probe(path="/healthz", period=1.0, timeout=1.0, failures=3)
    assert wanted.grace == 3


def test_size_is_no_new_version_and_a_variable_is():
    more = _with(lambda body, _pod, _one: body["spec"].update(replicas=5))
    assert model.deployment(more, {}).key == model.deployment(DEPLOYMENT, {}).key
    other = _with(lambda _body, _pod, one: one["env"].append({"name": "NEW", "value": "1"}))
    assert model.deployment(other, {}).key != model.deployment(DEPLOYMENT, {}).key


def test_config_maps_fill_the_environment_and_their_content_is_part_of_the_version():
    def change(_body: Any, _pod: Any, one: Any) -> None:
        one["envFrom"] = [{"configMapRef": {"name": "settings"}}]
        one["env"].append({"name": "B", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "b"}}})

    maps = {"settings": {"a": "1", "b": "2"}, "other": {"x": "y"}}
    wanted = model.deployment(_with(change), maps)
    assert wanted.program.environment["a"] == "1"
    assert wanted.program.environment["B"] == "2"
    assert model.deployment(_with(change), {**maps, "settings": {"a": "9", "b": "2"}}).key != wanted.key
    assert model.deployment(_with(change), {**maps, "other": {}}).key == wanted.key
    with pytest.raises(ExternalError, match="there is no ConfigMap"):
        model.deployment(_with(change), {})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda _b, pod, _c: pod.update(volumes=[{"name": "v", "emptyDir": {}}]), "volumes"),
        (lambda _b, pod, _c: pod.update(initContainers=[{"name": "i"}]), "initContainers"),
        (lambda _b, pod, _c: pod["containers"].append({"name": "sidecar"}), "2 containers"),
        (lambda _b, _p, one: one.update(volumeMounts=[{"name": "v", "mountPath": "/v"}]), "volumeMounts"),
        (lambda _b, _p, one: one.update(lifecycle={}), "lifecycle"),
        (
            lambda _b, _p, one: one["env"].append({"name": "S", "valueFrom": {"secretKeyRef": {"name": "s"}}}),
            "secretKeyRef",
        ),
        (lambda _b, _p, one: one.update(readinessProbe={"exec": {"command": ["x"]}}), "httpGet"),
        (lambda _b, _p, one: one.update(image="shop:latest"), "digest"),
        (lambda _b, _p, one: one["resources"]["limits"].update(memory="lots"), "quantity"),
    ],
)
def test_what_is_not_carried_out_is_refused_by_name(change: Any, named: str):
    with pytest.raises(ExternalError, match=named):
        model.deployment(_with(change), {})


@pytest.mark.parametrize(
    ("text", "value"), [("250m", 0.25), ("2", 2), ("128Mi", 128 * 2**20), ("1G", 10**9), ("1.5Gi", 1.5 * 2**30)]
)
def test_quantities_are_kubernetes_own(text: str, value: float):
    assert model.quantity(text) == pytest.approx(value)
