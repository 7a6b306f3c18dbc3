"""An image for several platforms: its packages are those of all its images, and the cluster runs this machine's."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from aegis.bootstrap import build_facts
from aegis.bootstrap.plant import _puller
from aegis.build.layers import Entry, write_layer
from aegis.build.platforms import joined
from aegis.build.ports import RawManifest
from aegis.core.errors import UserError
from aegis.core.ids import sha256
from aegis.delivery.handlers.attestations import components, images_of
from aegis.registry.manifest import IMAGE
from aegis.registry.oci import ImageRepository
from support.registry_doors import TokenDoors


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[ImageRepository]:
    doors = TokenDoors(tmp_path)
    yield doors.registry.repository("shop/web", actor="test")
    doors.close()


def pushed(repository: ImageRepository, architecture: str, package: str) -> tuple[RawManifest, bytes]:
    """An image for an architecture that holds a package."""
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode()
    held = io.BytesIO()
    entry = Entry(path=f"app/lib/{package}-1.0.dist-info/METADATA", read=partial(bytes, metadata))
    layer = write_layer([entry], held, epoch=0, comment="")
    repository.put_blob(held.getvalue())
    config = json.dumps({"os": "linux", "architecture": architecture}).encode()
    body = json.dumps(
        {
            "schemaVersion": 2, "mediaType": IMAGE,
            "config": {"mediaType": "x/config", "digest": repository.put_blob(config), "size": len(config)},
            "layers": [{"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}],
        }
    ).encode()  # fmt: skip
    made = RawManifest(digest=sha256(body), media_type=IMAGE, body=body)
    repository.put_manifest(made.digest, IMAGE, body)
    return made, config


def test_an_index_has_the_packages_of_all_its_images_and_one_of_them_runs_here(repository: ImageRepository) -> None:
    here = build_facts.target("", "").architecture
    other = "arm64" if here == "amd64" else "amd64"
    images = {one: pushed(repository, one, f"only-{one}") for one in (here, other)}
    index = joined(list(images.values()))
    repository.put_manifest("1.0.0", index.media_type, index.body)
    assert {one.name for one in components(repository, index.digest)} == {"only-amd64", "only-arm64"}
    assert len(images_of(repository, index.digest)) == 2
    pull = _puller(repository._registry)
    assert json.loads(pull("host/shop/web", index.digest).config)["architecture"] == here
    assert json.loads(pull("host/shop/web", images[other][0].digest).config)["architecture"] == other
    alone = joined([images[other]])
    repository.put_manifest("1.0.1", alone.media_type, alone.body)
    with pytest.raises(UserError, match=f"not for linux/{here}"):
        pull("host/shop/web", alone.digest)
