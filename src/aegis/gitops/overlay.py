"""The files of a service in the GitOps repository: a Kustomize base, an overlay per environment, a release in each.

    services/<service>/base/{deployment,service,kustomization}.yaml
    services/<service>/overlays/<environment>/kustomization.yaml             people may edit: size, variables, patches
    services/<service>/overlays/<environment>/release/kustomization.yaml     written by promotions alone

Decides: names, labels, annotations and layout. A promotion replaces one small component and nothing that a person
wrote. Does not decide what is promoted where, and never reads Git.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from aegis.core import ids
from aegis.core.errors import NotFound, UserError
from aegis.gitops.manifest import (
    COMMIT,
    ENVIRONMENT,
    PROMOTION,
    RELEASE,
    SERVICE,
    STRATEGY,
    VERSION,
    WAVE,
    load,
    to_yaml,
)

Files = Mapping[str, bytes]
StrategyKind = Literal["rolling", "canary", "blue-green"]

_HEADER: Final = "# Written by Aegis from aegis.yaml. {}\n"
_SLUG: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Requests and limits in Kubernetes' quantities (`250m` of a core, `128Mi`)."""

    cpu_request: str = "50m"
    memory_request: str = "64Mi"
    cpu_limit: str = "500m"
    memory_limit: str = "256Mi"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    """What differs from one environment to the next. `seed` runs the service's seed command once per release."""

    name: str
    namespace: str
    replicas: int = 1
    resources: Resources = Resources()
    variables: Mapping[str, str] = field(default_factory=dict)
    strategy: StrategyKind = "rolling"
    seed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A service as its manifests need it.

    `peers` maps a variable to the service whose address it holds (`PAYMENTS_URL` → `payments`), within the same
    environment. An empty `command` leaves the image's own.
    """

    name: str
    environments: tuple[EnvironmentSpec, ...]
    port: int = 8000
    health_path: str = "/healthz"
    command: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    peers: Mapping[str, str] = field(default_factory=dict)
    seed_command: tuple[str, ...] = ()
    progress_deadline_seconds: int = 60
    grace_seconds: int = 10

    def environment(self, name: str) -> EnvironmentSpec:
        """The environment of that name; `NotFound` with those there are."""
        for one in self.environments:
            if one.name == name:
                return one
        raise NotFound(
            "environment-unknown",
            f"{self.name} has no environment {name!r}",
            hint="declared: " + ", ".join(one.name for one in self.environments),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A release as it stands in an overlay. `commit` is the source commit of the release."""

    release: str
    image: str
    digest: str
    commit: str
    promotion: str = ""

    @property
    def version(self) -> str:
        """The part after `service@`."""
        return self.release.rpartition("@")[2]


def address(service: str, namespace: str) -> str:
    """A service's URL inside the cluster, the same on every version of it."""
    return f"http://{service}.{namespace}.svc"


def base_path(service: str) -> str:
    """The folder of a service's base."""
    return f"services/{service}/base"


def overlay_path(service: str, environment: str) -> str:
    """The folder to render for an environment."""
    return f"services/{service}/overlays/{environment}"


def release_path(service: str, environment: str) -> str:
    """The folder that promotions write."""
    return f"{overlay_path(service, environment)}/release"


def generate(spec: ServiceSpec) -> dict[str, bytes]:
    """All files of a service that do not depend on a release; an overlay is complete once `set_release` was called."""
    for name in (spec.name, *(one.name for one in spec.environments), *(one.namespace for one in spec.environments)):
        if not ids.is_name(name):
            raise UserError("name-invalid", f"{name!r} is no DNS label", hint="lower-case letters, digits and '-'")
    base = base_path(spec.name)
    files = {
        f"{base}/deployment.yaml": _file(_deployment(spec), "Sizes and variables stand in the overlays."),
        f"{base}/service.yaml": _file(_service(spec), "Its address stays while versions change."),
        f"{base}/kustomization.yaml": _file(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": ["deployment.yaml", "service.yaml"],
            },
            "What all environments share.",
        ),
    }
    for environment in spec.environments:
        path = overlay_path(spec.name, environment.name)
        files[f"{path}/kustomization.yaml"] = _file(
            _overlay(spec, environment), "The release stands in release/, which promotions alone write."
        )
        files[f"{path}/release/kustomization.yaml"] = _file(
            # `kustomize build` refuses a file without any field
            {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "metadata": {"name": "release"}},
            "Nothing is released here yet.",
        )
    return files


def set_release(spec: ServiceSpec, environment: str, placed: Placed) -> dict[str, bytes]:
    """The files that a promotion changes, whole: the release component, and the seed Job where one is declared."""
    where = spec.environment(environment)
    if not ids.is_digest(placed.digest):
        raise UserError("digest-needed", f"{placed.digest!r} is no digest", hint="a release is deployed by its digest")
    path = release_path(spec.name, environment)
    seeded = where.seed and bool(spec.seed_command)
    component: dict[str, Any] = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    if seeded:
        component["resources"] = ["seed.yaml"]
    component["images"] = [{"name": spec.name, "newName": placed.image, "digest": placed.digest}]
    component["patches"] = [{"patch": to_yaml(_release_patch(spec.name, placed))}]
    files = {f"{path}/kustomization.yaml": _file(component, "Promotions write this file; `aegis promote` changes it.")}
    if seeded:
        files[f"{path}/seed.yaml"] = _file(_seed(spec, where, placed), "Runs once per release.")
    return files


