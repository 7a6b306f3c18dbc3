"""What the local runtime reads from a manifest: pure, and strict about what it cannot carry out.

Read: Deployments and Jobs with one container, Services, ConfigMaps. Everything that would change how a program runs and
is not carried out here (volumes, init containers, secrets, other kinds) is refused by name; scheduling wishes and
security settings that only narrow a container are passed over.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aegis.core import codec
from aegis.core.errors import ExternalError
from aegis.gitops.manifest import COMMIT, RELEASE, STRATEGY, Manifest

KINDS: Final = ("Deployment", "Job", "Service", "ConfigMap", "Namespace")
_CONTAINER: Final = frozenset(
    {
        "name", "image", "command", "args", "env", "envFrom", "ports", "resources", "readinessProbe", "livenessProbe",
        "startupProbe", "workingDir", "securityContext", "imagePullPolicy", "terminationMessagePath",
    }
)  # fmt: skip
_POD_REFUSED: Final = ("volumes", "initContainers", "hostNetwork", "hostPID", "shareProcessNamespace")
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)([a-zA-Z]*)")
_SUFFIX: Final = {
    "": 1, "m": 0.001, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """An HTTP readiness probe; times in seconds."""

    path: str = "/"
    period: float = 1.0
    timeout: float = 1.0
    failures: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One container as a program to run. `command` and `arguments` are None where the image decides."""

    repository: str
    digest: str
    command: tuple[str, ...] | None
    arguments: tuple[str, ...] | None
    environment: Mapping[str, str]
    directory: str = ""
    cpu: float = 0.0
    memory: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A version of a Deployment. `template` identifies what would run: two equal ones need no restart."""

    namespace: str
    name: str
    release: str
    commit: str
    template: str
    program: Program
    replicas: int = 1
    strategy: str = "rolling"
    probe: Probe | None = None
    deadline: float = 600.0
    grace: float = 30.0

    @property
    def key(self) -> str:
        """The version's identity on this cluster."""
        return f"{self.release}#{self.template[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedJob:
    """A Job to run to completion."""

    namespace: str
    name: str
    program: Program
    attempts: int = 1
    deadline: float = 600.0
    labels: Mapping[str, str] = field(default_factory=dict)


def check(manifest: Manifest) -> None:
    """`ExternalError` for a kind that the local runtime does not carry out."""
    if manifest.kind not in KINDS:
        raise ExternalError(
            "cluster-unsupported",
            f"{manifest.ref}: the local cluster does not run {manifest.kind} objects",
            hint="it runs " + ", ".join(KINDS) + "; use a Kubernetes cluster for the rest",
        )


def deployment(manifest: Manifest, config_maps: Mapping[str, Mapping[str, str]]) -> Wanted:
    """The version that a Deployment wishes. `config_maps` are those of its namespace."""
    spec = manifest.body.get("spec", {})
    template = spec.get("template", {})
    pod, container = _pod(manifest, template)
    program = _program(manifest, container, config_maps)
    release = manifest.annotations.get(RELEASE, "")
    return Wanted(
        namespace=manifest.namespace,
        name=manifest.name,
        release=release or str(container.get("image", "")),
        commit=manifest.annotations.get(COMMIT, ""),
        template=hashlib.sha256(codec.encode([template, program.environment])).hexdigest(),
        program=program,
        replicas=int(spec.get("replicas", 1)),
        strategy=manifest.annotations.get(STRATEGY, "rolling"),
        probe=_probe(manifest, container.get("readinessProbe") or container.get("livenessProbe")),
        deadline=float(spec.get("progressDeadlineSeconds", 600)),
        grace=float(pod.get("terminationGracePeriodSeconds", 30)),
    )


