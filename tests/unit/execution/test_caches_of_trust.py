"""A protected branch's caches cannot be written by other branches, whatever keys they choose, nor by two writers at once."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.adapters.cache_index_directory import DirectoryCacheIndex
from aegis.core.plan import CacheSpec
from aegis.delivery.options import Options
from aegis.execution import transfer
from aegis.source.branches import ProtectedBranch
from support.clock import FakeClock

SPEC = CacheSpec(key="deps", paths=("deps",))


@pytest.fixture
def trusted(tmp_path: Path) -> transfer.Caches:
    return transfer.Caches(
        index=DirectoryCacheIndex(tmp_path / "index"), blobs=DirectoryBlobs(tmp_path / "blobs"), clock=FakeClock(),
        trusted=True,
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
