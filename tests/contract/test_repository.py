"""What every `core.ports.Repository` keeps, whatever it is made of."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aegis.adapters.git_repository import GitRepository
from aegis.core.errors import Conflict, ExternalError, NotFound
from support.repositories import bare

MAIN = "refs/heads/main"
ADA = "Ada Example <ada@example.test>"


class RepositoryContract:
    """Inherit and give `repository`: a new, empty one for each test."""

    @pytest.fixture
    def repository(self, tmp_path: Path) -> GitRepository:
        raise NotImplementedError

    def test_a_first_commit_needs_the_ref_to_be_absent(self, repository: GitRepository) -> None:
        made = repository.commit(MAIN, {"a.txt": b"one"}, message="feat: a", author=ADA, expect=None)
        assert repository.resolve("main") == repository.resolve(MAIN) == repository.resolve(made[:10]) == made
        with pytest.raises(Conflict):
            repository.commit(MAIN, {"a.txt": b"two"}, message="feat: b", author=ADA, expect=None)

    def test_only_annotated_tags_have_a_message(self, repository: GitRepository) -> None:
        made = repository.commit(MAIN, {"a.txt": b"one"}, message="feat: a", author=ADA, expect=None)
        git = ["git", "-C", str(repository.path), "-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run([*git, "tag", "plain", made], check=True)
        subprocess.run([*git, "tag", "-a", "told", "-m", "First", "-m", "for all\nof us", made], check=True)
        assert repository.tag_message("told") == "First\n\nfor all\nof us"
        assert repository.tag_message("plain") == repository.tag_message("tol") == repository.tag_message("none") == ""

    def test_a_commit_changes_adds_and_deletes_and_keeps_the_rest(self, repository: GitRepository) -> None:
        one = repository.commit(MAIN, {"a": b"1", "d/b": b"2", "d/c": b"3"}, message="x", author=ADA, expect=None)
        two = repository.commit(
            MAIN, {"a": b"9", "d/b": None, "n/\xe9 \n\"q'": b""}, message="y", author=ADA, expect=one
        )
        assert [e.path for e in repository.entries(two)] == ["a", "d/c", "n/\xe9 \n\"q'"]
        assert repository.read(two, "a") == b"9"
        assert repository.read(two, "n/\xe9 \n\"q'") == b""
        assert repository.read(one, "d/b") == b"2"
        assert set(repository.changed(one, two)) == {"a", "d/b", "n/\xe9 \n\"q'"}
        assert repository.changed(None, one) == ("a", "d/b", "d/c")
        assert [e.path for e in repository.entries(two, "d")] == ["d/c"]
        assert repository.entries(two, "nowhere") == ()

    def test_binary_content_comes_back_byte_for_byte(self, repository: GitRepository) -> None:
        content = bytes(range(256)) * 5000
        made = repository.commit(MAIN, {"blob": content, "crlf": b"a\r\nb\r\n"}, message="x", author=ADA, expect=None)
        assert repository.read(made, "blob") == content
        assert repository.read(made, "crlf") == b"a\r\nb\r\n"

    def test_the_log_is_newest_first_and_whole(self, repository: GitRepository) -> None:
        tip = None
        for number in range(4):
            tip = repository.commit(
                MAIN, {"n": str(number).encode()}, message=f"feat: {number}\n\nBody ü", author=ADA, expect=tip
            )
        assert tip
        commits = repository.log("main")
        assert [c.message.splitlines()[0] for c in commits] == ["feat: 3", "feat: 2", "feat: 1", "feat: 0"]
        assert "Body ü" in commits[0].message
        assert (commits[0].author_name, commits[0].author_email) == ("Ada Example", "ada@example.test")
        assert commits[0].authored_at.tzinfo is not None
        assert commits[0].parents == (commits[1].commit,)
        assert len(repository.log("main", since=commits[2].commit)) == 2
        assert len(repository.log("main", limit=1)) == 1
        assert repository.log("main", since="main") == ()

    def test_what_is_missing_is_not_found(self, repository: GitRepository) -> None:
        made = repository.commit(MAIN, {"a": b"1"}, message="x", author=ADA, expect=None)
        for action in (
            lambda: repository.resolve("nowhere"),
            lambda: repository.resolve("--all"),
            lambda: repository.resolve(":/x"),
            lambda: repository.resolve(""),
            lambda: repository.read(made, "b"),
            lambda: repository.read(made, "../a"),
            lambda: repository.read("f" * 40, "a"),
            lambda: repository.entries("f" * 40),
            lambda: repository.log("refs/heads/none"),
            lambda: repository.changed("f" * 40, made),
            lambda: repository.set_ref("refs/heads/x", "f" * 40, expect=None),
        ):
            with pytest.raises(NotFound):
                action()

    def test_a_stale_writer_meets_conflict_and_changes_nothing(self, repository: GitRepository) -> None:
        one = repository.commit(MAIN, {"a": b"1"}, message="x", author=ADA, expect=None)
        two = repository.commit(MAIN, {"a": b"2"}, message="x", author=ADA, expect=one)
        with pytest.raises(Conflict):
            repository.commit(MAIN, {"a": b"3"}, message="x", author=ADA, expect=one)
        with pytest.raises(Conflict):
            repository.set_ref(MAIN, one, expect=one)
        assert repository.resolve(MAIN) == two
        assert repository.refs() == {MAIN: two}

    def test_refs_are_listed_by_prefix_with_their_commits(self, repository: GitRepository) -> None:
        made = repository.commit(MAIN, {"a": b"1"}, message="x", author=ADA, expect=None)
        repository.set_ref("refs/heads/feature/one", made, expect=None)
        repository.set_ref("refs/tags/v1.0.0", made, expect=None)
        assert set(repository.refs("refs/heads/")) == {MAIN, "refs/heads/feature/one"}
        assert repository.refs("refs/tags/") == {"refs/tags/v1.0.0": made}
        assert set(repository.refs("refs/heads/fea")) == {"refs/heads/feature/one"}

    def test_an_annotated_tag_is_written_and_leads_to_its_commit(self, repository: GitRepository) -> None:
        made = repository.commit(MAIN, {"a": b"1"}, message="x", author=ADA, expect=None)
        note = repository.tagged("v1.0.0", made, message="The first\n\nwith a body", author=ADA)
        assert note != made
        assert repository.refs("refs/tags/") == {}, "no ref moves"
        repository.set_ref("refs/tags/v1.0.0", note, expect=None)
        assert repository.resolve("refs/tags/v1.0.0") == made
        for name in ("a b", "x\ny"):
            with pytest.raises(ExternalError):
                repository.tagged(name, made, message="x", author=ADA)

    def test_hostile_ref_names_and_paths_are_refused(self, repository: GitRepository) -> None:
        made = repository.commit(MAIN, {"a": b"1"}, message="x", author=ADA, expect=None)
        for name in (
            "main",
            "refs/heads/../x",
            "refs/heads/a\nb",
            "refs/heads/-x y",
            "refs/heads/x.lock",
            "refs/aegis/x",
        ):
            with pytest.raises(ExternalError):
                repository.set_ref(name, made, expect=None)
        for path in ("../x", ".git/config", "/etc/passwd", "a//b", ".GIT/hooks/x"):
            with pytest.raises(ExternalError):
                repository.commit(MAIN, {path: b""}, message="x", author=ADA, expect=made)
        assert repository.resolve(MAIN) == made

    def test_a_merge_joins_both_sides_with_two_parents(self, repository: GitRepository) -> None:
        base = repository.commit(MAIN, {"a": b"1\n2\n3\n4\n5\n"}, message="x", author=ADA, expect=None)
        repository.set_ref("refs/heads/topic", base, expect=None)
        ours = repository.commit(MAIN, {"a": b"1\n2\n3\n4\n55\n", "m": b""}, message="x", author=ADA, expect=base)
        theirs = repository.commit(
            "refs/heads/topic", {"a": b"11\n2\n3\n4\n5\n", "t": b""}, message="y", author=ADA, expect=base
        )
        assert repository.merge_base(ours, theirs) == base
        made = repository.merged(theirs, ours, message="Merge topic", author=ADA)
        assert repository.resolve(MAIN) == ours, "no ref moves"
        repository.set_ref(MAIN, made, expect=ours)
        assert repository.read(made, "a") == b"11\n2\n3\n4\n55\n"
        assert [e.path for e in repository.entries(made)] == ["a", "m", "t"]
        assert repository.log(MAIN)[0].parents == (ours, theirs)
        with pytest.raises(Conflict):
            repository.merged(theirs, made, message="again", author=ADA)

    def test_a_merge_that_could_be_fast_forward_still_makes_a_commit(self, repository: GitRepository) -> None:
        base = repository.commit(MAIN, {"a": b"1"}, message="x", author=ADA, expect=None)
        repository.set_ref("refs/heads/topic", base, expect=None)
        theirs = repository.commit("refs/heads/topic", {"b": b"1"}, message="y", author=ADA, expect=base)
        made = repository.merged(theirs, base, message="m", author=ADA)
        assert repository.log(made)[0].parents == (base, theirs)

    def test_a_clash_names_the_paths_and_moves_nothing(self, repository: GitRepository) -> None:
        base = repository.commit(MAIN, {"a": b"1", "b": b"1"}, message="x", author=ADA, expect=None)
        repository.set_ref("refs/heads/topic", base, expect=None)
        ours = repository.commit(MAIN, {"a": b"2"}, message="x", author=ADA, expect=base)
        theirs = repository.commit("refs/heads/topic", {"a": b"3", "b": b"4"}, message="y", author=ADA, expect=base)
        with pytest.raises(Conflict) as caught:
            repository.merged(theirs, ours, message="m", author=ADA)
        assert "changed a" in caught.value.message
        assert "b" not in caught.value.message.removeprefix("both sides changed").split(", ")
        assert repository.resolve(MAIN) == ours

    def test_histories_without_a_common_ancestor_do_not_merge(self, repository: GitRepository) -> None:
        ours = repository.commit(MAIN, {"a": b"2"}, message="x", author=ADA, expect=None)
        theirs = repository.commit("refs/heads/other", {"b": b"3"}, message="y", author=ADA, expect=None)
        assert repository.merge_base(ours, theirs) is None
        with pytest.raises(Conflict):
            repository.merged(theirs, ours, message="m", author=ADA)

    def test_of_two_simultaneous_writers_exactly_one_wins(self, repository: GitRepository) -> None:
        base = repository.commit(MAIN, {"a": b"0"}, message="x", author=ADA, expect=None)

        def write(number: int) -> str | None:
            try:
                return repository.commit(MAIN, {"a": b"%d" % number}, message="x", author=ADA, expect=base)
            except Conflict:
                return None

        with ThreadPoolExecutor(4) as pool:
            made = [commit for commit in pool.map(write, range(1, 5)) if commit]
        assert len(made) == 1
        assert repository.resolve(MAIN) == made[0]


class TestBareRepository(RepositoryContract):
    @pytest.fixture
    def repository(self, tmp_path: Path) -> GitRepository:
        return GitRepository(bare(tmp_path / "r.git"))


class TestRepositoryWithAnOldGit(RepositoryContract):
    """`git` before 2.38 has no `merge-tree --write-tree`."""

    @pytest.fixture
    def repository(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitRepository:
        through: Callable[[GitRepository, str, str], str] = GitRepository._merged_tree_through_index
        monkeypatch.setattr(GitRepository, "_merged_tree", through)
        return GitRepository(bare(tmp_path / "r.git"))


class TestWorkTreeRepository(RepositoryContract):
    @pytest.fixture
    def repository(self, tmp_path: Path) -> GitRepository:
        subprocess.run(["git", "init", "--quiet", "--initial-branch=unused", str(tmp_path / "w")], check=True)
        return GitRepository(tmp_path / "w")


def test_an_executable_file_stays_executable(tmp_path: Path) -> None:
    repository = GitRepository(bare(tmp_path / "r.git"))
    one = repository.commit(MAIN, {"run": b"#!/bin/sh\n"}, message="x", author=ADA, expect=None)
    git = ["git", "-C", str(tmp_path / "r.git")]
    oid = repository.entries(one)[0].oid
    tree = subprocess.run([*git, "mktree"], input=f"100755 blob {oid}\trun\n".encode(), capture_output=True, check=True)
    two = subprocess.run(
        [*git, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-m", "x", tree.stdout.decode().strip()],
        capture_output=True, check=True,
    ).stdout.decode().strip()  # fmt: skip
    repository.set_ref(MAIN, two, expect=one)
    three = repository.commit(MAIN, {"run": b"#!/bin/sh\ntrue\n"}, message="x", author=ADA, expect=two)
    assert repository.entries(three)[0].mode == "100755"
    assert repository.read_many(three, ("run", "none")) == {"run": b"#!/bin/sh\ntrue\n"}


def test_a_missing_repository_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        GitRepository(tmp_path / "none.git").refs()
