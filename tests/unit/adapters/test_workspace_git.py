"""Work trees are as complete as a clone, and say what is missing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aegis.adapters.workspace_git import GitWorkspaces, packed_refs
from aegis.core.errors import NotFound
from aegis.execution.ports import WorkspaceRequest
from support.execution import repository


def _git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=directory, capture_output=True, text=True, check=True)
    return done.stdout


def _request(destination: Path, commit: str) -> WorkspaceRequest:
    destination.mkdir()
    return WorkspaceRequest(project="shop/orders", commit=commit, ref="refs/heads/main", destination=destination)


def test_a_work_tree_knows_its_history_tags_and_branches(tmp_path: Path) -> None:
    bare = tmp_path / "repo.git"
    commit = repository(bare, {"a/b.txt": "text\n", "run.sh": "x"})
    _git(bare, "branch", "feature/loose", commit)
    ready = GitWorkspaces(lambda _: bare).prepare(_request(tmp_path / "work", commit))
    work = tmp_path / "work"
    assert (work / "a/b.txt").read_text() == "text\n"
    assert _git(work, "status", "--short") == ""
    assert _git(work, "rev-parse", "HEAD").strip() == commit
    assert _git(work, "describe", "--tags").strip() == "v1.0.0"
    branches = _git(work, "branch", "-r", "--format=%(refname:short)").split()
    assert branches == ["origin/feature/loose", "origin/main"]
    assert ready.read_only == ((bare / "objects").resolve(),)


def test_refs_are_read_packed_and_loose_with_the_loose_one_counting(tmp_path: Path) -> None:
    bare = tmp_path / "repo.git"
    commit = repository(bare, {"f": "1"})
    _git(bare, "pack-refs", "--all")
    other = _git(
        bare, "-c", "user.name=a", "-c", "user.email=a@example.invalid", "commit-tree", "-m", "x", f"{commit}^{{tree}}"
    )
    _git(bare, "update-ref", "refs/heads/main", other.strip())
    lines = packed_refs(bare).decode().splitlines()
    assert f"{other.strip()} refs/remotes/origin/main" in lines
    assert f"{commit} refs/tags/v1.0.0" in lines


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    bare = tmp_path / "repo.git"
    repository(bare, {"f": "1"})
    with pytest.raises(NotFound, match="no commit"):
        GitWorkspaces(lambda _: bare).prepare(_request(tmp_path / "one", "f" * 40))
    with pytest.raises(NotFound, match="full commit id"):
        GitWorkspaces(lambda _: bare).prepare(_request(tmp_path / "two", "main"))
    with pytest.raises(NotFound, match="no repository"):
        GitWorkspaces(lambda _: tmp_path / "none").prepare(_request(tmp_path / "three", "f" * 40))
