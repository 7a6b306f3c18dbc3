"""Files are chosen as GitLab chooses them, and no job reads or writes outside its work tree through an archive."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from aegis.core.errors import UserError
from aegis.core.plan import CacheSpec
from aegis.execution import cache
from aegis.execution.archive import choose, pattern, unpack


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in ("a.txt", "b.log", "out/a", "out/deep/er/b.txt", "out/deep/c.log", ".hidden/x", "we ird/ü.txt"):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return root


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("a.txt", ["a.txt"]),
        ("./a.txt", ["a.txt"]),
        ("*.txt", ["a.txt"]),
        ("**/*.txt", ["a.txt", "out/deep/er/b.txt", "we ird/ü.txt"]),
        ("out", ["out/a", "out/deep/c.log", "out/deep/er/b.txt"]),
        ("out/", ["out/a", "out/deep/c.log", "out/deep/er/b.txt"]),
        ("out/**", ["out/a", "out/deep/c.log", "out/deep/er/b.txt"]),
        ("out/*", ["out/a", "out/deep/c.log", "out/deep/er/b.txt"]),
        ("out/**/*.log", ["out/deep/c.log"]),
        ("{a.txt,b.log}", ["a.txt", "b.log"]),
        ("[!b]*.txt", ["a.txt"]),
        ("?.log", ["b.log"]),
        ("*/x", [".hidden/x"]),
        ("nothing*", []),
    ],
)
def test_a_pattern_chooses(tree: Path, glob: str, expected: list[str]) -> None:
    found = choose(tree, [glob])
    assert list(found.files) == expected
    assert bool(found.warnings) is not bool(expected)


def test_excludes_take_away_files(tree: Path) -> None:
    assert choose(tree, ["out"], exclude=["out/**/*.log", "**/b.txt"]).files == ("out/a",)
    assert choose(tree, ["out"], exclude=["out"]).files == choose(tree, ["out"]).files


@pytest.mark.parametrize("glob", ["../x", "/etc/passwd", "a/../../x", "..", ""])
def test_a_pattern_that_leads_outside_is_refused(tree: Path, glob: str) -> None:
    found = choose(tree, [glob])
    assert found.files == ()
    assert "refused" in found.warnings[0]


def test_links_that_lead_outside_and_special_files_are_left_out(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tree / "out/link").symlink_to("a")
    (tree / "out/escape").symlink_to("../../secret")
    (tree / "away").symlink_to(tmp_path)
    os.mkfifo(tree / "out/pipe")
    found = choose(tree, ["out", "away/secret", "away", "away/*"])
    assert found.files == ("out/a", "out/deep/c.log", "out/deep/er/b.txt", "out/link")
    assert len([one for one in found.warnings if "refused" in one or "not a file" in one]) >= 4


def _zip(**entries: str) -> io.BytesIO:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in entries.items():
            info = zipfile.ZipInfo(name.replace("__", "/").replace("UP", ".."))
            if text.startswith("->"):
                info.external_attr = 0o120777 << 16
            archive.writestr(info, text.removeprefix("->"))
    return data


@pytest.mark.parametrize(
    "data",
    [
        _zip(UP__x="x"),
        _zip(a__UP__UP__x="x"),
        _zip(__tmp__aegis_escape="x"),
        _zip(link="->/etc"),
        _zip(link="->../outside"),
        _zip(there__x="x"),
        _zip(there__new__x="x"),
    ],
)
def test_an_archive_that_leads_outside_is_refused(data: io.BytesIO, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "there").symlink_to(outside)
    with pytest.raises(UserError, match="outside"):
        unpack(data, root)
    assert list(outside.iterdir()) == []
    assert not Path("/tmp/aegis_escape").exists()


def test_a_link_in_the_way_is_replaced_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.write_text("kept")
    (root / "f").symlink_to(outside)
    unpack(_zip(f="new"), root)
    assert outside.read_text() == "kept"
    assert (root / "f").read_text() == "new"


def test_an_archive_that_is_too_large_or_broken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="more than 10 bytes"):
        unpack(_zip(f="x" * 11), tmp_path, limit=10)
    with pytest.raises(UserError, match="not a zip"):
        unpack(io.BytesIO(b"no archive"), tmp_path)


def test_two_stars_match_no_directory_too() -> None:
    assert pattern("a/**/b").fullmatch("a/b")
    assert pattern("a/**/b").fullmatch("a/x/y/b")
    assert not pattern("a/*/b").fullmatch("a/x/y/b")


def test_a_cache_key_follows_the_contents_of_its_files(tree: Path) -> None:
    spec = CacheSpec(key_files=("a.txt", "missing"), key_prefix="$X")
    first = cache.key(spec, tree, {"X": "p/q"})
    assert first.startswith("p-q-")
    (tree / "a.txt").write_text("other")
    assert cache.key(spec, tree, {"X": "p/q"}) != first
    assert cache.key(CacheSpec(key_files=("missing",)), tree, {}) == "default"
    assert cache.keys(CacheSpec(key="$A", fallback_keys=("b", "b")), tree, {"A": "a", "CACHE_FALLBACK_KEY": "c"}) == (
        "a",
        "b",
        "c",
    )
