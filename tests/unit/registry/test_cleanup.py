"""Which images go, with the reason for each, and that content goes only when nobody needs it, pushes or not."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.adapters.registry_sqlite import SqliteImages, SqliteIndexes
from aegis.adapters.turns_memory import MemoryPins
from aegis.adapters.uploads_directory import DirectoryUploads
from aegis.registry.cleanup import Decision, decide
from aegis.registry.garbage import GRACE, sweep
from aegis.registry.manifest import IMAGE
from aegis.registry.oci import ImageRepository, OciRegistry
from aegis.registry.options import CleanUpRule
from aegis.registry.ports import ListedImage, ManifestRecord

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def digest(name: str) -> str:
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def image(name: str, *tags: str, days: float = 0, **more: Any) -> ListedImage:
    record = ManifestRecord(digest=digest(name), media_type=IMAGE, size=1, **more)
    return ListedImage(record=record, tags=tags, pushed_at=NOW - timedelta(days=days))


def decided(
    images: list[ListedImage], *rules: CleanUpRule, protected: dict[str, str] | None = None
) -> dict[str, Decision]:
    kept = {digest(name): why for name, why in (protected or {}).items()}
    found = decide("quarantine/shop/orders", images, rules, lambda _, one: kept.get(one, ""), NOW)
    names = {one.record.digest: one for one in images}
    assert [one.digest for one in found] == list(names)
    return {one.digest: one for one in found}


def gone(found: dict[str, Decision], *names: str) -> list[bool]:
    return [found[digest(name)].remove for name in names]


def why(found: dict[str, Decision], name: str) -> str:
    return found[digest(name)].reason


RULE = CleanUpRule(repositories="quarantine/*", keep=2, older=7 * 86400)


def test_the_newest_stay_and_of_the_others_what_is_old_goes() -> None:
    images = [image(str(days), f"t{days}", days=days) for days in (1, 2, 3, 30, 40)]
    found = decided(images, RULE)
    assert gone(found, "1", "2", "3", "30", "40") == [False, False, False, True, True]
    assert why(found, "1").startswith("one of the newest 2")
    assert "waits for 7 days" in why(found, "3")
    assert why(found, "40").startswith("beyond the newest 2, 40 days old, more than 7 days")


def test_what_is_protected_stays_and_says_why() -> None:
    images = [image(str(days), f"t{days}", days=days) for days in (30, 40, 50, 60)]
    found = decided(images, RULE, protected={"50": "web@1.0.0 is deployed in production"})
    assert gone(found, "50", "60") == [False, True]
    assert why(found, "50") == "web@1.0.0 is deployed in production"


def test_the_first_rule_whose_pattern_all_tags_match_decides() -> None:
    images = [
        image("release", "1.0.0", days=99), image("both", "1.1.0", "nightly-1", days=99), image("night", "nightly-2", days=99),
        image("bare", days=99),
    ]  # fmt: skip
    rules = (CleanUpRule(repositories="*", tags="nightly-*", older=86400, untagged=False),)
    found = decided(images, *rules)
    assert gone(found, "release", "both", "night", "bare") == [False, False, True, False]
    assert why(found, "release") == "no rule speaks of it"
    assert gone(decided(images, *rules, CleanUpRule(repositories="*", older=86400)), "release", "bare") == [True, True]


def test_what_belongs_to_an_image_goes_with_it_and_never_without() -> None:
    index, part = image("index", "t", days=90, references=(digest("part"),)), image("part", days=90)
    signature = image("signature", f"{digest('index').replace(':', '-')}.sig", days=90)
    sbom, of_sbom = image("sbom", days=90, subject=digest("index")), image("of-sbom", days=1, subject=digest("sbom"))
    everything = [index, part, signature, sbom, of_sbom]
    rule = CleanUpRule(repositories="*", older=86400)
    assert gone(decided(everything, rule), "index", "part", "signature", "sbom", "of-sbom") == [True] * 5
    found = decided(everything, rule, protected={"index": "deployed"})
    assert gone(found, "index", "part", "signature", "sbom", "of-sbom") == [False] * 5
    assert why(found, "part") == f"belongs to {digest('index')}, which stays"


def test_a_part_of_two_images_stays_while_one_of_them_does() -> None:
    part = image("part", days=90)
    old, new = (image(name, name, days=days, references=(digest("part"),)) for name, days in (("old", 90), ("new", 0)))
    found = decided([part, old, new], CleanUpRule(repositories="*", older=86400))
    assert gone(found, "part", "old", "new") == [False, True, False]


# -- content ----------------------------------------------------------------------------------------------


class Place:
    def __init__(self, path: Path) -> None:
        self.now = NOW
        self.blobs = DirectoryBlobs(path / "blobs")
        self.images = SqliteImages(path / "images.sqlite", now=self.time)
        self.indexes = SqliteIndexes(path / "packages.sqlite", now=self.time)
        self.pins = MemoryPins()
        self.registry = OciRegistry(
            blobs=self.blobs, images=self.images, uploads=DirectoryUploads(path / "up", self.blobs), pins=self.pins
        )

    def time(self) -> float:
        return self.now.timestamp()

    def repository(self, name: str = "shop/orders") -> ImageRepository:
        return self.registry.repository(name, actor="x")

    def push(self, tag: str, layer: bytes, name: str = "shop/orders") -> str:
        repository = self.repository(name)
        described = [
            {"mediaType": "application/octet-stream", "digest": repository.put_blob(data), "size": len(data)}
            for data in (b"{}", layer)
        ]
        body = {"schemaVersion": 2, "mediaType": IMAGE, "config": described[0], "layers": described[1:]}
        return repository.put_manifest(tag, IMAGE, json.dumps(body).encode()).digest

    def later(self, days: float) -> None:
        self.now += timedelta(days=days)

    def swept(self, *, mentioned: frozenset[str] = frozenset(), dry_run: bool = False) -> set[str]:
        stores = (self.images, self.indexes)
        done = sweep(self.blobs, stores, self.pins, lambda asked: asked & mentioned, self.now, dry_run=dry_run)
        return set(done.deleted)

    def close(self) -> None:
        self.images.close()
        self.indexes.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def blob(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_content_goes_a_day_after_its_last_name_did(place: Place) -> None:
    manifest = place.push("1", b"layer")
    place.push("2", b"other")
    place.later(10)
    place.images.delete_manifest("shop/orders", manifest)
    assert place.images.unlink_unreferenced("shop/orders", place.now - GRACE) == 1
    assert place.swept() == set()
    place.later(2)
    assert place.swept(dry_run=True) == {manifest, blob(b"layer")}
    assert place.blobs.size(blob(b"layer")) == 5
    assert place.swept() == {manifest, blob(b"layer")}
    assert place.blobs.size(blob(b"layer")) is None
    assert place.blobs.size(blob(b"other")) == 5
    assert place.swept() == set()


def test_content_that_another_repository_or_the_ledger_needs_stays(place: Place) -> None:
    manifest = place.push("1", b"layer")
    place.push("1", b"layer", "shop/copied")
    place.images.delete_manifest("shop/orders", manifest)
    place.later(2)
    place.images.unlink_unreferenced("shop/orders", place.now)
    place.later(2)
    assert place.swept() == set()
    place.images.delete_manifest("shop/copied", manifest)
    place.images.unlink_unreferenced("shop/copied", place.now)
    place.later(2)
    assert place.swept(mentioned=frozenset({manifest})) == {blob(b"layer"), blob(b"{}")}


def test_a_blob_that_no_manifest_names_yet_is_left_for_a_day(place: Place) -> None:
    place.push("1", b"layer")
    place.repository().put_blob(b"on its way")
    assert place.images.unlink_unreferenced("shop/orders", place.now - GRACE) == 0
    place.later(2)
    assert place.images.unlink_unreferenced("shop/orders", place.now - GRACE) == 1


def test_what_is_being_pushed_again_is_left(place: Place) -> None:
    place.repository().put_blob(b"layer")
    place.repository().delete_blob(blob(b"layer"))
    place.later(2)
    with place.pins.held(blob(b"layer")):
        assert place.swept() == set()
    assert place.swept() == {blob(b"layer")}


def test_pushes_and_sweeps_at_once_never_leave_an_image_without_its_content(place: Place) -> None:
    def pushing() -> None:
        for count in range(60):
            place.push("latest", f"layer {count % 3}".encode())

    pusher = threading.Thread(target=pushing)
    pusher.start()
    while pusher.is_alive():
        for number in range(3):
            data = f"layer {number}".encode()
            for one in place.images.listing("shop/orders"):
                if not one.tags and blob(data) in one.record.references:
                    place.images.delete_manifest("shop/orders", one.record.digest)
        place.images.unlink_unreferenced("shop/orders", place.now - GRACE)
        stores = (place.images, place.indexes)
        sweep(place.blobs, stores, place.pins, lambda _: frozenset(), place.now + 2 * GRACE)
    pusher.join()
    for one in place.images.listing("shop/orders"):
        for needed in one.record.references:
            assert place.blobs.size(needed) is not None
