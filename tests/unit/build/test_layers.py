"""Layers: the same files give the same bytes, and an installed tree loses what differs between installations."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from functools import partial
from pathlib import Path

import pytest

from aegis.adapters.layers_directory import DirectoryLayers
from aegis.adapters.tree_directory import DirectoryTree
from aegis.build.layers import Entry, installed_entries, write_layer
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


def test_two_installations_of_the_same_packages_give_the_same_layer(tmp_path: Path) -> None:
    layers = []
    for name in ("one", "two"):
        root = tmp_path / name
        info = root / "tiny-1.0.dist-info"
        (root / "bin").mkdir(parents=True)
        (root / "__pycache__").mkdir()
        info.mkdir()
        script = f"#!{root}/bin/python3.11\nimport tiny\n"
        long = f"#!/bin/sh\n'''exec' \"{root}/python\" \"$0\" \"$@\"\n' '''\nimport tiny\n"
        for path, text in (
            ("bin/tiny", script), ("bin/long", long), ("__pycache__/tiny.pyc", name), ("tiny.py", ""), (".lock", name),
            ("tiny-1.0.dist-info/INSTALLER", name), ("tiny-1.0.dist-info/REQUESTED", ""),
            ("tiny-1.0.dist-info/direct_url.json", name),
        ):  # fmt: skip
            (root / path).write_text(text)
        rows = [
            f"{one.relative_to(root).as_posix()},sha256={name},1" for one in sorted(root.rglob("*")) if one.is_file()
        ]
        (info / "RECORD").write_text(
            "\n".join(rows if name == "one" else rows[::-1]).replace("tiny.py,sha256=two", "tiny.py,sha256=one") + "\n"
        )
        (root / "bin" / "tiny").chmod(0o755)
        layers.append(packed(installed_entries(DirectoryTree(root, sources_only=False), "app/lib")))
    assert layers[0] == layers[1]
    with tarfile.open(fileobj=io.BytesIO(layers[0][1]), mode="r:gz") as archive:
        names = set(archive.getnames())
        script = archive.extractfile("app/lib/bin/tiny").read()  # type: ignore[union-attr]
        long = archive.extractfile("app/lib/bin/long").read()  # type: ignore[union-attr]
        record = archive.extractfile("app/lib/tiny-1.0.dist-info/RECORD").read().decode()  # type: ignore[union-attr]
    assert script == long == b"#!/usr/bin/env python3\nimport tiny\n"
    assert not any("pyc" in one or "direct_url" in one or "REQUESTED" in one for one in names)
    assert "direct_url" not in record
    assert "tiny.py,sha256=one,1" in record


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
