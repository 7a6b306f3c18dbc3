"""Trust: images are signed by the server, and only what verifies and is not quarantined is deployed."""

from __future__ import annotations

from aegis.core import events
from aegis.core.errors import Denied, NotFound
from aegis.core.events import Draft
from aegis.core.types import Artifact, Release
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking
from aegis.supplychain import signing


def sign_image(context: Context, repository: str, artifact: Artifact) -> events.ArtifactSigned:
    """Sign an image where it lies and keep the signature beside it; the event to be recorded."""
    handle = context.images.repository(repository, actor="aegis")
    signed = signing.sign_image(
        context.signer, repository=f"{context.address}/{artifact.project}", digest=artifact.digest
    )
    for data in signed.blobs:
        handle.put_blob(data)
    handle.put_manifest(signed.tag, signed.media_type, signed.manifest)
    return events.ArtifactSigned(
        digest=artifact.digest, key=signing.fingerprint(context.signer.public_key()), signature=signed.signature
    )


def deployable(context: Context, release: Release) -> None:
    """Raise `Denied` unless the release's image is signed by this server's key and not quarantined."""
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
    tag = signing.signature_tag(image.digest)
    try:
        manifest = repository.manifest(tag).body
    except NotFound as error:
        raise Denied("unsigned", f"{release.id} is not signed", hint="it was not released by a verdict here") from error
    signing.verify_image(
        context.signer.public_key(),
        digest=image.digest,
        manifest=manifest,
        blob=lambda digest: b"".join(repository.read_blob(digest)),
    )


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
