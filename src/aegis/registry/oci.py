"""The rules of an image registry, after the OCI distribution specification 1.1, without any HTTP.

`OciRegistry.repository` gives the scoped handle through which everything is read and written: it can do what its
actions say in one repository, and nothing else. A repository sees only the blobs that were pushed to it, mounted
or copied into it, however well somebody knows a digest. Who gets which handle is `delivery.doors`' question; when
content may be forgotten is retention's: deleting here takes away the name, not the bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from aegis.core.errors import Conflict, Denied, NotFound, UserError
from aegis.core.ids import is_digest, sha256
from aegis.core.ports import Blobs
from aegis.registry.image_mirror import PREFIX as MIRRORED
from aegis.registry.image_mirror import ImageMirror
from aegis.registry.manifest import EMPTY, IMAGE, INDEX, ManifestFacts, read_manifest
from aegis.registry.ports import ImageStore, ManifestRecord, Pins, Uploads

Action = Literal["pull", "push", "delete"]
ALL: Final[frozenset[Action]] = frozenset({"pull", "push", "delete"})
_NAME: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_FALLBACK: Final = re.compile(r"(sha256|sha512)-([0-9a-f]{64,128})")
_RELEASE: Final = re.compile(r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?")

Pushed = Callable[[str, str, str | None, str], None]
"""Called with repository, digest, tag (None: by digest) and actor after a manifest was stored."""
Fixed = Callable[[str, str], bool]
"""Whether a tag of a repository must not be moved once it is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest as it was pushed, byte by byte."""

    digest: str
    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An unfinished upload: its name and the bytes received."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A manifest that was accepted. `subject` is the digest it refers to, or empty."""

    digest: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of names, and whether there are more."""

    names: tuple[str, ...]
    more: bool


def is_release_tag(tag: str) -> bool:
    """Whether a tag is a semantic version (`1.2.0`, `v1.2.0-rc.1`): those are not moved."""
    return _RELEASE.fullmatch(tag) is not None


def release_tags_are_fixed(repository: str, tag: str) -> bool:
    """The default rule: semantic versions stay where they are, except in quarantine, where runs may be repeated."""
    return is_release_tag(tag) and not repository.startswith("quarantine/")


class OciRegistry:
    """All repositories over one blob store. Safe from any thread as far as its ports are."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        images: ImageStore,
        uploads: Uploads,
        fixed: Fixed = release_tags_are_fixed,
        on_manifest: Pushed | None = None,
        mirror: ImageMirror | None = None,
        pins: Pins,
    ) -> None:
        self.mirror = mirror
        self.pins = pins
        self.blobs = blobs
        self.images = images
        self.uploads = uploads
        self.fixed = fixed
        self.on_manifest = on_manifest

    def repository(self, name: str, *, actor: str, actions: frozenset[Action] = ALL) -> ImageRepository:
        """The handle that may do `actions` in one repository as `actor`; `UserError` for an impossible name."""
        if len(name) > 255 or _NAME.fullmatch(name) is None:
            raise UserError("oci-name-invalid", f"{name[:80]!r} is not a repository name", hint="use group/name")
        return ImageRepository(self, name, actor, actions)

    def repositories(self, *, after: str = "", limit: int = 0) -> tuple[str, ...]:
        """Names of the repositories that have an image."""
        return self.images.repositories(after=after, limit=limit)

    def copy(self, source: str, target: str, digest: str, *, tags: Sequence[str], actor: str) -> None:
        """Release an image from one repository to another: content, referrers, cosign's tags, its base, then `tags`.

        Tags come last, so that nobody sees the image without its signatures. Idempotent; `NotFound` where the
        source lacks it, `Conflict` where a fixed tag of the target points elsewhere.
        """
        origin = self.repository(source, actor=actor)
        goal = self.repository(target, actor=actor)
        for tag in tags:
            present = self.images.tagged(target, tag)
            if present not in (None, digest) and self.fixed(target, tag):
                raise _fixed_tag(target, tag)
        self._copy_one(origin, goal, digest, seen=set())
        body = origin.manifest(digest)
        for tag in tags:
            goal.put_manifest(tag, body.media_type, body.body)

    def _copy_one(self, origin: ImageRepository, goal: ImageRepository, digest: str, *, seen: set[str]) -> None:
        if digest in seen:
            return
        seen.add(digest)
        manifest = origin.manifest(digest)
        facts = read_manifest(manifest.body, manifest.media_type)
        for child in facts.manifests:
            self._copy_one(origin, goal, child.digest, seen=seen)
        for blob in facts.blobs:
            self.images.link_blob(goal.name, blob.digest, blob.size)
        goal.put_manifest(digest, manifest.media_type, manifest.body)
        for referrer in self.images.referrers(origin.name, digest):
            self._copy_one(origin, goal, referrer.digest, seen=seen)
        for suffix in ("sig", "att", "sbom", "base"):
            tag = f"{digest.replace(':', '-')}.{suffix}"
            beside = self.images.tagged(origin.name, tag)
            if beside is not None:
                self._copy_one(origin, goal, beside, seen=seen)
                found = origin.manifest(beside)
                goal.put_manifest(tag, found.media_type, found.body)


