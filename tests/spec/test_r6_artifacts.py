"""R6 Artifacts, as far as the registries reach: tags that name version and commit (R6.1), older versions that stay (R6.3)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aegis.build.image import Facts, image_tags
from aegis.core.errors import Conflict
from aegis.registry.manifest import IMAGE
from aegis.registry.oci import ImageRepository
from support.registry_doors import TokenDoors

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


def push(repository: ImageRepository, content: bytes, *tags: str) -> str:
    config, layer = repository.put_blob(b"{}"), repository.put_blob(content)
    described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2}
    layers = [{"mediaType": "application/octet-stream", "digest": layer, "size": len(content)}]
    body = json.dumps({"schemaVersion": 2, "mediaType": IMAGE, "config": described, "layers": layers}).encode()
    (digest,) = {repository.put_manifest(tag, IMAGE, body).digest for tag in tags}
    return digest


def test_r6_1_images_carry_the_semantic_version_and_the_commit_hash_as_tags(tmp_path: Path) -> None:
    doors = TokenDoors(tmp_path)
    quarantine = doors.registry.repository("quarantine/shop/orders", actor="job")
    tags = image_tags(Facts(version="1.2.0", revision=COMMIT, branch="main"))
    digest = push(quarantine, b"one", *tags)
    doors.registry.copy("quarantine/shop/orders", "shop/orders", digest, tags=tags, actor="server")
    released = doors.registry.repository("shop/orders", actor="server", actions=frozenset({"pull"}))
    assert {"1.2.0", COMMIT, f"1.2.0-{COMMIT[:8]}"} <= set(released.tags().names)
    assert released.stat("1.2.0").digest == released.stat(COMMIT).digest == digest
    doors.close()


def test_r6_3_an_earlier_version_stays_what_it_was_and_can_be_had_at_once(tmp_path: Path) -> None:
    doors = TokenDoors(tmp_path)
    repository = doors.registry.repository("shop/orders", actor="server")
    first = push(repository, b"one", "1.0.0")
    push(repository, b"two", "1.1.0")
    with pytest.raises(Conflict):
        push(repository, b"another", "1.0.0")
    assert repository.stat("1.0.0").digest == first
    layers = json.loads(repository.manifest("1.0.0").body)["layers"]
    assert b"".join(repository.read_blob(layers[0]["digest"])) == b"one"
    doors.close()
