"""The files of a work tree and the lines that commits added, from a real Git repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from aegis.adapters.sources_git import DirectorySources, GitSources, open_sources
from aegis.core.errors import ExternalError, NotFound


def git(path: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
    }  # fmt: skip
    done = subprocess.run(["git", *arguments], cwd=path, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.strip()


def commit(path: Path, message: str, **files: str | None) -> str:
    for name, text in files.items():
        target = path / name.replace("__", "/").replace("_dot_", ".")
        if text is None:
            target.unlink()
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", message)
    return git(path, "rev-parse", "HEAD")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, "one", a_dot_py="first\nsecond\n", src__b_dot_py="b\n", _dot_gitignore="ignored\n")
    return tmp_path


def test_tracked_and_new_files_are_given_and_ignored_ones_are_not(work: Path) -> None:
    (work / "ignored").write_text("x")
    (work / "new file.txt").write_text("new")
    (work / "link").symlink_to("/etc/passwd")
    (work / "src" / "b.py").unlink()
    assert dict(GitSources(work).files()) == {
        ".gitignore": b"ignored\n", "a.py": b"first\nsecond\n", "new file.txt": b"new",
    }  # fmt: skip


def test_added_lines_keep_commit_path_and_number(work: Path) -> None:
    base = git(work, "rev-parse", "HEAD")
    two = commit(work, "two", a_dot_py="first\nnew\nsecond\n++ odd\n-- odder\n")
    three = commit(work, "three", a_dot_py="first\nsecond\n")
    added = list(GitSources(work).added(base))
    assert [(one.commit, one.path, one.lines) for one in added] == [
        (two, "a.py", ((2, "new"), (4, "++ odd"), (5, "-- odder"))),
    ]
    assert three != two
    assert [one.path for one in GitSources(work).added(None)] == [".gitignore", "a.py", "src/b.py", "a.py"]


def test_odd_names_are_read_back(work: Path) -> None:
    base = git(work, "rev-parse", "HEAD")
    for name in ('quo"te.py', "tab\tname.py", "한글 이름.py", "back\\slash.py"):
        (work / name).write_text("x\n")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "odd")
    assert {one.path for one in GitSources(work).added(base)} == {
        'quo"te.py', "tab\tname.py", "한글 이름.py", "back\\slash.py",
    }  # fmt: skip


def test_what_a_merge_brings_or_adds_itself_is_seen(work: Path) -> None:
    base = git(work, "rev-parse", "HEAD")
    git(work, "checkout", "-q", "-b", "side")
    commit(work, "side", side_dot_py="side\n")
    git(work, "checkout", "-q", "main")
    commit(work, "main", main_dot_py="main\n")
    git(work, "merge", "-q", "--no-ff", "--no-commit", "side")
    commit(work, "merge with more", evil_dot_py="only in the merge\n")
    paths = [one.path for one in GitSources(work).added(base)]
    assert {"side.py", "main.py", "evil.py"} <= set(paths)


def test_a_folder_of_the_tree_is_searched_alone(work: Path) -> None:
    sources = open_sources(work / "src")
    assert dict(sources.files()) == {"b.py": b"b\n"}
    assert [one.path for one in sources.added(None)] == ["b.py"]


def test_a_shallow_clone_is_refused_with_the_mend(work: Path, tmp_path: Path) -> None:
    commit(work, "two", a_dot_py="x\n")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{work}", str(tmp_path / "shallow"))
    with pytest.raises(ExternalError) as caught:
        list(GitSources(tmp_path / "shallow").added(None))
    assert "GIT_DEPTH" in caught.value.hint


def test_unknown_revisions_and_options_in_disguise_are_not_found(work: Path) -> None:
    for revision in ("nothing", "--output=/tmp/x", "HEAD..HEAD"):
        with pytest.raises(NotFound):
            list(GitSources(work).added(revision))


def test_versions_and_merge_bases_are_found(work: Path) -> None:
    base = git(work, "rev-parse", "HEAD")
    assert GitSources(work).last_version() is None
    git(work, "tag", "1.2.0")
    commit(work, "two", a_dot_py="x\n")
    git(work, "tag", "1.3.0")
    assert GitSources(work).last_version() == "1.2.0"
    git(work, "checkout", "-q", "-b", "side", base)
    commit(work, "side", b_dot_py="y\n")
    assert GitSources(work).merge_base("refs/heads/main") == base
    assert GitSources(work).merge_base("refs/heads/absent") is None


def test_a_plain_directory_has_files_and_no_history(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "x").write_text("no")
    (tmp_path / "a").write_text("a")
    sources = DirectorySources(tmp_path)
    assert dict(sources.files()) == {"a": b"a"}
    with pytest.raises(ExternalError):
        sources.added("main")
    with pytest.raises(NotFound):
        open_sources(tmp_path / "absent")
