"""Reads images wherever they lie, an OCI layout or a registry: what they hold, how two differ, whether they are signed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aegis import __version__
from aegis.adapters.layout_directory import OciLayout
from aegis.bootstrap.image import LayerReport, Wanted, client, load_target_base, read_reference
from aegis.build.base import manifest_digests
from aegis.build.ports import ImageSource, RawManifest
from aegis.build.rebase import rebased
from aegis.build.target import Target
from aegis.core.errors import NotFound, UserError
from aegis.supplychain import contents, sbom, signing
from aegis.supplychain.compare import Difference, Known, compare
from aegis.supplychain.options import KeylessRule


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenImage:
    """An image that can be read: where from, its manifest and its configuration."""

    source: ImageSource
    raw: RawManifest
    config: Mapping[str, Any]
    config_bytes: bytes
    name: str
    tags: tuple[str, ...] = ()
    layout: OciLayout | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def opened(text: str) -> Iterator[OpenImage]:
    """The image at a path (`.aegis-image`, `folder:tag`) or under a reference."""
    path, _, tag = text.partition(":")
    if Path(text).is_dir() or Path(path).is_dir() or text.startswith((".", "/")):
        layout = OciLayout(Path(text if Path(text).is_dir() else path))
        names = layout.tags()
        wanted = tag if not Path(text).is_dir() else (names[0] if names else "")
        yield _opened(layout, wanted, text, tags=names, layout=layout)
        return
    reference = read_reference(text)
    with client(reference.host, reference.repository) as registry:
        yield _opened(registry, reference.wanted, text, tags=(reference.tag,) if reference.tag else ())


def _opened(
    source: ImageSource, wanted: str, name: str, *, tags: tuple[str, ...], layout: OciLayout | None = None
) -> OpenImage:
    raw = source.manifest(wanted)
    body = b"".join(source.blob(manifest_digests(raw)[0]))
    config = json.loads(body)
    labels = (config.get("config") or {}).get("Labels") or {}
    return OpenImage(
        source=source, raw=raw, config=config, config_bytes=body, name=name, tags=tags, layout=layout, labels=labels
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What an image says of itself."""

    digest: str
    media_type: str
    tags: tuple[str, ...]
    size: int
    layers: tuple[LayerReport, ...]
    labels: dict[str, str]
    entrypoint: tuple[str, ...]
    created: str


def inspect_image(text: str) -> Inspection:
    """Inspect an OCI layout (a path) or an image in a registry (a full reference)."""
    with opened(text) as image:
        manifest, inner = json.loads(image.raw.body), image.config.get("config") or {}
        history = [one for one in image.config.get("history") or [] if not one.get("empty_layer")]
        comments = [one.get("comment") or one.get("created_by", "") for one in history]
        comments += [""] * (len(manifest["layers"]) - len(comments))
        return Inspection(
            digest=image.raw.digest, media_type=image.raw.media_type, tags=image.tags,
            created=image.config.get("created", ""),
            size=len(image.raw.body) + manifest["config"]["size"] + sum(one["size"] for one in manifest["layers"]),
            layers=tuple(
                LayerReport(digest=one["digest"], size=one["size"], comment=comment)
                for one, comment in zip(manifest["layers"], comments, strict=False)
            ),
            labels=dict(image.labels), entrypoint=tuple(inner.get("Entrypoint") or ()),
        )  # fmt: skip


def packages_of(image: OpenImage) -> tuple[sbom.Component, ...]:
    """Every Python and Debian package in the image's layers."""
    layers = json.loads(image.raw.body)["layers"]
    return contents.packages(layer_contents(image.source, one["digest"], one["mediaType"]) for one in layers)


def layer_contents(source: ImageSource, digest: str, media_type: str) -> contents.LayerContents:
    """What one layer holds."""
    return contents.read_layer(source.blob(digest), media_type)


def sbom_of(text: str) -> bytes:
    """The CycloneDX document of an image, from its layers alone: the same bytes wherever it is made."""
    with opened(text) as image:
        made = image.config.get("created") or "1970-01-01T00:00:00Z"
        product = sbom.Product(
            kind="image", name=image.labels.get("org.opencontainers.image.title", "image"),
            version=image.labels.get("org.opencontainers.image.version", ""), digest=image.raw.digest,
            commit=image.labels.get("org.opencontainers.image.revision", ""),
        )  # fmt: skip
        at = datetime.fromisoformat(made).astimezone(UTC)
        return sbom.document(product, packages_of(image), made_at=at, tool_version=__version__)


def diff_images(before: str, after: str) -> Difference:
    """How two images differ."""
    with opened(before) as one:
        left = known(one)
    with opened(after) as other:
        return compare(left, known(other))


