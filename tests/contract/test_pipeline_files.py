"""The contract of the pipeline's `Files` port, and what only work trees have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aegis.adapters import files_worktree
from aegis.adapters.files_worktree import CommitFiles, WorkTreeFiles
from aegis.core.errors import NotFound
from aegis.pipeline.ports import Files
from aegis.pipeline.request import MemoryFiles

CONTENT = {".gitlab-ci.yml": b"a: {script: [x]}\n", "ci/base.yml": b"\xff\x00", "docs/a b.md": b"", "ümlaut.txt": b"x"}


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.test", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def written(directory: Path) -> Path:
    for name, data in CONTENT.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


def repository(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    git(directory, "init", "--quiet", "--initial-branch=main")
    written(directory)
    git(directory, "add", ".")
    git(directory, "commit", "--quiet", "-m", "feat: begin\n\nBody")
    return directory


class FilesContract:
    """Inherit it and give a `files` fixture that holds `CONTENT`."""

    def test_files_are_read_as_bytes(self, files: Files) -> None:
        for name, data in CONTENT.items():
            assert files.read(name) == data

    def test_a_missing_file_is_none(self, files: Files) -> None:
        for name in ("nothing.yml", "ci", "ci/", "ci/base.yml/x", ""):
            assert files.read(name) is None

    def test_nothing_outside_is_read(self, files: Files) -> None:
        for name in ("../secret", "/etc/passwd", "ci/../../secret"):
            assert files.read(name) is None

    def test_paths_are_sorted_files(self, files: Files) -> None:
        assert files.paths() == tuple(sorted(CONTENT))

    def test_the_answer_stays_the_same(self, files: Files) -> None:
        assert files.read("ci/base.yml") == files.read("ci/base.yml")
        assert files.paths() == files.paths()


class TestMemoryFiles(FilesContract):
    @pytest.fixture
    def files(self) -> Files:
        return MemoryFiles(CONTENT)


class TestDirectoryWithoutGit(FilesContract):
    @pytest.fixture
    def files(self, tmp_path: Path) -> Files:
        (tmp_path / "secret").write_bytes(b"no")
        root = tmp_path / "tree"
        (root / ".venv" / "lib").mkdir(parents=True)
        (root / ".venv" / "lib" / "x.py").write_bytes(b"")
        return WorkTreeFiles(written(root))


class TestGitWorkTree(FilesContract):
    @pytest.fixture
    def files(self, tmp_path: Path) -> Files:
        (tmp_path / "secret").write_bytes(b"no")
        root = repository(tmp_path / "tree")
        (root / ".git" / "info" / "exclude").write_text("ignored\n")
        (root / "ignored").write_bytes(b"")
        return WorkTreeFiles(root, root / ".git")


class TestCommit(FilesContract):
    @pytest.fixture
    def files(self, tmp_path: Path) -> Files:
        (tmp_path / "secret").write_bytes(b"no")
        root = repository(tmp_path / "tree")
        commit = git(root, "rev-parse", "HEAD")
        (root / ".gitlab-ci.yml").write_bytes(b"changed\n")
        return CommitFiles(root / ".git", commit)


def test_a_link_that_leads_outside_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"no")
    root = tmp_path / "tree"
    root.mkdir()
    (root / "link.yml").symlink_to(tmp_path / "secret")
    assert WorkTreeFiles(root).read("link.yml") is None


def test_a_work_tree_is_found_from_inside(tmp_path: Path) -> None:
    root = repository(tmp_path / "tree")
    found = files_worktree.find(root / "ci")
    assert found is not None
    assert found.root == root
    assert files_worktree.find(tmp_path) is None


def test_a_linked_work_tree_is_found(tmp_path: Path) -> None:
    root = repository(tmp_path / "tree")
    git(root, "worktree", "add", "--quiet", "-b", "topic", str(tmp_path / "linked"))
    found = files_worktree.find(tmp_path / "linked")
    assert found is not None
    assert files_worktree.head(found).branch == "topic"


def test_the_head_tells_what_is_checked_out(tmp_path: Path) -> None:
    root = repository(tmp_path / "tree")
    tree = files_worktree.find(root)
    assert tree is not None
    head = files_worktree.head(tree)
    assert head.commit == git(root, "rev-parse", "HEAD")
    assert (head.branch, head.default_branch, head.before) == ("main", "main", None)
    assert head.message.startswith("feat: begin\n\nBody")
    assert head.author == "Ada <ada@example.test>"


def test_a_repository_without_a_commit_has_a_branch(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=trunk")
    tree = files_worktree.find(tmp_path)
    assert tree is not None
    head = files_worktree.head(tree)
    assert (head.commit, head.branch, head.default_branch) == ("", "trunk", "trunk")


def test_changes_are_commits_edits_and_new_files(tmp_path: Path) -> None:
    root = repository(tmp_path / "tree")
    base = git(root, "rev-parse", "HEAD")
    (root / "committed").write_bytes(b"")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "more")
    (root / "ci" / "base.yml").write_bytes(b"edited")
    (root / "new").write_bytes(b"")
    tree = files_worktree.find(root)
    assert tree is not None
    assert files_worktree.changed_since(tree, base) == ("ci/base.yml", "committed", "new")
    assert files_worktree.merge_base(tree, "HEAD", base) == base


def test_an_unknown_revision_is_not_found(tmp_path: Path) -> None:
    tree = files_worktree.find(repository(tmp_path / "tree"))
    assert tree is not None
    with pytest.raises(NotFound, match="no revision"):
        files_worktree.resolve(tree, "nowhere")
    with pytest.raises(NotFound):
        files_worktree.resolve(tree, "--help")
