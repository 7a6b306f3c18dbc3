"""What an image stands on: nothing, or another image pinned by digest.

Reads manifests and configurations of base images; pulling them is the `ImageSource`'s. Without a base, whoever
runs the image gives the interpreter; the label `io.aegis.base=none` says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aegis.build.ports import ImageSource, Layer, RawManifest
from aegis.build.target import Target
from aegis.core.errors import ExternalError, UserError
from aegis.core.ids import is_digest

_INDEXES: Final = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)
_DOCKER_LAYERS: Final = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base image: its layers, its configuration, its name and digest (both empty for none)."""

    layers: tuple[Layer, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    digest: str = ""
    documents: tuple[bytes, ...] = ()
    """Manifest and configuration as they are: kept beside the image, so that its registry has the base whole."""


def load_base(source: ImageSource, reference: str, name: str, target: Target) -> Base:
    """The base image under `reference` for the target's architecture; `UserError` where it has none."""
    try:
        return _load(source, reference, name, target)
    except (KeyError, TypeError, AttributeError) as error:
        message = f"the base {name} is not an image that can be read: {type(error).__name__} {error}"
        raise ExternalError("base-broken", message) from error


def _load(source: ImageSource, reference: str, name: str, target: Target) -> Base:
    raw = source.manifest(reference)
    data = _json(raw.body)
    if raw.media_type in _INDEXES or "manifests" in data:
        raw = source.manifest(_choose(data, name, target))
        data = _json(raw.body)
    config_body = _whole(source.blob(data["config"]["digest"]))
    config = _json(config_body)
    if config.get("architecture", target.architecture) != target.architecture:
        said = config["architecture"]
        raise UserError("base-platform", f"the base {name} is for {said}, the target is {target.architecture}")
    diff_ids = config.get("rootfs", {}).get("diff_ids", [])
    if len(diff_ids) != len(data["layers"]):
        raise ExternalError("base-broken", f"the base {name} has {len(data['layers'])} layers and {len(diff_ids)} ids")
    layers = tuple(
        Layer(
            digest=one["digest"], diff_id=diff_id, size=one["size"], comment=f"base {name}",
            media_type=_DOCKER_LAYERS.get(one["mediaType"], one["mediaType"]),
        )
        for one, diff_id in zip(data["layers"], diff_ids, strict=True)
    )  # fmt: skip
    return Base(
        layers=layers, config=config, name=name, digest=raw.digest, documents=(raw.body, config_body)
    )  # fmt: skip


def for_base(base: Base, target: Target, asked: str) -> Target:
    """The target with the Python that the base says it holds; `UserError` where another was `asked` for."""
    environment = dict(one.partition("=")[::2] for one in (base.config.get("config") or {}).get("Env") or [])
    held = ".".join(environment.get("PYTHON_VERSION", "").split(".")[:2])
    if not held:
        return target
    if asked and asked != held:
        message = f"the base {base.name} holds Python {held}, the image is for {asked}"
        raise UserError("base-python", message, hint=f"[tool.aegis] python = {held!r}, or another base")
    return Target(held, target.architecture)


def manifest_digests(raw: RawManifest) -> tuple[str, ...]:
    """The digests of the blobs that an image manifest needs: configuration first, then the layers."""
    data = _json(raw.body)
    if "config" not in data or "layers" not in data:
        raise UserError("image-index", "this is an index of several images", hint="name one of them by its digest")
    return (data["config"]["digest"], *(one["digest"] for one in data["layers"]))


def index_digests(raw: RawManifest) -> tuple[str, ...]:
    """The digests of the manifests in an index; empty for an image."""
    return tuple(str(one["digest"]) for one in _json(raw.body).get("manifests") or [])


def base_digest(raw: RawManifest) -> str:
    """The digest of the base that an image says it stands on; empty where it says none."""
    said = (_json(raw.body).get("annotations") or {}).get("org.opencontainers.image.base.digest", "")
    return said if is_digest(str(said)) else ""


def _choose(index: Mapping[str, Any], name: str, target: Target) -> str:
    offered = []
    for one in index["manifests"]:
        platform = one.get("platform", {})
        if platform.get("os", "linux") == "linux" and platform.get("architecture") in {target.architecture, None}:
            digest: str = one["digest"]
            return digest
        offered.append(f"{platform.get('os')}/{platform.get('architecture')}")
    raise UserError(
        "base-platform", f"the base {name} is not there for {target.architecture}, only {', '.join(offered)}"
    )


def _json(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError as error:
        raise ExternalError("base-broken", f"the base image cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise ExternalError("base-broken", "the base image's manifest is not an object")
    return data


def _whole(chunks: Iterator[bytes], limit: int = 16 * 1024 * 1024) -> bytes:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) > limit:
            raise ExternalError("base-broken", "the base image's configuration is too large")
    return bytes(held)
