"""A place is used again only where nothing of the last job is left in it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aegis.execution.ports import Place
from aegis.execution.supervise.places import make
from aegis.execution.supervise.pool import Places

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="places are used again on Linux only")


def place(root: Path) -> Place:
    inside = {
        "inner_work": "/builds/a/b",
        "inner_tmp": "/tmp",
        "inner_home": "/home/job",
        "inner_files": "/builds/a/b.tmp",
    }
    made = Place(root=root, work=root / "work", tmp=root / "tmp", home=root / "home", files=root / "files", **inside)
    make(made, {})
    (made.home / ".cache").mkdir()
    (made.files / ".step-1").write_text("echo secret")
    (made.files / ".step-2").write_text("echo after")
    return made


def test_a_clean_place_is_for_the_next_job_of_the_project(tmp_path: Path) -> None:
    places = Places(tmp_path, None, keep=1)
    one = place(places.take("a/b"))
    assert places.clean(one, ())
    assert [(file.name, file.read_bytes()) for file in one.files.iterdir()] == [(".step-1", b"")]
    assert places.give_back("a/b", one.root) is None
    assert places.take("a/c") != one.root
    assert places.take("a/b") == one.root
    assert places.take("a/b") != one.root


def test_no_more_wait_than_are_kept(tmp_path: Path) -> None:
    places = Places(tmp_path, None, keep=1)
    first, second = places.take("a/b"), places.take("a/b")
    assert places.give_back("a/b", first) is None
    assert places.give_back("a/b", second) == first
    assert places.close() == [second]


LEFT: dict[str, Callable[[Place], object]] = {
    "a file in tmp": lambda one: (one.tmp / "file").touch(),
    "a directory in tmp": lambda one: (one.tmp / "folder").mkdir(),
    "a file in home": lambda one: (one.home / ".bashrc").touch(),
    "something below the cache": lambda one: (one.home / ".cache" / "pip").mkdir(),
    "a file beside the scripts": lambda one: (one.files / "TOKEN").touch(),
    "a link as a script": lambda one: (one.files / ".step-3").symlink_to("/etc/passwd"),
    "another mode": lambda one: one.tmp.chmod(0o777),
    "something at the root": lambda one: (one.root / "upper").mkdir(),
    "a directory that is gone": lambda one: one.tmp.rmdir(),
}


@pytest.mark.parametrize("what", LEFT)
def test_a_place_with_something_left_in_it_is_not(tmp_path: Path, what: str) -> None:
    one = place(tmp_path / "1")
    LEFT[what](one)
    assert not Places(tmp_path, None, keep=1).clean(one, ())


def test_the_way_to_what_was_shown_counts_only_where_no_job_can_have_made_it(tmp_path: Path) -> None:
    one = place(tmp_path / "1")
    shown = Path("/tmp/tree/objects")
    (one.tmp / "tree" / "objects").mkdir(parents=True)
    # The jobs work as this very user here, so it may as well be theirs.
    assert not Places(tmp_path, None, keep=1).clean(one, (shown,))
