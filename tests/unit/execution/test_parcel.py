"""A parcel is what was packed, costs little where little has changed, and is a zip to whoever asks for one."""

from __future__ import annotations

import io
import os
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.core.errors import ExternalError, NotFound, UserError
from aegis.execution import parcel, stored, zip_face
from aegis.execution.archive import choose
from aegis.execution.parcel import Entry, Parcel, Segment
from aegis.execution.parcel_garbage import manifests, release
from support.ledgers import MemoryBlobs


@pytest.fixture
def blobs(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "blobs")


def tree(root: Path, **files: bytes) -> Path:
    for name, data in files.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return root


def packed(root: Path, blobs: DirectoryBlobs) -> str:
    return parcel.pack(root, choose(root, ["**"]).files, blobs)[0]


def test_a_packed_tree_is_unpacked_as_it_was(tmp_path: Path, blobs: DirectoryBlobs) -> None:
    noise = random.Random(1).randbytes(2 * parcel.SEGMENT + 5)
    root = tree(tmp_path / "in", a=b"a" * 3_000_000, out__b=b"", out__big=noise, tool=b"#!/bin/sh\n")
    (root / "out/link").symlink_to("b")
    (root / "tool").chmod(0o700)
    digest = packed(root, blobs)
    os.utime(root / "a", (1, 1))
    assert packed(root, blobs) == digest
    target = tree(tmp_path / "out", out__b=b"older")
    names = stored.unpack(blobs, digest, target)
    assert sorted(names) == sorted(["a", "out/b", "out/big", "out/link", "tool"])
    assert (target / "out/big").read_bytes() == noise
    assert (target / "out/b").read_bytes() == b""
    assert (target / "out/link").readlink() == Path("b")
    assert ((target / "tool").stat().st_mode & 0o777, (target / "a").stat().st_mode & 0o777) == (0o755, 0o644)


def test_a_name_that_is_no_text_is_a_name(tmp_path: Path, blobs: DirectoryBlobs) -> None:
    odd = os.fsdecode(b"odd\xff")
    root = tree(tmp_path / "in", **{odd: b"odd"})
    digest, made = parcel.pack(root, [odd], blobs)
    assert stored.unpack(blobs, digest, tmp_path / "in") == (odd,)
    assert len(b"".join(zip_face.chunks(made, blobs))) == zip_face.size_of(made)


def test_only_what_shrinks_is_compressed(tmp_path: Path, blobs: DirectoryBlobs) -> None:
    root = tree(tmp_path / "in", noise=random.Random(2).randbytes(2_000_000), text=b"the same line\n" * 200_000)
    found = parcel.read(blobs, packed(root, blobs))
    assert [one.packing for one in found.segments] == [parcel.RAW, parcel.ZSTD]
    assert sum(blobs.size(one.digest) or 0 for one in found.segments) < 2_010_000


def test_a_file_whose_head_alone_is_noise_is_compressed(tmp_path: Path, blobs: DirectoryBlobs) -> None:
    root = tree(tmp_path / "in", half=random.Random(3).randbytes(1_500_000) + b"x" * 2_000_000)
    assert parcel.read(blobs, packed(root, blobs)).segments[0].packing == parcel.ZSTD


def test_a_parcel_that_changes_a_little_costs_a_little(tmp_path: Path, blobs: DirectoryBlobs) -> None:
    source = random.Random(4)
    files = {f"lib__{number:04}": source.randbytes(source.randrange(100, 40_000)) for number in range(600)}
    root = tree(tmp_path / "in", **files)
    first = set(stored.blobs_of(blobs, packed(root, blobs)))
    # One file is changed, one is added in front of all, one is taken away: every cut behind them stays where it was.
    tree(root, lib__0300=source.randbytes(5_000), aa=b"new")
    (root / "lib/0100").unlink()
    second = set(stored.blobs_of(blobs, packed(root, blobs)))
    total = sum(blobs.size(one) or 0 for one in second)
    fresh = sum(blobs.size(one) or 0 for one in second - first)
    assert len(second) > 8
    assert fresh < 0.3 * total


