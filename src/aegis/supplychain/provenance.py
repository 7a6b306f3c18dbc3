"""Where an artifact came from: in-toto Statement v1 with SLSA provenance v1, as canonical JSON.

Sources: https://in-toto.io/Statement/v1 and https://slsa.dev/provenance/v1. It states what the server knows of a run, never
what a job says of itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from aegis.core import codec
from aegis.core.errors import UserError
from aegis.core.ids import is_commit, is_digest

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
CYCLONEDX: Final = "https://cyclonedx.org/bom"
BUILD_TYPE: Final = "https://aegis.example/build/gitlab-ci-job/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Something the build read: a URI (`git+…`, `pkg:…`, a lock's path) and its digests by algorithm."""

    uri: str
    digest: Mapping[str, str]
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What the server knows of the job that made an artifact. `builder` is the server's id (a URI).

    `plan` is the plan's digest, `lock` the digest of the lock file, `base` the digest of the base image, each empty
    where there is none. `template` is the template whose script ran unchanged, `isolation` how the job was kept apart.
    """

    project: str
    repository: str
    ref: str
    commit: str
    plan: str
    run: str
    job: str
    builder: str
    builder_version: str = ""
    template: str | None = None
    isolation: str = ""
    lock: str = ""
    base: str = ""
    materials: tuple[Material, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)


def statement(build: Build, subjects: Mapping[str, str]) -> bytes:
    """The statement about artifacts: names (an image's repository, a wheel's file name) to `sha256:…` digests."""
    if not subjects:
        raise UserError("provenance-subject", "a statement needs at least one artifact")
    if wrong := next((digest for digest in subjects.values() if not is_digest(digest)), None):
        raise UserError("digest", f"{wrong!r} is no digest")
    if not is_commit(build.commit):
        raise UserError("commit", f"{build.commit!r} is no commit")
    return codec.encode(
        {
            "_type": STATEMENT,
            "subject": [{"name": name, "digest": _digest(digest)} for name, digest in sorted(subjects.items())],
            "predicateType": PREDICATE,
            "predicate": {"buildDefinition": _definition(build), "runDetails": _details(build)},
        }
    )


def sbom_statement(subjects: Mapping[str, str], sbom: Mapping[str, Any]) -> bytes:
    """A statement that carries a CycloneDX document about artifacts, as `cosign attest --type cyclonedx` makes it."""
    return codec.encode(
        {
            "_type": STATEMENT,
            "subject": [{"name": name, "digest": _digest(digest)} for name, digest in sorted(subjects.items())],
            "predicateType": CYCLONEDX,
            "predicate": sbom,
        }
    )


def _definition(build: Build) -> dict[str, Any]:
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": {
            "project": build.project,
            "ref": build.ref,
            "commit": build.commit,
            "plan": build.plan,
            "job": build.job,
            **({"variables": dict(build.parameters)} if build.parameters else {}),
        },
        "internalParameters": {
            "template": build.template or "",
            "isolation": build.isolation,
        },
        "resolvedDependencies": _dependencies(build),
    }


def _dependencies(build: Build) -> list[dict[str, Any]]:
    repository = build.repository if build.repository.startswith("git+") else f"git+{build.repository}"
    found: list[dict[str, Any]] = [{"uri": f"{repository}@{build.ref}", "digest": {"gitCommit": build.commit}}]
    if build.lock:
        found.append({"name": "lock", "uri": f"{repository}#lock", "digest": _digest(build.lock)})
    if build.base:
        found.append({"name": "base", "uri": f"oci:{build.base}", "digest": _digest(build.base)})
    for material in build.materials:
        entry: dict[str, Any] = {"uri": material.uri, "digest": dict(material.digest)}
        found.append(entry | ({"name": material.name} if material.name else {}))
    return found


def _details(build: Build) -> dict[str, Any]:
    metadata = {"invocationId": f"{build.run}/{build.job}"}
    if build.started_at is not None:
        metadata["startedOn"] = _time(build.started_at)
    if build.finished_at is not None:
        metadata["finishedOn"] = _time(build.finished_at)
    version = {"version": {"aegis": build.builder_version}} if build.builder_version else {}
    return {"builder": {"id": build.builder, **version}, "metadata": metadata}


def _digest(text: str) -> dict[str, str]:
    algorithm, _, value = text.partition(":")
    return {algorithm: value}


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
