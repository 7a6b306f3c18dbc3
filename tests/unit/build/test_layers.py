"""Layers: the same files give the same bytes, and an installed tree loses what differs between installations."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from functools import partial
from pathlib import Path

import pytest
import zstandard

from aegis.adapters.layers_directory import DirectoryLayers
from aegis.build.layers import Entry, write_layer
from aegis.build.ports import Layer
from aegis.core.errors import UserError


def entry(path: str, data: bytes = b"", *, executable: bool = False) -> Entry:
    return Entry(path=path, read=lambda: data, executable=executable)


def packed(entries: list[Entry], epoch: int = 0) -> tuple[Layer, bytes]:
    held = io.BytesIO()
    return write_layer(entries, held, epoch=epoch, comment="test"), held.getvalue()


def test_a_layer_is_a_sorted_tar_of_root_with_one_time_and_its_folders() -> None:
    entries = [entry("app/b.py", b"b"), entry("app/a/run", b"r", executable=True), entry("app/a-b", b"")]
    layer, data = packed(entries, epoch=1_700_000_000)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        members = archive.getmembers()
    assert [one.name for one in members] == ["app", "app/a", "app/a/run", "app/a-b", "app/b.py"]
    assert {(one.uid, one.gid, one.uname, one.mtime) for one in members} == {(0, 0, "", 1_700_000_000)}
    assert [oct(one.mode) for one in members] == ["0o755", "0o755", "0o755", "0o644", "0o644"]
    assert layer.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert layer.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(data)).hexdigest()}"
    assert layer.size == len(data)


def test_the_order_in_which_files_come_does_not_matter() -> None:
    entries = [entry(f"app/{name}", name.encode() * 100) for name in "cab"]
    assert packed(entries) == packed(entries[::-1])


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "app/../../x", "app//x", "./x", ""])
def test_a_path_that_leads_out_of_the_image_is_refused(path: str) -> None:
    with pytest.raises(UserError):
        packed([entry(path)])


def test_a_file_that_would_be_a_folder_is_refused() -> None:
    with pytest.raises(UserError):
        packed([entry("app/x"), entry("app/x/y")])


def test_links_folders_and_modes_are_kept_and_long_paths_too() -> None:
    long = "app/" + "/".join(["folder" * 5] * 6) + "/файл.py"
    entries = [
        Entry(path="usr/bin/python", link="python3"), Entry(path="tmp/", mode=0o1777), Entry(path="tmp/x", read=lambda: b"x"),
        entry(long, b"long"),
    ]  # fmt: skip
    _, data = packed(entries)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        found = {one.name: one for one in archive.getmembers()}
        assert archive.extractfile(long).read() == b"long"  # type: ignore[union-attr]
    assert (found["usr/bin/python"].issym(), found["usr/bin/python"].linkname) == (True, "python3")
    assert (found["tmp"].isdir(), found["tmp"].mode) == (True, 0o1777)


def test_zstd_holds_the_same_tar_as_gzip() -> None:
    held = io.BytesIO()
    plain, _ = packed([entry("app/x", b"x" * 5000)])
    layer = write_layer(
        [entry("app/x", b"x" * 5000)], held, epoch=0, comment="test", compression="zstd"
    )  # fmt: skip
    assert layer.media_type.endswith("tar+zstd")
    assert layer.diff_id == plain.diff_id
    unpacked = zstandard.ZstdDecompressor().decompressobj().decompress(held.getvalue())
    assert layer.diff_id == f"sha256:{hashlib.sha256(unpacked).hexdigest()}"


def test_the_cache_gives_back_whole_layers_only(tmp_path: Path) -> None:
    cache = DirectoryLayers(tmp_path / "cache")
    assert cache.find("key") is None
    kept = cache.keep("key", partial(write_layer, [entry("app/x", b"x")], epoch=0, comment="one"))
    assert cache.find("key") == kept
    assert cache.path(kept).stat().st_size == kept.size
    cache.path(kept).write_bytes(b"damaged")
    assert cache.find("key") is None
    cache.keep("key", partial(write_layer, [entry("app/x", b"x")], epoch=0, comment="one"))
    assert cache.find("key") == kept