def test_equal_large_files_are_kept_once(tmp_path: Path, blobs: DirectoryBlobs) -> None:
    noise = random.Random(5).randbytes(parcel.SEGMENT + 100)
    found = parcel.read(blobs, packed(tree(tmp_path / "in", a=noise, b=noise), blobs))
    assert len(found.segments) == 4
    assert len({one.digest for one in found.segments}) == 2


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), max_size=12),
    segment=st.integers(4, 32),
    large=st.integers(2, 20),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_every_byte_comes_back_wherever_the_cuts_are(
    sizes: list[int], segment: int, large: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("in")
    source = random.Random(seed)
    files = {f"f{number:02}": source.randbytes(size) for number, size in enumerate(sizes)}
    tree(root, **files)
    store = MemoryBlobs()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parcel, "SEGMENT", max(segment, large))
        patch.setattr(parcel, "LARGE", large)
        patch.setattr(parcel, "_TARGET", 16)
        cutter = parcel._Cutter(root)
        digests = list(store.put_each(cutter.segments(sorted(files))))
    segments = tuple(Segment(digest, *cut) for digest, cut in zip(digests, cutter.cuts, strict=True))
    made = Parcel(tuple(cutter.entries), segments)
    assert {entry.name: b"".join(pieces) for entry, pieces in parcel.contents(made, store)} == files
    for name, data in files.items():
        assert b"".join(parcel.content(made, name, store)[1]) == data
    face = b"".join(zip_face.chunks(made, store))
    assert len(face) == zip_face.size_of(made)
    with zipfile.ZipFile(io.BytesIO(face)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_the_zip_face_keeps_modes_links_and_names(tmp_path: Path, blobs: DirectoryBlobs) -> None:
    root = tree(tmp_path / "in", run=b"#!/bin/sh\n", **{"ü ber": b"x"})
    (root / "run").chmod(0o755)
    (root / "link").symlink_to("run")
    size, chunks = stored.as_zip(blobs, packed(root, blobs))
    face = b"".join(chunks)
    assert len(face) == size
    with zipfile.ZipFile(io.BytesIO(face)) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        assert modes == {"link": 0o120777, "run": 0o100755, "ü ber": 0o100644}
        assert archive.read("link") == b"run"


def test_beyond_four_gibibytes_the_zip_face_is_zip64() -> None:
    huge, many = 5 * 1024**3, 70_000
    files = (Entry("huge", 0, huge, 7), *(Entry(f"f{number}", 0, 0, 0) for number in range(many)))
    listed = [zip_face._listed(one, 0 if one.size else huge + 100) for one in files]
    directory = b"".join(listed)
    end = zip_face._end(len(files), 0, len(directory))
    # What stands before the directory is left out: readers take it from the front, the directory they take from the end.
    with zipfile.ZipFile(io.BytesIO(directory + end)) as archive:
        assert len(archive.infolist()) == many + 1
        assert archive.infolist()[0].file_size == huge
        assert archive.infolist()[1].header_offset == huge + 100
    assert zip_face.size_of(Parcel(files, (Segment("sha256:x", huge, 0),))) > huge + many * 46


def test_one_file_is_read_without_the_others(tmp_path: Path, blobs: DirectoryBlobs) -> None:
    noise = random.Random(6).randbytes(3 * parcel.SEGMENT)
    digest = packed(tree(tmp_path / "in", a=noise, z=b"small"), blobs)
    for one in parcel.read(blobs, digest).segments[:3]:
        blobs.delete(one.digest)
    size, chunks = stored.file_of(blobs, digest, "z")
    assert (size, b"".join(chunks)) == (5, b"small")
    with pytest.raises(NotFound):
        stored.file_of(blobs, digest, "no/such")
    assert not stored.is_whole(blobs, digest)
    with pytest.raises(NotFound):
        stored.unpack(blobs, digest, tmp_path / "in")


def test_a_damaged_or_alien_manifest_is_refused(tmp_path: Path, blobs: DirectoryBlobs) -> None:
    digest = packed(tree(tmp_path / "in", a=b"x" * 100), blobs)
    segment = parcel.read(blobs, digest).segments[0].digest
    path = tmp_path / "blobs" / "sha256" / segment[7:9] / segment[7:]
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(ExternalError, match="no longer has that digest"):
        stored.unpack(blobs, digest, tmp_path / "in")
    alien = b"aegis-parcel-1\nnot what it says"
    store = MemoryBlobs()
    store.kept["sha512:1"] = alien
    with pytest.raises(UserError, match="not a manifest"):
        parcel.read(store, "sha512:1")


@pytest.mark.parametrize("name", ["../x", "/tmp/aegis_escape", "a/../../x", "away/x"])
def test_a_forged_parcel_leads_nowhere(tmp_path: Path, blobs: DirectoryBlobs, name: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "away").symlink_to(outside)
    content = blobs.put(b"evil")
    forged = Parcel((Entry(name, 0, 4, 0),), (Segment(content, 4, parcel.RAW),))
    with pytest.raises(UserError, match="outside"):
        stored.unpack(blobs, parcel.keep(forged, blobs), root)
    linked = Parcel((Entry("l", parcel.LINK, 4, 0),), (Segment(blobs.put(b"/etc"), 4, parcel.RAW),))
    with pytest.raises(UserError, match="outside"):
        stored.unpack(blobs, parcel.keep(linked, blobs), root)
    assert list(outside.iterdir()) == []
    with pytest.raises(UserError, match="more than"):
        stored.unpack(blobs, parcel.keep(forged, blobs), root, limit=3)


def test_what_no_parcel_shares_goes_with_the_last_that_needs_it(tmp_path: Path) -> None:
    store = DirectoryBlobs(tmp_path / "blobs")
    shared, own = random.Random(7).randbytes(2_000_000), random.Random(8).randbytes(2_000_000)
    first = packed(tree(tmp_path / "one", a=shared, b=own), store)
    second = packed(tree(tmp_path / "two", a=shared), store)
    assert set(manifests(store, 2e10)) == {first, second}
    assert list(manifests(store, 1.0)) == []
    parts = stored.blobs_of(store, first)
    done = release(store, [first], lambda _: frozenset(), dry_run=True)
    assert (done.blobs, stored.is_whole(store, first)) == (2, True)
    assert release(store, [first], lambda some: some & {first}).blobs == 0
    assert release(store, [first], lambda _: frozenset()) == done
    assert stored.is_whole(store, second)
    assert sum(store.size(one) is not None for one in parts) == 1
    release(store, [second], lambda _: frozenset())
    assert list(store.digests()) == []


def test_a_sweep_leaves_what_is_being_written(tmp_path: Path, blobs: DirectoryBlobs) -> None:
    root = tree(tmp_path / "one", a=b"x" * 1000)
    digest = packed(root, blobs)
    with blobs.hold():
        # The writer finds its segment there and writes nothing; now the sweep comes; then the writer writes its manifest.
        cutter = parcel._Cutter(root)
        found = [Segment(one, *cutter.cuts[0]) for one in blobs.put_each(cutter.segments(["a"]))]
        release(blobs, [digest], lambda _: frozenset())
        assert parcel.keep(Parcel(tuple(cutter.entries), tuple(found)), blobs) == digest
        assert stored.is_whole(blobs, digest)
        release(blobs, [digest], lambda _: frozenset())
        assert stored.is_whole(blobs, digest)
    release(blobs, [digest], lambda _: frozenset())
    assert list(blobs.digests()) == []
