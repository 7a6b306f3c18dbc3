"""Everything that is known of a release, by its name or by the digest of one of its artifacts.

Read from the ledger's projections, the repository, the stored reports and the image's own layers; nothing is taken from
what a job says of itself. Whether the image is signed is looked at now, not remembered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from aegis.core.errors import AegisError, NotFound
from aegis.core.ids import is_digest
from aegis.core.types import Artifact, ArtifactKind, Evidence, Release
from aegis.delivery import dossiers
from aegis.delivery.context import Context
from aegis.delivery.handlers import attestations, trust
from aegis.delivery.handlers.promotions import release_of
from aegis.delivery.handlers.releases import QUARANTINE
from aegis.delivery.handlers.rescans import ADVISORIES
from aegis.delivery.queries.entries import RunEntry
from aegis.gates import reports
from aegis.supplychain import signing
from aegis.supplychain.compare import Difference, Known, compare
from aegis.supplychain.sbom import Component

SBOM: Final = "sbom"
_PACKAGES: Final = (ArtifactKind.WHEEL, ArtifactKind.SDIST)


def dossier(context: Context, name: str) -> dossiers.Dossier:
    """The dossier of a release, named by its id or an artifact's digest; `NotFound`."""
    release, later = _named(context, name)
    run = context.world.read(lambda state: state.runs.get(release.run)) or RunEntry.fold(
        context.subject(f"run/{release.run}")
    )
    evidence = _counting((*(run.evidence if run is not None else ()), *later))
    commit = context.repository(release.project).log(release.commit, limit=1)[0]
    image = release.image
    return dossiers.Dossier(
        release=release.id,
        commit=commit.commit,
        author=f"{commit.author_name} <{commit.author_email}>",
        authored_at=commit.authored_at,
        message=commit.message,
        jobs=tuple(run.jobs.values()) if run is not None else (),
        figures={one.kind: dict(one.summary) for one in evidence if one.summary and one.kind != SBOM},
        findings=_findings(context, evidence),
        image=_image(context, release, image) if image is not None else None,
        wheels=tuple(_wheel(context, one) for one in evidence if one.kind == SBOM),
        files=tuple(_files(context, release)),
    )


def _files(context: Context, release: Release) -> Iterator[dossiers.FileDossier]:
    """Its wheels and sdists, once for each index that serves them now: that of the release first, then those they were promoted to."""
    for artifact in release.artifacts:
        if artifact.kind not in _PACKAGES:
            continue
        names = dict.fromkeys((artifact.repository, *sorted(context.packages.options().indexes)))
        for index in names:
            found = context.packages.store.file(index, artifact.filename)
            if found is not None and found.digest == artifact.digest and index != QUARANTINE:
                yield dossiers.FileDossier(
                    filename=artifact.filename, digest=artifact.digest, size=found.size, index=index, yanked=found.yanked
                )  # fmt: skip


def comparison(context: Context, before: str, after: str) -> Difference:
    """How two releases differ: packages, size, layers, findings, licences."""
    return compare(_known(dossier(context, before)), _known(dossier(context, after)))


def _known(one: dossiers.Dossier) -> Known:
    image = one.image
    if image is None:
        return _known_files(one)
    packages = image.packages
    return Known(
        name=one.release, digest=image.digest, size=image.size, layers=image.layers, findings=dict.fromkeys(one.findings, ""),
        packages=tuple(
            Component(name=each.name, version=each.version, purl=each.purl, licences=each.licences) for each in packages
        ),
    )  # fmt: skip


def _known_files(one: dossiers.Dossier) -> Known:
    """A library: what its wheels need, in the lock's versions, and how large its files are."""
    files = {each.digest: each.size for each in one.files}
    needs = sorted({each.partition(" ")[::2] for wheel in one.wheels for each in wheel.needs})
    return Known(
        name=one.release, digest=" ".join(sorted(files)), size=sum(files.values()), findings=dict.fromkeys(one.findings, ""),
        packages=tuple(Component(name=name, version=version) for name, version in needs),
    )  # fmt: skip