def job(manifest: Manifest, config_maps: Mapping[str, Mapping[str, str]]) -> WantedJob:
    """The run that a Job wishes."""
    spec = manifest.body.get("spec", {})
    _, container = _pod(manifest, spec.get("template", {}))
    return WantedJob(
        namespace=manifest.namespace,
        name=manifest.name,
        program=_program(manifest, container, config_maps),
        attempts=int(spec.get("backoffLimit", 6)) + 1,
        deadline=float(spec.get("activeDeadlineSeconds", 600)),
        labels=manifest.labels,
    )


def _refuse(manifest: Manifest, what: str) -> ExternalError:
    return ExternalError(
        "cluster-unsupported",
        f"{manifest.ref}: the local cluster does not support {what}",
        hint="use a Kubernetes cluster for it, or take it out of the overlay of this environment",
    )


def _pod(manifest: Manifest, template: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    pod = template.get("spec", {})
    for name in _POD_REFUSED:
        if pod.get(name):
            raise _refuse(manifest, name)
    containers = pod.get("containers") or []
    if len(containers) != 1:
        raise _refuse(manifest, f"{len(containers)} containers in a pod")
    for name in containers[0]:
        if name not in _CONTAINER:
            raise _refuse(manifest, f"the container's {name}")
    return pod, containers[0]


def _program(manifest: Manifest, container: Mapping[str, Any], config_maps: Mapping[str, Mapping[str, str]]) -> Program:
    repository, at, digest = str(container.get("image", "")).partition("@")
    if not at:
        raise ExternalError(
            "image-not-by-digest",
            f"{manifest.ref}: the image {repository!r} is not named by its digest",
            hint="promote a release; its digest is written into the overlay",
        )
    limits = (container.get("resources") or {}).get("limits") or {}
    command, arguments = container.get("command"), container.get("args")
    return Program(
        repository=repository,
        digest=digest,
        command=tuple(map(str, command)) if command is not None else None,
        arguments=tuple(map(str, arguments)) if arguments is not None else None,
        environment=_environment(manifest, container, config_maps),
        directory=str(container.get("workingDir", "")),
        cpu=quantity(str(limits.get("cpu", 0))),
        memory=int(quantity(str(limits.get("memory", 0)))),
    )


def _environment(
    manifest: Manifest, container: Mapping[str, Any], config_maps: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    values: dict[str, str] = {}

    def data(reference: Mapping[str, Any]) -> Mapping[str, str]:
        name = str(reference.get("name"))
        if name not in config_maps:
            raise ExternalError("config-map-missing", f"{manifest.ref}: there is no ConfigMap {name!r}")
        return config_maps[name]

    for source in container.get("envFrom") or []:
        if "configMapRef" not in source:
            raise _refuse(manifest, "envFrom " + ", ".join(source))
        values |= {source.get("prefix", "") + key: value for key, value in data(source["configMapRef"]).items()}
    for one in container.get("env") or []:
        origin = one.get("valueFrom")
        if origin is None:
            values[one["name"]] = str(one.get("value", ""))
        elif "configMapKeyRef" in origin:
            reference = origin["configMapKeyRef"]
            values[one["name"]] = data(reference).get(str(reference.get("key")), "")
        else:
            raise _refuse(manifest, "env valueFrom " + ", ".join(origin))
    return values


def _probe(manifest: Manifest, body: Mapping[str, Any] | None) -> Probe | None:
    if body is None:
        return None
    if "httpGet" not in body:
        raise _refuse(manifest, "a probe without httpGet")
    return Probe(
        path=str(body["httpGet"].get("path", "/")),
        period=float(body.get("periodSeconds", 10)),
        timeout=float(body.get("timeoutSeconds", 1)),
        failures=int(body.get("failureThreshold", 3)),
    )


def quantity(text: str) -> float:
    """A quantity of Kubernetes (`250m`, `128Mi`, `2`) as a number."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2] not in _SUFFIX:
        raise ExternalError("quantity", f"{text!r} is no quantity", hint="for instance 250m or 128Mi")
    return float(match[1]) * _SUFFIX[match[2]]