def known(image: OpenImage) -> Known:
    """What there is to compare of an image."""
    manifest = json.loads(image.raw.body)
    inner = image.config.get("config") or {}
    settings = {f"label {key}": str(value) for key, value in image.labels.items()}
    settings |= {f"env {one.partition('=')[0]}": one.partition("=")[2] for one in inner.get("Env") or []}
    for key in ("User", "Entrypoint", "Cmd", "WorkingDir", "ExposedPorts"):
        if inner.get(key):
            settings[key] = json.dumps(inner[key]) if not isinstance(inner[key], str) else inner[key]
    return Known(
        name=image.name, digest=image.raw.digest, settings=settings, packages=packages_of(image),
        layers={one["digest"]: one["size"] for one in manifest["layers"]},
        size=len(image.raw.body) + manifest["config"]["size"] + sum(one["size"] for one in manifest["layers"]),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What was verified of an image: who signed it, and which predicates it carries about itself."""

    digest: str
    key: str
    reference: str
    predicates: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whom:
    """Whose signatures are accepted: a key's (a file), or an identity's, with the files that a Sigstore is verified by."""

    key: Path | None = None
    identity: str = ""
    issuer: str = ""
    authorities: Path | None = None
    log_key: Path | None = None
    certificate_log_key: Path | None = None

    def authority(self) -> signing.Authority:
        """`UserError` where a file cannot be read, or something is missing."""
        if self.key is not None:
            return signing.KeyAuthority(_text(self.key))
        if not (self.identity and self.issuer and self.authorities and self.log_key):
            raise UserError(
                "verify-whom", "expected --key, or an identity with its issuer, authorities and log",
                hint="--certificate-identity ID --certificate-oidc-issuer URL --authorities FILE --log-key FILE",
            )  # fmt: skip
        from aegis.supplychain.keyless import KeylessAuthority  # noqa: PLC0415 - only for this kind

        rule = KeylessRule(
            fulcio="", rekor="", identity=self.identity, issuer=self.issuer, authorities=_text(self.authorities),
            log_key=_text(self.log_key),
            certificate_log_key=_text(self.certificate_log_key) if self.certificate_log_key else "",
        )  # fmt: skip
        try:
            return KeylessAuthority(rule)
        except ValueError as error:
            raise UserError("verify-whom", f"not in PEM form: {error}") from error


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise UserError("public-key", f"{file} cannot be read: {error.strerror}") from error


def verify(text: str, whom: Whom) -> Trust:
    """`Denied` unless the image is signed, and attested, by whom it should be."""
    reference = read_reference(text)
    trusted = (whom.authority(),)
    with client(reference.host, reference.repository) as registry:
        digest = registry.manifest(reference.wanted).digest
        manifest, blobs = _beside(registry, signing.signature_tag(digest))
        signed = signing.verify_image(trusted, digest, manifest, blobs)
        manifest, blobs = _beside(registry, signing.attestation_tag(digest))
        statements = signing.verify_attestations(trusted, digest, manifest, blobs)
    predicates = tuple(sorted({str(one.get("predicateType")) for one in statements}))
    return Trust(digest=digest, key=signed.key, reference=signed.reference, predicates=predicates)


def _beside(source: ImageSource, tag: str) -> tuple[bytes | None, dict[str, bytes]]:
    try:
        body = source.manifest(tag).body
    except NotFound:
        return None, {}
    layers = json.loads(body).get("layers", [])
    return body, {one["digest"]: b"".join(source.blob(one["digest"])) for one in layers}


@dataclass(frozen=True, slots=True, kw_only=True)
class RebaseReport:
    """What was put on which base. `path` is the OCI layout."""

    before: str
    digest: str
    base: str
    layers_kept: int
    path: str


def rebase_image(text: str, base_name: str, *, folder: Path, output: Path, architecture: str = "") -> RebaseReport:
    """Put the image at `text` onto another base, into the layout `output`. Bases are named as for `build`."""
    with opened(text) as image:
        target = Target("3.11", architecture or image.config.get("architecture", "amd64"))
        with load_target_base(base_name, Wanted(path=folder), target) as (base, source):
            made, config, own = rebased(image.raw, image.config_bytes, base)
            layout = OciLayout(output)
            for layer in base.layers:
                if source is not None:
                    layout.put_stream(layer.digest, source.blob(layer.digest))
            for document in base.documents:
                layout.put(document)
            for digest in own:
                layout.put_stream(digest, image.source.blob(digest))
            layout.put(config)
            layout.finish(made, image.tags)
            return RebaseReport(
                before=image.raw.digest, digest=made.digest, base=base.name or "none", layers_kept=len(own),
                path=str(output),
            )  # fmt: skip
