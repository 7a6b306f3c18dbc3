"""Trust: images are signed by the server, and only what verifies and is not quarantined is deployed."""

from __future__ import annotations

import json
from typing import Any

from aegis.core import events
from aegis.core.errors import Denied, NotFound
from aegis.core.events import Draft
from aegis.core.types import Artifact, Release
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking
from aegis.delivery.handlers.attestations import push, subject_of
from aegis.registry.oci import ImageRepository
from aegis.supplychain import signing


def sign_image(context: Context, repository: ImageRepository, artifact: Artifact) -> events.ArtifactSigned:
    """Sign an image where it lies and keep the signature beside it; the event to be recorded."""
    subject = subject_of(repository, artifact.digest)
    credential = context.notary.credential()
    signed = signing.sign_image(subject, f"{context.registry}/{artifact.project}", credential)
    push(repository, signed)
    return events.ArtifactSigned(digest=artifact.digest, key=credential.name, signature=signed.digest)


def deployable(context: Context, release: Release) -> None:
    """Raise `Denied` unless the release's image is signed by whom the declaration trusts and not quarantined."""
    image = release.image
    if image is None:
        raise Denied("release-without-image", f"{release.id} has no image: a library is published, not deployed")
    for record in context.subject(f"artifact/{image.digest}"):
        if isinstance(record.data, events.ArtifactQuarantined):
            raise Denied(
                "quarantined",
                f"{image.digest[:19]} of {release.id} is quarantined: {record.data.reason}",
                hint="release a mended version",
            )
    repository = context.images.repository(release.project, actor="aegis")
    try:
        manifest: bytes | None = repository.manifest(signing.signature_tag(image.digest)).body
    except NotFound:
        manifest = None
    layers = json.loads(manifest)["layers"] if manifest else []
    blobs = {one["digest"]: b"".join(repository.read_blob(one["digest"])) for one in layers}
    signing.verify_image(context.notary.trusted(), image.digest, manifest, blobs)


def statements(context: Context, release: Release) -> tuple[dict[str, Any], ...]:
    """What is attested of the release's image, by whom the declaration trusts; `Denied` or `NotFound` where nothing is."""
    image = release.image
    if image is None:
        return ()
    repository = context.images.repository(release.project, actor="aegis")
    body = repository.manifest(signing.attestation_tag(image.digest)).body
    blobs = {one["digest"]: b"".join(repository.read_blob(one["digest"])) for one in json.loads(body)["layers"]}
    return signing.verify_attestations(context.notary.trusted(), image.digest, body, blobs)


def quarantined(release: Release, reason: str, asking: Asking) -> Draft:
    """The event that keeps a release's image from being deployed again."""
    image = release.image
    digest = image.digest if image else ""
    return Draft(
        subject=f"artifact/{digest}",
        data=events.ArtifactQuarantined(digest=digest, reason=reason[:1000], release=release.id),
        actor=asking.actor.id,
        project=release.project,
        service=release.service,
        cause=asking.cause,
    )
