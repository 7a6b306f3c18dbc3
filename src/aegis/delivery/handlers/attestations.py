"""Attestations: what an image holds and how it came about, signed and put beside it.

The server states what it knows itself: the lock and the commit from Git, the packages from the image's own layers, the
job from its record. A job's word is not taken for any of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from aegis import __version__
from aegis.core.errors import NotFound
from aegis.core.ids import is_digest, sha256
from aegis.core.types import Artifact, Evidence, JobRun, Run
from aegis.delivery.context import Context
from aegis.registry.oci import ImageRepository
from aegis.supplychain import contents, keyless, locks, provenance, sbom, signing
from aegis.supplychain.packages import Package

READ_LAYERS: Final = 256
_READ: dict[str, contents.LayerContents] = {}
"""Contents of layers by digest: what has a digest never changes."""


def subject_of(repository: ImageRepository, digest: str) -> signing.Subject:
    """The descriptor of an image's manifest."""
    known = repository.stat(digest)
    return signing.Subject(digest=digest, size=known.size, media_type=known.media_type)


def push(repository: ImageRepository, made: signing.Pushable) -> None:
    """Put a signature or attestation beside its image."""
    for data in made.blobs.values():
        repository.put_blob(data)
    repository.put_manifest(made.tag, made.media_type, made.manifest)


def attach(context: Context, repository: ImageRepository, artifact: Artifact, run: Run, job: JobRun | None) -> None:
    """Write the SBOM and the provenance of an image as signed statements beside it. Idempotent."""
    subjects = {f"{context.registry}/{artifact.project}": artifact.digest}
    lock, hashes = _lock(context, run)
    made_at = context.repository(run.project).log(run.commit, limit=1)[0].authored_at
    inventory = sbom.document(
        sbom.Product(
            kind="image", name=artifact.name, version=artifact.version, digest=artifact.digest, commit=run.commit
        ),
        components(repository, artifact.digest, hashes),
        made_at=made_at,
        tool_version=__version__,
    )
    build = _build(context, artifact, run, job, lock=lock, base=standing_on(repository, artifact.digest))
    build = replace(build, materials=bases_of(repository, artifact.digest))
    statements = (provenance.statement(build, subjects), provenance.sbom_statement(subjects, json.loads(inventory)))
    push(
        repository,
        signing.attest_image(subject_of(repository, artifact.digest), statements, context.notary.credential()),
    )


def attest_file(context: Context, artifact: Artifact, run: Run, job: JobRun | None) -> dict[str, Any] | None:
    """A released file's provenance as package indexes serve it (PEP 740); None where a key signs: the form asks for a certificate."""
    if context.options.keyless is None:
        return None
    build = _build(context, artifact, run, job, lock=_locked(context, run)[0], base="")
    statement = provenance.statement(build, {artifact.filename: artifact.digest})
    return keyless.published(statement, *signing.sign_statement(statement, context.notary.credential()))


def _build(
    context: Context, artifact: Artifact, run: Run, job: JobRun | None, *, lock: str, base: str
) -> provenance.Build:
    """What the server knows of how an artifact came about."""
    return provenance.Build(
        project=run.project,
        repository=f"{context.url}/git/{run.project}.git",
        ref=run.ref,
        commit=run.commit,
        plan=run.plan,
        run=run.id,
        job=artifact.job,
        builder=context.url,
        builder_version=__version__,
        template=job.origin if job else None,
        isolation=job.isolation if job else "",
        lock=lock,
        base=base,
        started_at=job.started_at if job else None,
        finished_at=job.finished_at if job else None,
    )


def bases_of(repository: ImageRepository, digest: str) -> tuple[provenance.Material, ...]:
    """The bases of an index' images, each named by its image's platform; none for an image, whose base is `standing_on`."""
    found = []
    for one in json.loads(repository.manifest(digest).body).get("manifests", ()):
        base, platform = standing_on(repository, one["digest"]), one.get("platform") or {}
        if base:
            algorithm, _, value = base.partition(":")
            name = f"base {platform.get('os', '')}/{platform.get('architecture', '')}"
            found.append(provenance.Material(uri=f"oci:{base}", digest={algorithm: value}, name=name))
    return tuple(found)


