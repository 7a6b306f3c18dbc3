"""The copy of a working tree that stays from run to run: only what has changed is copied, and no doubt is believed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aegis.adapters import workspace_kept
from aegis.adapters.workspace_kept import KeptTree

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the copy is kept on Linux only")


class Tree:
    """A tree of three files and its copy."""

    def __init__(self, root: Path) -> None:
        self.root = root / "tree"
        self.folder = root / "kept"
        self.names = ["a", "folder/b", "folder/c"]
        for name in self.names:
            self.put(name, f"{name} at first")

    def put(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def update(self) -> Path:
        kept = KeptTree(self.folder, None)
        assert kept.take()
        try:
            kept.update(self.root, self.names)
        finally:
            kept.close()
        return kept.path

    def held(self) -> dict[str, str]:
        path = self.folder / "files"
        return {str(one.relative_to(path)): one.read_text() for one in path.rglob("*") if one.is_file()}

    def inodes(self) -> dict[str, int]:
        path = self.folder / "files"
        return {str(one.relative_to(path)): one.stat().st_ctime_ns for one in path.rglob("*") if one.is_file()}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    # The files of the test are younger than what is believed.
    monkeypatch.setattr(workspace_kept, "_RACY_NS", 0)
    return Tree(tmp_path)


def test_only_what_has_changed_is_copied_again(tree: Tree) -> None:
    tree.update()
    before = tree.inodes()
    tree.put("folder/b", "changed")
    tree.update()
    after = tree.inodes()
    assert tree.held() == {"a": "a at first", "folder/b": "changed", "folder/c": "folder/c at first"}
    assert [name for name in after if after[name] != before[name]] == ["folder/b"]


def test_what_is_gone_is_gone_and_names_may_change_their_kind(tree: Tree) -> None:
    tree.update()
    (tree.root / "a").unlink()
    (tree.root / "folder/b").unlink()
    (tree.root / "folder/c").unlink()
    (tree.root / "folder").rmdir()
    tree.put("folder", "a file now")
    tree.put("a/inner", "a directory now")
    tree.names = ["a/inner", "folder", "missing"]
    tree.update()
    assert tree.held() == {"a/inner": "a directory now", "folder": "a file now"}


@pytest.mark.parametrize("name", ["a", "folder/b", "folder/planted", "planted"])
def test_a_copy_that_somebody_touched_is_made_anew(tree: Tree, name: str) -> None:
    path = tree.update()
    (path / name).write_text("not by us")
    tree.update()
    assert tree.held() == {"a": "a at first", "folder/b": "folder/b at first", "folder/c": "folder/c at first"}


def test_what_changed_just_before_it_was_copied_is_not_believed(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.update()
    before = tree.inodes()
    tree.update()
    assert all(time != before[name] for name, time in tree.inodes().items())


def test_a_copy_that_was_left_half_done_is_not_believed(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.update()
    tree.put("a", "changed")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(workspace_kept, "copy_file", killed)
        with pytest.raises(KeyboardInterrupt):
            tree.update()
    tree.update()
    assert tree.held()["a"] == "changed"


def test_one_run_at_a_time_has_it(tree: Tree) -> None:
    first, second = KeptTree(tree.folder, None), KeptTree(tree.folder, None)
    assert first.take()
    assert not second.take()
    first.close()
    assert second.take()
    second.close()


def test_links_and_permissions_are_kept(tree: Tree) -> None:
    (tree.root / "link").symlink_to("folder/b")
    (tree.root / "a").chmod(0o755)
    tree.names.append("link")
    path = tree.update()
    assert (path / "link").readlink() == Path("folder/b")
    assert (path / "a").stat().st_mode & 0o777 == 0o755
    assert (path / "a").stat().st_mtime_ns == (tree.root / "a").stat().st_mtime_ns
