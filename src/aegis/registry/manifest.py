"""What a manifest says: a pure reader `bytes -> ManifestFacts`, after the OCI image specification 1.1.

Docker's schema 2 manifests and lists have the same shape and are read, too. What a manifest refers to is said
here; whether that is there is the registry's question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aegis.core.errors import UserError
from aegis.core.ids import is_digest

IMAGE: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_IMAGE: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
LIMIT: Final = 4 * 1024 * 1024  # bytes; what the distribution specification asks registries to accept
_ONE: Final = frozenset({IMAGE, DOCKER_IMAGE})
_MANY: Final = frozenset({INDEX, DOCKER_LIST})
_ELSEWHERE: Final = ("nondistributable", "foreign.diff")  # layers that no registry needs to have


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A reference to content: media type, digest, bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFacts:
    """What a manifest is and needs. `subject` is a digest or empty; `artifact_type` falls back to the config's type."""

    media_type: str
    blobs: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: str = ""
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def references(self) -> tuple[str, ...]:
        """The digests of everything it needs."""
        return tuple(one.digest for one in (*self.blobs, *self.manifests))


def read_manifest(body: bytes, media_type: str) -> ManifestFacts:
    """The facts of a manifest that was sent as `media_type`; `UserError` (`oci-manifest-invalid`) when it is none."""
    if len(body) > LIMIT:
        raise _invalid(f"the manifest has {len(body)} bytes, at most {LIMIT} are accepted")
    try:
        data = json.loads(body)
    except ValueError as error:
        raise _invalid(f"the manifest is not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("schemaVersion") != 2:
        raise _invalid("the manifest is not an object with schemaVersion 2")
    media_type = media_type.split(";", maxsplit=1)[0].strip() or str(data.get("mediaType", ""))
    if data.get("mediaType", media_type) != media_type:
        raise _invalid(f"it was sent as {media_type} but says it is {data['mediaType']}")
    subject = _descriptor(data["subject"], "subject").digest if data.get("subject") else ""
    annotations = _annotations(data.get("annotations"))
    artifact_type = str(data.get("artifactType") or "")
    if media_type in _ONE:
        config = _descriptor(data.get("config"), "config")
        layers = [(_descriptor(one, "layers"), one) for one in _list(data.get("layers"), "layers")]
        needed = tuple(layer for layer, raw in layers if not _is_elsewhere(layer, raw))
        return ManifestFacts(
            media_type=media_type, blobs=(config, *needed), subject=subject,
            artifact_type=artifact_type or config.media_type, annotations=annotations,
        )  # fmt: skip
    if media_type in _MANY:
        children = tuple(_descriptor(one, "manifests") for one in _list(data.get("manifests"), "manifests"))
        return ManifestFacts(
            media_type=media_type, manifests=children, subject=subject, artifact_type=artifact_type,
            annotations=annotations,
        )  # fmt: skip
    raise _invalid(f"{media_type or 'no media type'} is neither an image manifest nor an index")


def _is_elsewhere(layer: Descriptor, raw: Any) -> bool:
    return bool(raw.get("urls")) or any(word in layer.media_type for word in _ELSEWHERE)


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _invalid(f"`{name}` is not a list")
    return value


def _descriptor(value: Any, name: str) -> Descriptor:
    if not isinstance(value, dict):
        raise _invalid(f"`{name}` holds no descriptor")
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if not isinstance(media_type, str) or not isinstance(digest, str) or not is_digest(digest):
        raise _invalid(f"a descriptor in `{name}` lacks a media type or a digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _invalid(f"a descriptor in `{name}` lacks its size")
    return Descriptor(media_type=media_type, digest=digest, size=size)


def _annotations(value: Any) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise _invalid("`annotations` is not a map of strings")
    return value


def _invalid(message: str) -> UserError:
    return UserError("oci-manifest-invalid", message, hint="push again with a client that follows OCI 1.1")