def released(files: Files, service: str, environment: str) -> Placed | None:
    """What the overlay holds now, or None before the first promotion."""
    path = f"{release_path(service, environment)}/kustomization.yaml"
    data = files.get(path)
    if data is None:
        return None
    documents = load(data, path)
    body = documents[0] if documents else {}
    images, patches = body.get("images") or [], body.get("patches") or []
    if not images or not patches:
        return None
    patch = load(str(patches[0].get("patch", "")).encode(), path)[0]
    annotations = patch.get("metadata", {}).get("annotations", {})
    return Placed(
        release=annotations.get(RELEASE, ""),
        image=images[0].get("newName", ""),
        digest=images[0].get("digest", ""),
        commit=annotations.get(COMMIT, ""),
        promotion=annotations.get(PROMOTION, ""),
    )


def with_environment(spec: ServiceSpec, environment: EnvironmentSpec) -> ServiceSpec:
    """`spec` with one environment replaced or added."""
    others = tuple(one for one in spec.environments if one.name != environment.name)
    return replace(spec, environments=(*others, environment))


# -- the documents ----------------------------------------------------------------------------------------


def _file(body: Mapping[str, Any], remark: str) -> bytes:
    return (_HEADER.format(remark) + to_yaml(body)).encode()


def _labels(service: str) -> dict[str, str]:
    return {SERVICE: service, "app.kubernetes.io/part-of": "aegis", "app.kubernetes.io/managed-by": "aegis"}


def _variables(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": values[name]} for name in sorted(values)]


def _deployment(spec: ServiceSpec) -> dict[str, Any]:
    probe = {"httpGet": {"path": spec.health_path, "port": spec.port}}
    container: dict[str, Any] = {"name": spec.name, "image": spec.name}
    if spec.command:
        container["command"] = list(spec.command)
    container |= {
        "ports": [{"name": "http", "containerPort": spec.port}],
        "env": _variables({**spec.variables, "PORT": str(spec.port)}),
        "readinessProbe": {**probe, "periodSeconds": 1, "failureThreshold": 3},
        "livenessProbe": {**probe, "periodSeconds": 5, "failureThreshold": 3},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": spec.name, "labels": _labels(spec.name)},
        "spec": {
            "replicas": 1,
            "progressDeadlineSeconds": spec.progress_deadline_seconds,
            # New before old: at no moment are fewer replicas ready than declared.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": {SERVICE: spec.name}},
            "template": {
                "metadata": {"labels": _labels(spec.name)},
                "spec": {"terminationGracePeriodSeconds": spec.grace_seconds, "containers": [container]},
            },
        },
    }


def _service(spec: ServiceSpec) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": spec.name, "labels": _labels(spec.name)},
        "spec": {
            "selector": {SERVICE: spec.name},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def _environment_variables(spec: ServiceSpec, environment: EnvironmentSpec) -> dict[str, str]:
    peers = {name: address(service, environment.namespace) for name, service in spec.peers.items()}
    return {"AEGIS_ENVIRONMENT": environment.name, **peers, **environment.variables}


def _overlay(spec: ServiceSpec, environment: EnvironmentSpec) -> dict[str, Any]:
    size = environment.resources
    patch = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": spec.name, "annotations": {STRATEGY: environment.strategy}},
        "spec": {
            "replicas": environment.replicas,
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": spec.name,
                            "resources": {
                                "requests": {"cpu": size.cpu_request, "memory": size.memory_request},
                                "limits": {"cpu": size.cpu_limit, "memory": size.memory_limit},
                            },
                            "env": _variables(_environment_variables(spec, environment)),
                        }
                    ]
                }
            },
        },
    }
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": environment.namespace,
        "resources": ["../../base"],
        "components": ["release"],
        "labels": [{"pairs": {ENVIRONMENT: environment.name}, "includeTemplates": True}],
        "patches": [{"patch": to_yaml(patch)}],
    }


def _identity(placed: Placed) -> dict[str, str]:
    return {
        "AEGIS_RELEASE": placed.release,
        "AEGIS_COMMIT": placed.commit,
        "AEGIS_IMAGE_DIGEST": placed.digest,
    }


def _release_patch(service: str, placed: Placed) -> dict[str, Any]:
    marks = {RELEASE: placed.release, COMMIT: placed.commit}
    version = {VERSION: placed.version}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": service, "labels": version, "annotations": {**marks, PROMOTION: placed.promotion}},
        "spec": {
            "template": {
                # The promotion stays out of the template: a second promotion of one release restarts nothing.
                "metadata": {"labels": version, "annotations": marks},
                "spec": {"containers": [{"name": service, "env": _variables(_identity(placed))}]},
            }
        },
    }


def _seed(spec: ServiceSpec, environment: EnvironmentSpec, placed: Placed) -> dict[str, Any]:
    # Kubernetes' Jobs are immutable: the release is part of the name, so a new release is a new Job.
    tail = f"{_SLUG.sub('-', placed.version.lower()).strip('-')}-{placed.digest.partition(':')[2][:8]}"
    values = {
        **spec.variables,
        **_environment_variables(spec, environment),
        **_identity(placed),
        f"{spec.name.upper().replace('-', '_')}_URL": address(spec.name, environment.namespace),
    }
    marks = {RELEASE: placed.release, COMMIT: placed.commit}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{spec.name}-seed-{tail}"[:63].rstrip("-"),
            "labels": _labels(spec.name),
            # After the Deployment is healthy, so that a seed may also speak to the service itself.
            "annotations": {**marks, WAVE: "1"},
        },
        "spec": {
            "backoffLimit": 1,
            "activeDeadlineSeconds": 120,
            "template": {
                "metadata": {"labels": _labels(spec.name), "annotations": marks},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "seed",
                            "image": spec.name,
                            "command": list(spec.seed_command),
                            "env": _variables(values),
                        }
                    ],
                },
            },
        },
    }
