"""Overlays that Aegis writes, and their rendering."""

from __future__ import annotations

import pytest

from aegis.core.errors import NotFound, UserError
from aegis.gitops import overlay
from aegis.gitops.manifest import RELEASE, dump
from aegis.gitops.overlay import EnvironmentSpec, Placed, Resources, ServiceSpec
from aegis.gitops.render import render

SPEC = ServiceSpec(
    name="orders",
    environments=(
        EnvironmentSpec(name="development", namespace="aegis-dev", seed=True, variables={"LOG": "debug"}),
        EnvironmentSpec(
            name="production",
            namespace="aegis-prod",
            replicas=2,
            strategy="canary",
            resources=Resources(memory_limit="512Mi"),
        ),
    ),
    peers={"PAYMENTS_URL": "payments"},
    seed_command=("python", "-m", "orders.seed"),
)
PLACED = Placed(
    release="orders@1.2.0",
    image="registry.test/shop/orders",
    digest="sha256:" + "a" * 64,
    commit="c" * 40,
    promotion="p1",
)


def _files(environment: str = "development") -> dict[str, bytes]:
    return {**overlay.generate(SPEC), **overlay.set_release(SPEC, environment, PLACED)}


def _container(files: dict[str, bytes], environment: str = "development") -> dict[str, object]:
    manifests = render(files, overlay.overlay_path("orders", environment))
    body = next(one for one in manifests if one.kind == "Deployment").body
    return body["spec"]["template"]["spec"]["containers"][0]


def test_a_released_overlay_renders_image_by_digest_and_the_releases_identity():
    container = _container(_files())
    assert container["image"] == "registry.test/shop/orders@sha256:" + "a" * 64
    values = {one["name"]: one["value"] for one in container["env"]}
    assert values["AEGIS_RELEASE"] == "orders@1.2.0"
    assert values["AEGIS_COMMIT"] == "c" * 40
    assert values["PAYMENTS_URL"] == "http://payments.aegis-dev.svc"
    assert values["LOG"] == "debug"
    assert values["PORT"] == "8000"


def test_environments_differ_in_size_and_strategy_only():
    files = _files("production")
    container = _container(files, "production")
    assert container["resources"]["limits"]["memory"] == "512Mi"
    deployment = next(one for one in render(files, "services/orders/overlays/production") if one.kind == "Deployment")
    assert deployment.body["spec"]["replicas"] == 2
    assert deployment.annotations["aegis.io/strategy"] == "canary"
    assert deployment.namespace == "aegis-prod"


def test_the_seed_job_is_in_development_only_and_named_after_the_release():
    development = render(_files(), "services/orders/overlays/development")
    job = next(one for one in development if one.kind == "Job")
    assert job.name == "orders-seed-1-2-0-aaaaaaaa"
    assert job.wave == 1
    assert job.body["spec"]["template"]["spec"]["containers"][0]["image"].endswith("a" * 64)
    production = render(_files("production"), "services/orders/overlays/production")
    assert {one.kind for one in production} == {"Deployment", "Service"}


def test_set_release_touches_only_the_release_component():
    before = overlay.generate(SPEC)
    changed = overlay.set_release(SPEC, "production", PLACED)
    assert set(changed) == {"services/orders/overlays/production/release/kustomization.yaml"}
    assert overlay.released(before, "orders", "production") is None
    assert overlay.released({**before, **changed}, "orders", "production") == PLACED


def test_rendering_is_deterministic_and_leaves_its_input_alone():
    files = _files()
    first = dump(render(files, "services/orders/overlays/development"))
    assert first == dump(render(dict(reversed(files.items())), "services/orders/overlays/development"))


def test_a_person_may_patch_the_overlay_and_a_promotion_keeps_it():
    files = overlay.generate(SPEC)
    path = "services/orders/overlays/production/kustomization.yaml"
    files[path] += b"""  - target: {kind: Deployment, name: orders}
    patch: |
      - op: replace
        path: /spec/replicas
        value: 7
"""
    files |= overlay.set_release(SPEC, "production", PLACED)
    deployment = next(one for one in render(files, "services/orders/overlays/production") if one.kind == "Deployment")
    assert deployment.body["spec"]["replicas"] == 7
    assert deployment.annotations[RELEASE] == "orders@1.2.0"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"helmCharts: []", "kustomize-unsupported"),
        (b"namePrefix: x-", "kustomize-unsupported"),
        (b"resources: [../../../../etc]", "kustomize-outside"),
        (b"resources: ['https://example.org/base']", "kustomize-outside"),
        (b"resources: [a\n", "manifest-yaml"),
        (b"patches: [{patch: '[{op: add, path: /a, value: 1}]'}]", "patch-target"),
        (b"labels: [{pairs: {a: b}, includeSelectors: true}]", "kustomize-unsupported"),
    ],
)
def test_what_is_not_rendered_is_refused_by_name(text: bytes, code: str):
    with pytest.raises(UserError) as caught:
        render({"app/kustomization.yaml": text}, "app")
    assert caught.value.code == code


def test_a_missing_resource_is_named():
    with pytest.raises(NotFound, match=r"names gone\.yaml"):
        render({"app/kustomization.yaml": b"resources: [gone.yaml]"}, "app")


def test_a_folder_that_includes_itself_is_refused():
    files = {"a/kustomization.yaml": b"resources: [../b]", "b/kustomization.yaml": b"resources: [../a]"}
    with pytest.raises(UserError, match="includes itself"):
        render(files, "a")


def test_a_generated_config_map_gets_kustomizes_hash_and_its_references_follow():
    files = {
        "app/kustomization.yaml": b"resources: [d.yaml]\nconfigMapGenerator: [{name: settings, literals: [a=b]}]\n",
        "app/d.yaml": b"""apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec: {template: {spec: {containers: [{name: c, envFrom: [{configMapRef: {name: settings}}]}]}}}
""",
    }
    deployment, config = render(files, "app")
    assert config.name.startswith("settings-")
    assert len(config.name) == len("settings-") + 10
    container = deployment.body["spec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"][0]["configMapRef"]["name"] == config.name


def test_a_service_name_that_is_no_label_is_refused():
    with pytest.raises(UserError, match="DNS label"):
        overlay.generate(ServiceSpec(name="Orders!", environments=()))
