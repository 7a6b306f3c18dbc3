"""Provenance names a base that is here and lies under the image, and nothing else that a job says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from aegis.core.ids import sha256
from aegis.delivery.handlers.attestations import bases_of, standing_on
from aegis.registry.cleanup import decide
from aegis.registry.manifest import IMAGE, INDEX
from aegis.registry.oci import ImageRepository
from aegis.registry.options import CleanUpRule
from support.registry_doors import TokenDoors

NOW = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[TokenDoors]:
    made = TokenDoors(tmp_path)
    yield made
    made.close()


def push(repository: ImageRepository, layers: Sequence[bytes], *, base: str = "", tag: str = "") -> str:
    """An image of these layers, which says that it stands on `base`."""
    described = [{"mediaType": "x/layer", "digest": repository.put_blob(one), "size": len(one)} for one in layers]
    config = {"mediaType": "x/config", "digest": repository.put_blob(b"{}"), "size": 2}
    body = json.dumps(
        {
            "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": described,
            "annotations": {"org.opencontainers.image.base.digest": base} if base else {},
        }
    ).encode()  # fmt: skip
    return repository.put_manifest(tag or sha256(body), IMAGE, body).digest


def test_a_base_that_lies_under_the_image_is_named_and_goes_along_with_it(doors: TokenDoors) -> None:
    quarantine = doors.registry.repository("quarantine/shop/web", actor="test")
    base = push(quarantine, [b"one", b"two"])
    image = push(quarantine, [b"one", b"two", b"three"], base=base, tag="1.0.0")
    assert standing_on(quarantine, image) == standing_on(quarantine, image) == base
    doors.registry.copy("quarantine/shop/web", "shop/web", image, tags=("1.0.0",), actor="test")
    released = doors.registry.repository("shop/web", actor="test")
    assert released.manifest(f"{image.replace(':', '-')}.base").digest == base
    rule = CleanUpRule(repositories="*", tags="*", untagged=True, keep=0, older=0)
    listed = doors.images.listing("shop/web")
    for running in (image, ""):
        kept = decide("shop/web", listed, [rule], partial(_runs, running), NOW)
        assert {one.digest: one.remove for one in kept} == {base: not running, image: not running}


def _runs(running: str, _: str, digest: str) -> str:
    return "it runs" if digest == running else ""


@pytest.mark.parametrize("base", [[b"two"], [b"one", b"two", b"three", b"four"], [b"one", b"three"], []])
def test_what_a_job_says_of_its_base_is_not_believed_without_its_layers(doors: TokenDoors, base: list[bytes]) -> None:
    repository = doors.registry.repository("quarantine/shop/web", actor="test")
    assert standing_on(repository, push(repository, [b"one", b"two", b"three"], base=push(repository, base))) == ""


@pytest.mark.parametrize("said", ["", "sha256:" + "0" * 64, "latest"])
def test_a_base_that_is_not_here_is_not_named(doors: TokenDoors, said: str) -> None:
    repository = doors.registry.repository("quarantine/shop/web", actor="test")
    assert standing_on(repository, push(repository, [b"one"], base=said)) == ""


def test_the_bases_of_an_index_are_named_by_platform(doors: TokenDoors) -> None:
    repository = doors.registry.repository("quarantine/shop/web", actor="test")
    children, bases = [], {}
    for architecture in ("amd64", "arm64", "riscv64"):
        base = push(repository, [architecture.encode()])
        image = push(repository, [architecture.encode(), b"own"], base=base if architecture != "riscv64" else "")
        size = len(repository.manifest(image).body)
        platform = {"os": "linux", "architecture": architecture}
        children.append({"mediaType": IMAGE, "digest": image, "size": size, "platform": platform})
        bases[f"base linux/{architecture}"] = f"oci:{base}"
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).encode()
    index = repository.put_manifest("1.0.0", INDEX, body).digest
    found = {one.name: one.uri for one in bases_of(repository, index)}
    del bases["base linux/riscv64"]
    assert found == bases
    assert bases_of(repository, children[0]["digest"]) == ()
