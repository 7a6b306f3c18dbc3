"""An OCI image layout in a directory: read as a base, written as a build's output, pushed from.

Follows the image layout of the OCI image specification 1.1. Writing replaces the layout's one image; blobs of an
earlier build that the new one does not need are removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from aegis.build.base import base_digest, manifest_digests
from aegis.build.ports import RawManifest
from aegis.core.errors import Conflict, ExternalError, NotFound
from aegis.core.ids import is_digest

_CHUNK: Final = 1024 * 1024
_REF: Final = "org.opencontainers.image.ref.name"
_IMAGE: Final = "application/vnd.oci.image.manifest.v1+json"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"


class OciLayout:
    """The layout at `path`; it need not exist before something is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # -- reading ------------------------------------------------------------------------------------------

    def manifest(self, reference: str) -> RawManifest:
        """By tag or digest; empty: the only image. `NotFound`."""
        if is_digest(reference):
            body = b"".join(self.blob(reference))
            kind = json.loads(body).get("mediaType", _IMAGE)
            return RawManifest(digest=reference, media_type=kind, body=body)
        entries = self._entries()
        fitting = (
            [one for one in entries if one.get("annotations", {}).get(_REF) == reference] if reference else entries
        )
        digests = {one["digest"] for one in fitting}
        if len(digests) != 1:
            known = ", ".join(sorted(self.tags())) or "none"
            raise NotFound("layout-image", f"{self.path} has no one image {reference!r}", hint=f"its tags: {known}")
        entry = fitting[0]
        body = b"".join(self.blob(entry["digest"]))
        return RawManifest(digest=entry["digest"], media_type=entry.get("mediaType", ""), body=body)

    def base(self, raw: RawManifest) -> RawManifest | None:
        """The manifest of the base that an image stands on, where it is kept beside the image."""
        digest = base_digest(raw)
        kept = digest.startswith("sha256:") and self.blob_path(digest).is_file()
        return self.manifest(digest) if kept else None

    def tags(self) -> tuple[str, ...]:
        """The tags of the layout, in its order."""
        names = (one.get("annotations", {}).get(_REF, "") for one in self._entries())
        return tuple(dict.fromkeys(name for name in names if name))

    def blob(self, digest: str) -> Iterator[bytes]:
        """A blob in chunks, verified at its end. `NotFound` is raised by the call."""
        path = self.blob_path(digest)
        if not path.is_file():
            raise NotFound("layout-blob", f"{self.path} has no blob {digest}")

        def chunks() -> Iterator[bytes]:
            hashed = hashlib.sha256()
            try:
                with path.open("rb") as handle:
                    while chunk := handle.read(_CHUNK):
                        hashed.update(chunk)
                        yield chunk
            except OSError as error:
                raise _failed(self.path, error) from error
            if f"sha256:{hashed.hexdigest()}" != digest:
                raise ExternalError("layout-damaged", f"{digest} in {self.path} is damaged")

        return chunks()

    def blob_path(self, digest: str) -> Path:
        """Where a blob lies."""
        kind, _, name = digest.partition(":")
        if not is_digest(digest) or kind != "sha256":
            raise NotFound("layout-blob", f"{digest[:80]!r} is not a sha256 digest")
        return self.path / "blobs" / "sha256" / name

    def _entries(self) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = json.loads((self.path / "index.json").read_bytes())["manifests"]
        except FileNotFoundError:
            hint = "build it first: aegis image build"
            raise NotFound("layout-missing", f"there is no image at {self.path}", hint=hint) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ExternalError("layout-damaged", f"{self.path}/index.json cannot be read: {error}") from error
        if not all(isinstance(one, dict) and is_digest(str(one.get("digest"))) for one in found):
            raise ExternalError("layout-damaged", f"{self.path}/index.json has an entry without a digest")
        return found

    # -- writing ------------------------------------------------------------------------------------------

    def put(self, data: bytes) -> str:
        """Keep content; its digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.put_stream(digest, iter((data,)))
        return digest

    def put_file(self, digest: str, path: Path) -> None:
        """Take a file that is known to have that digest: linked where the disk allows, else copied."""
        target = self._target(digest)
        if target.exists():
            return
        try:
            os.link(path, target)
        except OSError:
            with path.open("rb") as source:
                self.put_stream(digest, iter(lambda: source.read(_CHUNK), b""))

    def put_stream(self, digest: str, chunks: Iterator[bytes]) -> None:
        """Keep a stream that must have that digest; does nothing when it is there. `Conflict` otherwise."""
        target = self._target(digest)
        if target.exists():
            return
        hashed = hashlib.sha256()
        try:
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".writing-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    for chunk in chunks:
                        hashed.update(chunk)
                        file.write(chunk)
                if f"sha256:{hashed.hexdigest()}" != digest:
                    raise Conflict("layout-digest", f"content of another digest came for {digest}")
                Path(name).chmod(0o644)
                Path(name).replace(target)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise _failed(self.path, error) from error

    def finish(self, manifest: RawManifest, tags: tuple[str, ...]) -> None:
        """Make the manifest, under its tags, the layout's one image."""
        self.put(manifest.body)
        about = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.body)}
        entries = [{**about, "annotations": {_REF: tag}} for tag in tags] or [about]
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}
        try:
            (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
            aside = self.path / ".index.json"
            aside.write_text(json.dumps(index, indent=2))
            aside.replace(self.path / "index.json")
            base = self.base(manifest)
            below = (base.digest, *manifest_digests(base)) if base is not None else ()
            needed = {one.partition(":")[2] for one in (manifest.digest, *manifest_digests(manifest), *below)}
            for file in (self.path / "blobs" / "sha256").iterdir():
                if file.name not in needed:
                    file.unlink()
        except OSError as error:
            raise _failed(self.path, error) from error

    def clear(self) -> None:
        """Remove the layout, when there is one."""
        if (self.path / "oci-layout").exists():
            shutil.rmtree(self.path)

    def _target(self, digest: str) -> Path:
        target = self.blob_path(digest)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _failed(self.path, error) from error
        return target


def _failed(path: Path, error: OSError) -> ExternalError:
    return ExternalError("layout", f"the image at {path} failed: {error}", hint="look at the disk: is it full?")
