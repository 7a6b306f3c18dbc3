"""A protected branch's caches cannot be written by other branches, whatever keys they choose, nor by two writers at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.adapters.shelf_directory import DirectoryShelf
from aegis.core import codec
from aegis.core.plan import CacheSpec
from aegis.delivery.options import Options
from aegis.execution import cache, parcel, transfer
from aegis.execution.ports import CacheEntry
from aegis.execution.sealed import Note, SealedNotes
from aegis.source.branches import ProtectedBranch
from support.clock import FakeClock

SPEC = CacheSpec(key="deps", paths=("deps",))


def notes(root: Path, key: bytes = b"the server's") -> SealedNotes[CacheEntry]:
    return SealedNotes(DirectoryShelf(root / "shelf"), key, "cache", CacheEntry)


@pytest.fixture
def trusted(tmp_path: Path) -> transfer.Caches:
    return transfer.Caches(
        notes=notes(tmp_path), blobs=DirectoryBlobs(tmp_path / "blobs"), clock=FakeClock(), trusted=True,
    )  # fmt: skip


def keep(caches: transfer.Caches, folder: Path, text: str, spec: CacheSpec = SPEC) -> None:
    (folder / "deps").mkdir(parents=True, exist_ok=True)
    (folder / "deps" / "lib").write_text(text)
    transfer.save((spec,), folder, {}, "team/web", caches, succeeded=True, before=frozenset())


def found(caches: transfer.Caches, folder: Path, spec: CacheSpec = SPEC) -> str:
    folder.mkdir(exist_ok=True)
    transfer.restore((spec,), folder, {}, "team/web", caches)
    lib = folder / "deps" / "lib"
    return lib.read_text() if lib.exists() else ""


@pytest.mark.parametrize(
    "key", ["deps", "deps/protected", "deps-protected", "deps@protected", "deps/../deps/protected"]
)
def test_no_key_of_an_open_branch_reaches_a_protected_one(tmp_path: Path, trusted: transfer.Caches, key: str) -> None:
    anybody = replace(trusted, trusted=False)
    keep(anybody, tmp_path / "a", "poisoned", CacheSpec(key=key, paths=("deps",)))
    assert found(trusted, tmp_path / "b") == ""
    keep(trusted, tmp_path / "c", "clean")
    assert found(trusted, tmp_path / "d") == "clean"


def test_fallback_keys_do_not_leave_the_trust_either(tmp_path: Path, trusted: transfer.Caches) -> None:
    keep(replace(trusted, trusted=False), tmp_path / "a", "poisoned", CacheSpec(key="old", paths=("deps",)))
    assert found(trusted, tmp_path / "b", replace(SPEC, fallback_keys=("old",))) == ""


def test_unprotect_shares_where_the_declaration_asks_for_it(tmp_path: Path, trusted: transfer.Caches) -> None:
    keep(replace(trusted, trusted=False), tmp_path / "a", "shared")
    assert found(trusted, tmp_path / "b", replace(SPEC, unprotect=True)) == "shared"


def test_writers_at_once_leave_one_whole_cache(tmp_path: Path, trusted: transfer.Caches) -> None:
    texts = [str(number) * 10_000 for number in range(8)]
    writers = [
        threading.Thread(target=keep, args=(trusted, tmp_path / f"w{number}", text))
        for number, text in enumerate(texts)
    ]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert found(trusted, tmp_path / "r") in texts


# -- poisoning: who can write to the shelf but has not the server's key -----------------------------------------------


def notes_on(root: Path) -> list[Path]:
    return sorted(path for path in (root / "shelf").rglob("*") if path.is_file())


def _said(caches: transfer.Caches, folder: Path, project: str = "team/web") -> str:
    folder.mkdir()
    return "\n".join(transfer.restore((SPEC,), folder, {}, project, caches))


def test_a_note_copied_from_another_project_is_refused(tmp_path: Path, trusted: transfer.Caches) -> None:
    keep(trusted, tmp_path / "a", "mine")
    (mine,) = notes_on(tmp_path)
    (tmp_path / "b" / "deps").mkdir(parents=True)
    (tmp_path / "b" / "deps" / "lib").write_text("poisoned")
    transfer.save((SPEC,), tmp_path / "b", {}, "evil/web", trusted, succeeded=True, before=frozenset())
    (other,) = [path for path in notes_on(tmp_path) if path != mine]
    mine.write_bytes(other.read_bytes())
    said = _said(trusted, tmp_path / "r")
    assert "is refused: it is a note of another project" in said
    assert not (tmp_path / "r" / "deps").exists()


def test_a_note_copied_from_another_trust_is_refused(tmp_path: Path, trusted: transfer.Caches) -> None:
    keep(trusted, tmp_path / "a", "clean")
    (protected,) = notes_on(tmp_path)
    keep(replace(trusted, trusted=False), tmp_path / "b", "poisoned")
    (opened,) = [path for path in notes_on(tmp_path) if path != protected]
    protected.write_bytes(opened.read_bytes())
    assert "is refused: it is a note of another name or trust" in _said(trusted, tmp_path / "r")


@pytest.mark.parametrize(
    "forge",
    [
        lambda note, other: replace(note, value=note.value.replace(note.value[11:75], other)),
        lambda note, _: replace(note, seal="0" * 64),
        lambda note, _: replace(note, seal=""),
        lambda note, _: replace(note, seal="ü"),
    ],
)
def test_a_changed_note_is_refused(
    tmp_path: Path, trusted: transfer.Caches, forge: Callable[[Note, str], Note]
) -> None:
    keep(trusted, tmp_path / "a", "clean")
    (path,) = notes_on(tmp_path)
    path.write_bytes(codec.encode(forge(codec.decode(path.read_bytes(), Note), "f" * 64)))
    assert "is refused: its seal is not this server's" in _said(trusted, tmp_path / "r")


def test_a_note_by_another_key_and_what_is_no_note_are_refused(tmp_path: Path, trusted: transfer.Caches) -> None:
    keep(replace(trusted, notes=notes(tmp_path, b"another server's")), tmp_path / "a", "poisoned")
    assert "its seal is not this server's" in _said(trusted, tmp_path / "r1")
    notes_on(tmp_path)[0].write_bytes(b"\0\xff{")
    assert "it cannot be read" in _said(trusted, tmp_path / "r2")


def test_a_note_for_another_purpose_is_refused(tmp_path: Path, trusted: transfer.Caches) -> None:
    keep(trusted, tmp_path / "a", "clean")
    (path,) = notes_on(tmp_path)
    results = SealedNotes(DirectoryShelf(tmp_path / "shelf"), b"the server's", "result", CacheEntry)
    results.store("team/web", "deps/protected", CacheEntry(digest="sha512:x", size=1, at=FakeClock().now()))
    (other,) = [one for one in notes_on(tmp_path) if one != path]
    path.write_bytes(other.read_bytes())
    assert "it is a note of another name or trust" in _said(trusted, tmp_path / "r")
    assert {one.digest for one in results.values()} == {"sha512:x"}
    assert list(trusted.notes.values()) == []


def test_changed_bytes_are_not_used_and_leave_nothing(tmp_path: Path, trusted: transfer.Caches) -> None:
    (tmp_path / "a" / "deps").mkdir(parents=True)
    (tmp_path / "a" / "deps" / "zz").write_bytes(os.urandom(parcel.LARGE))
    keep(trusted, tmp_path / "a", "clean")
    store = tmp_path / "blobs"
    largest = max(
        (path for path in (store / "sha256").rglob("*") if path.is_file()), key=lambda one: one.stat().st_size
    )
    largest.write_bytes(os.urandom(largest.stat().st_size))
    said = _said(trusted, tmp_path / "r")
    assert "WARNING: the cache deps is not used" in said
    assert not (tmp_path / "r" / "deps" / "lib").exists()


# -- keys -------------------------------------------------------------------------------------------------------------

TRICKS = [
    "../../etc/passwd",
    "%2e%2e%2fx",
    "a\0b",
    "a/b",
    "a-b",
    ".",
    "..",
    "...",
    "x" * 5000,
    "x" * 5001,
    "a\nb",
    "ü/é",
    "~",
    "-rf",
]


@pytest.mark.parametrize("key", TRICKS)
def test_a_tricky_key_stays_on_the_shelf(tmp_path: Path, trusted: transfer.Caches, key: str) -> None:
    spec = CacheSpec(key=key, paths=("deps",))
    keep(trusted, tmp_path / "a", "kept", spec)
    assert found(trusted, tmp_path / "b", spec) == "kept"
    shown = cache.key(spec, tmp_path, {})
    assert len(shown) <= 200
    assert "/" not in shown
    assert shown.isprintable()
    assert [path.relative_to(tmp_path).parts[0] for path in notes_on(tmp_path)] == ["shelf"]


def test_no_two_keys_are_one(tmp_path: Path) -> None:
    shown = {cache.key(CacheSpec(key=key), tmp_path, {}) for key in TRICKS if key.strip(".")}
    assert len(shown) == len([key for key in TRICKS if key.strip(".")])


# -- writers that die -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["segment", "manifest", "note", "aside"])
def test_a_writer_that_is_killed_leaves_the_last_whole_cache(
    tmp_path: Path, trusted: transfer.Caches, point: str
) -> None:
    keep(trusted, tmp_path / "a", "whole")
    child = os.fork()
    if child == 0:
        _die_at(point)
        try:
            keep(trusted, tmp_path / "b", "torn")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert found(trusted, tmp_path / "r") == "whole"
    keep(trusted, tmp_path / "c", "next")
    assert found(trusted, tmp_path / "r2") == "next"
    assert trusted.notes.expire(2e10) == 1
    assert found(trusted, tmp_path / "r3") == ""


def _die_at(point: str) -> None:
    def die(*_: object, **__: object) -> None:
        os._exit(9)

    target, name = {
        "segment": (DirectoryBlobs, "_keep"), "manifest": (parcel, "keep"), "note": (DirectoryShelf, "put"),
        "aside": (Path, "replace"),
    }[point]  # fmt: skip
    if point == "aside":
        blobs_too = Path.replace
        Path.replace = lambda self, to: die() if "shelf" in str(to) else blobs_too(self, to)  # type: ignore[assignment,method-assign]
    else:
        setattr(target, name, die)


@pytest.mark.parametrize(
    ("ref", "protected"),
    [
        ("refs/heads/main", True), ("refs/heads/release-1", True), ("refs/heads/feature", False), ("refs/tags/v1.0.0", True),
        ("refs/tags/other", False), ("refs/merge-requests/1/head", False), ("refs/heads/tags/v1", False),
    ],
)  # fmt: skip
def test_which_refs_are_protected(ref: str, protected: bool) -> None:
    branches = (ProtectedBranch(pattern="main"), ProtectedBranch(pattern="release-*"))
    assert Options(branches=branches).is_protected(ref) is protected
