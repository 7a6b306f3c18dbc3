"""Jobs of a commit share one checkout on a server; none sees another's changes, and refs are never stale."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters import workspace_overlay
from aegis.adapters.workspace_git import GitWorkspaces
from aegis.adapters.workspace_shared import SharedWorkspaces
from aegis.core.errors import NotFound
from aegis.execution.ports import WorkspaceReady, WorkspaceRequest
from support.execution import repository

OWNER = (os.geteuid(), os.getegid())


class _Counted(GitWorkspaces):
    """Counts checkouts."""

    made = 0

    def prepare(self, request: WorkspaceRequest) -> WorkspaceReady:
        self.made += 1
        return super().prepare(request)


class _World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.bare = root / "repo.git"
        self.commit = repository(self.bare, {"file": "as it was", "folder/inner": "inner"})
        self.trees = _Counted(lambda _: self.bare)
        self.shared = SharedWorkspaces(self.trees, root / "snapshots", OWNER, keep=1)

    def git(self, directory: Path, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=directory, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def tree(self, name: str, commit: str = "", ref: str = "refs/heads/main") -> Path:
        work = self.root / name / "work"
        work.mkdir(parents=True)
        request = WorkspaceRequest(project="a/b", commit=commit or self.commit, ref=ref, destination=work)
        assert ref.rpartition("/")[2] in self.shared.prepare(request).note
        return work

    def more(self) -> str:
        """Another commit."""
        who = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
        made = self.git(self.bare, *who, "commit-tree", "-m", "x", "-p", self.commit, f"{self.commit}^{{tree}}")
        self.commit = made
        return made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[_World]:
    made = _World(tmp_path)
    yield made
    for one in tmp_path.glob("job*/work"):
        made.shared.release(one)


@pytest.mark.parametrize("shared", [True, False])
def test_changes_of_one_job_reach_no_other(world: _World, monkeypatch: pytest.MonkeyPatch, *, shared: bool) -> None:
    if not shared:
        monkeypatch.setattr(workspace_overlay, "mount", lambda *_: False)
    first = world.tree("job1")
    (first / "file").write_text("changed")
    (first / "folder").rename(first / "moved")
    world.git(first, "update-ref", "refs/heads/mine", "HEAD")
    second = world.tree("job2", ref="refs/heads/other")
    assert (second / "file").read_text() == "as it was"
    assert (second / "folder" / "inner").read_text() == "inner"
    assert world.git(second, "status", "--short") == ""
    assert world.git(second, "describe", "--tags") == "v1.0.0"
    assert "mine" not in world.git(second, "branch", "-a")


def test_refs_are_those_of_the_moment(world: _World) -> None:
    world.tree("job1")
    world.git(world.bare, "branch", "later", world.commit)
    second = world.tree("job2")
    assert world.git(second, "branch", "-r", "--format=%(refname:short)").split() == ["origin/later", "origin/main"]


def test_snapshots_in_use_stay_and_few_unused_ones_are_kept(world: _World) -> None:
    first = world.tree("job1")
    for number in range(2, 5):
        world.shared.release(world.tree(f"job{number}", world.more()))
    assert (first / "file").read_text() == "as it was"
    left = {one.name for one in (world.root / "snapshots").iterdir()} if (world.root / "snapshots").exists() else set()
    assert len(left) <= 2, "the one in use, and one that may be wanted again"
    world.shared.release(first)
    world.shared.release(first)
    assert not os.path.ismount(first)


def test_many_at_once_make_one_checkout_where_trees_can_be_shared(world: _World) -> None:
    probe = world.tree("job0")
    before = world.trees.made
    threads = [threading.Thread(target=world.tree, args=(f"job{number}",)) for number in range(1, 9)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert world.trees.made == (before if os.path.ismount(probe) else before + 8)
    assert all((world.root / f"job{number}" / "work" / "file").exists() for number in range(9))


def test_a_commit_that_is_not_there_is_said_each_time(world: _World) -> None:
    for number in range(2):
        with pytest.raises(NotFound):
            world.tree(f"job{number}", "f" * 40)
    assert (world.tree("job3") / "file").exists()
