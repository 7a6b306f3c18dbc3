"""The bill of materials of an image that was just built: from what the builder knows, without unpacking what it packed.

The wheels' metadata is read from the wheels, with their digests; the layers of the base are read once and remembered by digest.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from aegis import __version__
from aegis.adapters.layout_directory import OciLayout
from aegis.bootstrap.image_reading import layer_contents
from aegis.build.application import Application
from aegis.build.image import Facts, Image, python_version
from aegis.build.ports import Layer, Wheel
from aegis.core import codec
from aegis.core.errors import ExternalError, UserError
from aegis.supplychain import contents, sbom


def inventory(application: Application, facts: Facts, image: Image, layout: OciLayout, kept: Path) -> bytes:
    """The CycloneDX document. `kept` is where contents of base layers are remembered."""
    project = application.project
    own = {one.digest for one in image.own}
    below = contents.packages(_remembered(layout, one, kept) for one in image.layers if one.digest not in own)
    components = [*below, *(_component(one) for one in image.wheels)]
    if project.has_metadata and facts.version:
        components.append(sbom.Component(name=project.name, version=python_version(facts.version)))
    product = sbom.Product(
        kind="image", name=project.name, version=facts.version, digest=image.manifest.digest, commit=facts.revision
    )
    return sbom.document(
        product, components, made_at=datetime.fromtimestamp(facts.epoch, UTC), tool_version=__version__
    )


def wheel_metadata(wheel: Wheel) -> bytes:
    """The core metadata in a wheel."""
    with zipfile.ZipFile(wheel.path) as archive:
        name = next(one for one in _infos(archive))
        return archive.read(name)


def _infos(archive: zipfile.ZipFile) -> Iterator[str]:
    yield from (one for one in archive.namelist() if one.endswith(".dist-info/METADATA") and one.count("/") == 1)


def _component(wheel: Wheel) -> sbom.Component:
    found = sbom.component_of(wheel_metadata(wheel))
    if found is None:
        raise ExternalError("wheel-malformed", f"{wheel.filename} has no metadata")
    return replace(found, hashes=(wheel.digest,))


def _remembered(layout: OciLayout, layer: Layer, kept: Path) -> contents.LayerContents:
    note = kept / f"{layer.digest.partition(':')[2]}.json"
    try:
        return codec.decode(note.read_bytes(), contents.LayerContents)
    except (FileNotFoundError, UserError):
        found = layer_contents(layout, layer.digest, layer.media_type)
    kept.mkdir(parents=True, exist_ok=True)
    aside = note.with_suffix(".new")
    aside.write_bytes(codec.encode(found))
    aside.replace(note)
    return found
