"""Attestations: what an image holds and how it came about, signed and put beside it.

The server states what it knows itself: the lock and the commit from Git, the packages from the image's own layers, the
job from its record. A job's word is not taken for any of it.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, cast

from aegis import __version__
from aegis.core.errors import NotFound
from aegis.core.ids import sha256
from aegis.core.types import Artifact, JobRun, Run
from aegis.delivery.context import Context
from aegis.registry.oci import ImageRepository
from aegis.supplychain import locks, provenance, sbom, signing

METADATA_LIMIT = 1 << 20


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
    contents = sbom.document(
        sbom.Product(
            kind="image", name=artifact.name, version=artifact.version, digest=artifact.digest, commit=run.commit
        ),
        tuple(_components(repository, artifact.digest, hashes)),
        made_at=made_at,
        tool_version=__version__,
    )
    build = provenance.Build(
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
        started_at=job.started_at if job else None,
        finished_at=job.finished_at if job else None,
    )
    statements = (provenance.statement(build, subjects), provenance.sbom_statement(subjects, json.loads(contents)))
    push(repository, signing.attest_image(subject_of(repository, artifact.digest), statements, context.signer))


def _lock(context: Context, run: Run) -> tuple[str, dict[str, tuple[str, ...]]]:
    """The digest of the lock at the commit, and the hashes that it allows per package."""
    repository = context.repository(run.project)
    for name in locks.NAMES:
        try:
            data = repository.read(run.commit, name)
        except NotFound:
            continue
        found = locks.packages_of(name, data)
        return sha256(data), {sbom.package_url(one.name, one.version or ""): one.hashes for one in found}
    return "", {}


def _components(
    repository: ImageRepository, digest: str, hashes: dict[str, tuple[str, ...]]
) -> Iterator[sbom.Component]:
    """The packages whose metadata lies in the image's layers."""
    manifest = json.loads(repository.manifest(digest).body)
    for layer in manifest.get("layers", []):
        with tarfile.open(
            fileobj=cast("BinaryIO", _Stream(repository.read_blob(layer["digest"]))), mode="r|*"
        ) as archive:
            for member in archive:
                if not member.isfile() or not member.name.endswith(".dist-info/METADATA"):
                    continue
                file = archive.extractfile(member)
                found = sbom.component_of(file.read(METADATA_LIMIT)) if file is not None else None
                if found is not None:
                    yield replace(found, hashes=hashes.get(found.reference, ()))


class _Stream:
    """Chunks as a file that is read once, for `tarfile`'s stream mode."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        while (size < 0 or len(self._rest) < size) and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        cut = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:cut], self._rest[cut:]
        return data