class ImageRepository:
    """One repository for one actor. Errors: `Denied`, `NotFound`, `Conflict`, `UserError` with `oci-…` codes."""

    def __init__(self, registry: OciRegistry, name: str, actor: str, actions: frozenset[Action]) -> None:
        self._registry = registry
        self._blobs = registry.blobs
        self._images = registry.images
        self._uploads = registry.uploads
        self._mirror = registry.mirror if name.startswith(MIRRORED) else None
        self._actions = actions
        self.name = name
        self.actor = actor

    # -- blobs --------------------------------------------------------------------------------------------

    def blob_size(self, digest: str) -> int:
        """Bytes of a blob of this repository; `NotFound`."""
        self._may("pull")
        _checked(digest)
        if self._mirror is not None:
            self._mirror.bring_blob(self.name, digest)
        size = self._images.blob_size(self.name, digest)
        if size is None or self._blobs.size(digest) is None:
            raise NotFound("oci-blob-unknown", f"{self.name} has no blob {digest}")
        return size

    def read_blob(self, digest: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """A blob's bytes, or a part of them, in chunks."""
        self.blob_size(digest)
        return self._blobs.open(digest, offset=offset, length=length)

    def blob_file(self, digest: str) -> BinaryIO | None:
        """A blob as an open file, where its bytes are known to be right and lie in one; None: use `read_blob`."""
        self.blob_size(digest)
        return self._blobs.file(digest)

    def put_blob(self, data: bytes) -> str:
        """Keep a small blob that is at hand; its digest."""
        self._may("push")
        digest = sha256(data)
        with self._registry.pins.held(digest):
            self._blobs.put(data)
            self._images.link_blob(self.name, digest, len(data))
        return digest

    def mount(self, digest: str, source: ImageRepository) -> bool:
        """Take a blob over from a repository that may be read; False where that does not have it."""
        self._may("push")
        with self._registry.pins.held(digest):
            try:
                size = source.blob_size(digest)
            except NotFound:
                return False
            self._images.link_blob(self.name, digest, size)
        return True

    def delete_blob(self, digest: str) -> None:
        """This repository has the blob no longer."""
        self._may("delete")
        if not self._images.unlink_blob(self.name, _checked(digest)):
            raise NotFound("oci-blob-unknown", f"{self.name} has no blob {digest}")

    # -- uploads ------------------------------------------------------------------------------------------

    def start_upload(self) -> Upload:
        """A new upload of this repository."""
        self._may("push")
        return Upload(name=self._uploads.start(self.name), size=0)

    def upload(self, name: str) -> Upload:
        """How far an upload has come."""
        self._may("push")
        return Upload(name=name, size=self._known(name))

    def append(self, name: str, data: Iterable[bytes], *, offset: int | None = None) -> Upload:
        """Add bytes at `offset`, which must be where the upload stands (`Conflict` `oci-upload-range` otherwise)."""
        self._may("push")
        size = self._known(name)
        if offset is not None and offset != size:
            raise Conflict("oci-upload-range", f"the upload stands at {size}, the chunk begins at {offset}")
        return Upload(name=name, size=self._uploads.append(name, self.name, data, offset=offset))

    def finish(self, name: str, digest: str) -> int:
        """Make the upload a blob when it has that digest; its size. The upload stays where it has not."""
        self._may("push")
        _checked(digest)
        self._known(name)
        with self._registry.pins.held(digest):
            try:
                size = self._uploads.commit(name, self.name, digest)
            except Conflict as error:
                if error.code != "blob-digest":
                    raise
                raise UserError("oci-digest-invalid", error.message, hint="send the blob again") from error
            self._images.link_blob(self.name, digest, size)
        return size

    def cancel(self, name: str) -> None:
        """Forget an upload."""
        self._may("push")
        self._known(name)
        self._uploads.discard(name, self.name)

    # -- manifests ----------------------------------------------------------------------------------------

    def put_manifest(self, reference: str, media_type: str, body: bytes, *, tags: Sequence[str] = ()) -> Stored:
        """Store a manifest under a tag or its own digest (and then `tags`), once everything it needs is here."""
        self._may("push")
        facts = read_manifest(body, media_type)
        by_digest = ":" in reference
        digest = _digest_of(body, like=_checked(reference) if by_digest else "")
        if by_digest and reference != digest:
            raise UserError("oci-digest-invalid", f"the manifest has the digest {digest}, not {reference}")
        names: tuple[str | None, ...] = (*tags,) or (None,) if by_digest else (reference,)
        for tag in names:
            self._check_tag(tag, digest)
        self._check_references(facts)
        record = ManifestRecord(
            digest=digest, media_type=facts.media_type, size=len(body), subject=facts.subject,
            artifact_type=facts.artifact_type, annotations=facts.annotations, references=facts.references,
        )  # fmt: skip
        with self._registry.pins.held(digest):
            self._blobs.put_stream([body], expected=digest)
            for tag in names:
                self._put(record, tag)
        return Stored(digest=digest, subject=facts.subject)

    def _check_tag(self, tag: str | None, digest: str) -> None:
        if tag is None:
            return
        if _TAG.fullmatch(tag) is None:
            raise UserError("oci-tag-invalid", f"{tag[:80]!r} is not a tag", hint="letters, digits, '.', '_' and '-'")
        if self._registry.fixed(self.name, tag) and self._images.tagged(self.name, tag) not in (None, digest):
            raise _fixed_tag(self.name, tag)

    def _put(self, record: ManifestRecord, tag: str | None) -> None:
        try:
            fixed = tag is not None and self._registry.fixed(self.name, tag)
            self._images.put_manifest(self.name, record, tag=tag, fixed=fixed)
        except Conflict as error:
            raise _fixed_tag(self.name, tag or "") from error
        if self._registry.on_manifest is not None:
            self._registry.on_manifest(self.name, record.digest, tag, self.actor)

    def attach(
        self, subject: str, *, artifact_type: str, media_type: str, data: bytes,
        annotations: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        """Keep `data` as an artifact that refers to the manifest `subject` (OCI 1.1 referrers); its manifest's digest."""
        known = self._record(subject)
        layer = {"mediaType": media_type, "digest": self.put_blob(data), "size": len(data)}
        config = {"mediaType": EMPTY, "digest": self.put_blob(b"{}"), "size": 2, "data": "e30="}
        about = {"mediaType": known.media_type, "digest": known.digest, "size": known.size}
        manifest = {
            "schemaVersion": 2, "mediaType": IMAGE, "artifactType": artifact_type, "config": config, "layers": [layer],
            "subject": about, "annotations": dict(sorted((annotations or {}).items())),
        }  # fmt: skip
        body = json.dumps(manifest, separators=(",", ":")).encode()
        return self.put_manifest(sha256(body), IMAGE, body).digest

    def stat(self, reference: str) -> ManifestRecord:
        """What is known of a manifest, by tag or digest; `NotFound`."""
        self._may("pull")
        self._bring(reference)
        fallback = self._fallback(reference)
        return fallback[0] if fallback is not None else self._record(reference)

    def manifest(self, reference: str) -> Manifest:
        """A manifest by tag or digest; `NotFound`.

        Clients older than referrers look for the tag `sha256-<hex>`: where nobody pushed one, it is the referrers' index.
        """
        self._may("pull")
        self._bring(reference)
        fallback = self._fallback(reference)
        record, body = fallback if fallback is not None else (self._record(reference), b"")
        body = body or self._blobs.get(record.digest)
        return Manifest(digest=record.digest, media_type=record.media_type, body=body)

    def _bring(self, reference: str) -> None:
        if self._mirror is not None and _FALLBACK.fullmatch(reference) is None:
            self._mirror.bring_manifest(self.name, reference)

    def _bring_referrers(self, subject: str) -> None:
        if self._mirror is not None:
            self._mirror.bring_referrers(self.name, subject)

    def _fallback(self, reference: str) -> tuple[ManifestRecord, bytes] | None:
        match = _FALLBACK.fullmatch(reference)
        subject = f"{match[1]}:{match[2]}" if match else ""
        if not is_digest(subject) or self._images.tagged(self.name, reference) is not None:
            return None
        self._bring_referrers(subject)
        if not self._images.referrers(self.name, subject):
            return None
        body = self.referrers(subject)
        return ManifestRecord(digest=sha256(body), media_type=INDEX, size=len(body)), body

    def delete_manifest(self, reference: str) -> None:
        """Forget a tag, or a manifest with all its tags."""
        self._may("delete")
        if ":" in reference:
            gone = self._images.delete_manifest(self.name, _checked(reference))
        elif self._registry.fixed(self.name, reference):
            raise _fixed_tag(self.name, reference)
        else:
            gone = self._images.untag(self.name, reference)
        if not gone:
            raise _unknown(self.name, reference)

    def tags(self, *, limit: int | None = None, last: str = "") -> Page:
        """Tags beyond `last`, at most `limit` (None: all); `NotFound` for a repository without images."""
        self._may("pull")
        if limit is not None and limit < 1:
            return Page(names=(), more=False)
        found = self._images.tags(self.name, after=last, limit=0 if limit is None else limit + 1)
        if found is None:
            raise NotFound("oci-name-unknown", f"there is no repository {self.name}")
        return Page(names=found[:limit], more=limit is not None and len(found) > limit)

    def tags_of(self, digest: str) -> tuple[str, ...]:
        """The tags that point at a manifest."""
        self._may("pull")
        return self._images.tags_of(self.name, digest)

    def referrers(self, digest: str, *, artifact_type: str = "") -> bytes:
        """The index of what refers to `digest`, perhaps of one type only; empty where nothing does."""
        self._may("pull")
        self._bring_referrers(_checked(digest))
        found = [
            {
                "mediaType": one.media_type, "digest": one.digest, "size": one.size,
                **({"artifactType": one.artifact_type} if one.artifact_type else {}),
                **({"annotations": dict(one.annotations)} if one.annotations else {}),
            }
            for one in self._images.referrers(self.name, digest)
            if artifact_type in ("", one.artifact_type)
        ]  # fmt: skip
        return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": found}).encode()

    # -- inside -------------------------------------------------------------------------------------------

    def _may(self, action: Action) -> None:
        if action not in self._actions:
            raise Denied("oci-denied", f"{self.actor} may not {action} in {self.name}")
        if action == "push" and self.name.startswith(MIRRORED):
            raise Denied("oci-denied", f"{self.name} mirrors another registry: nobody pushes there")

    def _known(self, upload: str) -> int:
        try:
            return self._uploads.size(upload, self.name)
        except NotFound as error:
            raise NotFound("oci-upload-unknown", "there is no such upload", hint="begin it again") from error

    def _record(self, reference: str) -> ManifestRecord:
        digest = _checked(reference) if ":" in reference else self._images.tagged(self.name, reference)
        record = self._images.manifest(self.name, digest) if digest else None
        if record is None:
            raise _unknown(self.name, reference)
        return record

    def _check_references(self, facts: ManifestFacts) -> None:
        for blob in facts.blobs:
            size = self._images.blob_size(self.name, blob.digest)
            if size is None:
                raise NotFound("oci-manifest-blob-unknown", f"{self.name} lacks {blob.digest}", hint="push it first")
            if size != blob.size:
                raise UserError("oci-size-invalid", f"{blob.digest} has {size} bytes, the manifest says {blob.size}")
        for child in facts.manifests:
            if self._images.manifest(self.name, child.digest) is None:
                raise NotFound("oci-manifest-blob-unknown", f"{self.name} lacks {child.digest}", hint="push it first")


def _checked(digest: str) -> str:
    if not is_digest(digest):
        raise UserError("oci-digest-invalid", f"{digest[:80]!r} is not a digest")
    return digest


def _digest_of(body: bytes, *, like: str) -> str:
    """The digest of `body` by the algorithm of another digest; sha256 where there is none."""
    return f"sha512:{hashlib.sha512(body).hexdigest()}" if like.startswith("sha512:") else sha256(body)


def _unknown(name: str, reference: str) -> NotFound:
    return NotFound("oci-manifest-unknown", f"{name} has no image {reference[:80]}")


def _fixed_tag(name: str, tag: str) -> Conflict:
    return Conflict(
        "oci-tag-fixed",
        f"{name}:{tag} is a released version and points elsewhere",
        hint="a released version is never moved: release the next version",
    )