def signing_key(context: Context) -> dossiers.SigningKeyView:
    """What this server signs images with, and where."""
    key = context.signer.public_key()
    names = (name for name, one in context.options.projects.items() if one.service)
    repositories = tuple(f"{context.address}/{name}" for name in names)
    return dossiers.SigningKeyView(
        public_key=key,
        fingerprint=signing.key_fingerprint(key),
        repositories=repositories,
        keyless=context.options.keyless,
    )


def _named(context: Context, name: str) -> tuple[Release, list[Evidence]]:
    """A release by its id or an artifact's digest, and what was proven of it after it was cut."""
    if not is_digest(name):
        entry = context.world.read(lambda state: state.releases.get(name))
        return (entry.release, entry.evidence) if entry is not None else (release_of(context, name), [])
    found = context.world.read(
        lambda state: [
            (one.release, one.evidence)
            for one in state.releases.values()
            if any(artifact.digest == name for artifact in one.release.artifacts)
        ]
    )
    if not found:
        raise NotFound("no-such-artifact", f"no release holds {name}", hint="aegis release list")
    return found[-1]


def _counting(evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """Without what a rescan has replaced: the scans of the run, and earlier rescans."""
    rescanned = [one for one in evidence if ADVISORIES in one.summary]
    if not rescanned:
        return evidence
    return tuple(one for one in evidence if one.kind != reports.DEPENDENCIES or one is rescanned[-1])


def _findings(context: Context, evidence: tuple[Evidence, ...]) -> tuple[str, ...]:
    """Severity and name of each finding of the stored reports."""
    found: set[str] = set()
    for one in evidence:
        try:
            report, _ = reports.read(one.kind, context.blobs.get(one.digest))
        except AegisError:
            continue  # retention took the report; its figures are still in the claim
        if isinstance(report, reports.FindingsReport):
            found |= {
                f"{each.severity.value} {each.package or each.message} {each.rule}".strip() for each in report.findings
            }
    return tuple(sorted(found))


def _image(context: Context, release: Release, image: Artifact) -> dossiers.ImageDossier:
    repository = context.images.repository(release.project, actor="aegis")
    manifests = attestations.images_of(repository, image.digest)
    layers = {one["digest"]: int(one["size"]) for each in manifests for one in each["layers"]}
    return dossiers.ImageDossier(
        digest=image.digest,
        repository=f"{context.address}/{release.project}",
        tags=repository.tags_of(image.digest),
        size=sum(each["config"]["size"] for each in manifests) + sum(layers.values()),
        layers=layers,
        packages=tuple(
            dossiers.PackageLine(name=one.name, version=one.version, purl=one.reference, licences=one.licences)
            for one in attestations.components(repository, image.digest)
        ),
        trusted=_trusted(context, release),
        attested=_attested(context, release),
    )


def _wheel(context: Context, evidence: Evidence) -> dossiers.WheelDossier:
    """A wheel as its signed bill of materials describes it."""
    signing.verify_evidence(context.signer.public_key(), evidence)
    bill = json.loads(context.blobs.get(evidence.digest))
    needs = (f"{one['name']} {one.get('version', '')}".strip() for one in bill["components"])
    return dossiers.WheelDossier(
        filename=evidence.summary.get("file", ""), digest=evidence.subject, sbom=evidence.digest, needs=tuple(needs)
    )


def _trusted(context: Context, release: Release) -> str:
    try:
        trust.deployable(context, release)
    except AegisError as error:
        return f"no: {error.message}"
    return "yes"


def _attested(context: Context, release: Release) -> tuple[str, ...]:
    """The predicates of the attestations whose signatures hold now."""
    try:
        return tuple(sorted({str(one.get("predicateType")) for one in trust.statements(context, release)}))
    except AegisError:
        return ()
