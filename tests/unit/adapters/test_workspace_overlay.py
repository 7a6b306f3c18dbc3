"""Jobs of a local run share one snapshot, and none sees what another does to it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters import workspace_overlay
from aegis.adapters.workspace_copy import CopyWorkspaces
from aegis.execution.ports import WorkspaceRequest

OWNER = (os.geteuid(), os.getegid())


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[CopyWorkspaces]:
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    (source / "folder" / "inner").write_text("inner")
    (source / "file").write_text("as it was")
    made = CopyWorkspaces(source, tmp_path / "snapshot", OWNER)
    yield made
    for one in tmp_path.glob("job*/work"):
        made.release(one)
    made.close()


def tree(trees: CopyWorkspaces, tmp_path: Path, name: str) -> Path:
    work = tmp_path / name / "work"
    work.mkdir(parents=True)
    trees.prepare(WorkspaceRequest(project="a/b", commit="0" * 40, ref="main", destination=work))
    return work


@pytest.mark.parametrize("shared", [True, False])
def test_changes_of_one_job_reach_no_other(
    trees: CopyWorkspaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, shared: bool
) -> None:
    if not shared:
        monkeypatch.setattr(workspace_overlay, "mount", lambda *_: False)
    first = tree(trees, tmp_path, "job1")
    (first / "file").write_text("changed")
    (first / "folder").rename(first / "moved")
    (first / "new").write_text("new")
    second = tree(trees, tmp_path, "job2")
    assert (second / "file").read_text() == "as it was"
    assert (second / "folder" / "inner").read_text() == "inner"
    assert not (second / "new").exists()
    assert (first / "moved" / "inner").read_text() == "inner"


def test_a_released_tree_can_be_removed_and_the_snapshot_stays(trees: CopyWorkspaces, tmp_path: Path) -> None:
    first = tree(trees, tmp_path, "job1")
    trees.release(first)
    trees.release(first)
    assert not os.path.ismount(first)
    subprocess.run(["rm", "-rf", str(first.parent)], check=True)
    assert (tree(trees, tmp_path, "job2") / "file").read_text() == "as it was"


def test_a_path_that_a_mount_cannot_name_is_copied(tmp_path: Path) -> None:
    odd = tmp_path / "a:b,c"
    odd.mkdir()
    assert not workspace_overlay.mount(odd, tmp_path / "target", None)