def standing_on(repository: ImageRepository, digest: str) -> str:
    """The digest of the image that this one stands on, which is kept beside it from now on; empty where it is not known.

    A job says which it is. It is believed when that image is here, and its layers are the lowest ones of this one.
    """
    image = json.loads(repository.manifest(digest).body)
    named = str((image.get("annotations") or {}).get("org.opencontainers.image.base.digest", ""))
    try:
        base = repository.manifest(named) if is_digest(named) else None
    except NotFound:
        base = None
    below = [one["digest"] for one in json.loads(base.body).get("layers", [])] if base is not None else []
    lowest = [one["digest"] for one in image.get("layers", [])[: len(below)]]
    if base is None or not below or below != lowest:
        return ""
    repository.put_manifest(f"{digest.replace(':', '-')}.base", base.media_type, base.body)
    return named


def describe_wheel(context: Context, artifact: Artifact, metadata: bytes, run: Run) -> Evidence:
    """The bill of materials of a wheel, from its own metadata and the commit's lock, as signed evidence about its digest."""
    _, locked = _locked(context, run)
    made_at = context.repository(run.project).log(run.commit, limit=1)[0].authored_at
    bill = sbom.wheel_document(
        metadata, locked, digest=artifact.digest, commit=run.commit, made_at=made_at, tool_version=__version__
    )
    evidence = Evidence(
        id=context.new_id(), kind="sbom", subject=artifact.digest, project=run.project, digest=context.blobs.put(bill),
        media_type="application/vnd.cyclonedx+json", run=run.id, uploaded_by="aegis",
        summary={"file": artifact.filename, "needs": str(len(json.loads(bill)["components"]))},
    )  # fmt: skip
    return signing.sign_evidence(evidence, context.signer)


def _lock(context: Context, run: Run) -> tuple[str, dict[str, tuple[str, ...]]]:
    """The digest of the lock at the commit, and the hashes that it allows per package."""
    digest, found = _locked(context, run)
    return digest, {sbom.package_url(one.name, one.version or ""): one.hashes for one in found}


def _locked(context: Context, run: Run) -> tuple[str, tuple[Package, ...]]:
    """The digest of the lock at the commit, and its packages; empty where there is none."""
    repository = context.repository(run.project)
    for name in locks.NAMES:
        try:
            data = repository.read(run.commit, name)
        except NotFound:
            continue
        return sha256(data), locks.packages_of(name, data)
    return "", ()


def components(
    repository: ImageRepository, digest: str, hashes: Mapping[str, tuple[str, ...]] = MappingProxyType({})
) -> tuple[sbom.Component, ...]:
    """The packages that lie in the image's layers, each with the hashes that the lock allows; of an index, in any of its images."""
    found: dict[str, sbom.Component] = {}
    for image in images_of(repository, digest):
        read = [_contents(repository, one["digest"], one["mediaType"]) for one in image.get("layers", [])]
        found |= {one.reference: one for one in contents.packages(read)}
    return tuple(replace(one, hashes=hashes.get(one.reference, ())) for one in found.values())


def images_of(repository: ImageRepository, digest: str) -> tuple[dict[str, Any], ...]:
    """The manifest of an image; of an index, those of its images."""
    manifest = json.loads(repository.manifest(digest).body)
    children = manifest.get("manifests")
    if children is None:
        return (manifest,)
    return tuple(json.loads(repository.manifest(one["digest"]).body) for one in children)


def _contents(repository: ImageRepository, digest: str, media_type: str) -> contents.LayerContents:
    """What a layer holds; layers are the same in many images, and read once."""
    repository.blob_size(digest)  # whether this repository has it at all
    if digest not in _READ:
        found = contents.read_layer(repository.read_blob(digest), media_type)
        while len(_READ) >= READ_LAYERS:
            _READ.pop(next(iter(_READ)), None)
        _READ[digest] = found
    return _READ[digest]
