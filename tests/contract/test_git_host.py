"""What every `source.ports.GitHost` keeps."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aegis.adapters.githost_directory import DirectoryGitHost
from aegis.core.errors import NotFound, UserError
from aegis.source.ports import GitHost


class GitHostContract:
    """Inherit and give `host`: a new one without projects for each test."""

    @pytest.fixture
    def host(self, tmp_path: Path) -> GitHost:
        raise NotImplementedError

    def test_a_new_host_has_no_projects(self, host: GitHost) -> None:
        assert host.projects() == ()

    def test_a_created_project_is_listed_and_can_be_written(self, host: GitHost) -> None:
        assert host.create("shop/orders", default_branch="develop")
        host.create("shop/nested/deep")
        assert host.projects() == ("shop/nested/deep", "shop/orders")
        assert host.default_branch("shop/orders") == "develop"
        repository = host.repository("shop/orders")
        made = repository.commit("refs/heads/develop", {"a": b"1"}, message="x", author="A <a@b.test>", expect=None)
        assert host.repository("shop/orders").resolve("develop") == made

    def test_creating_again_changes_nothing(self, host: GitHost) -> None:
        host.create("shop/orders")
        made = host.repository("shop/orders").commit(
            "refs/heads/main", {"a": b"1"}, message="x", author="A <a@b.test>", expect=None
        )
        assert not host.create("shop/orders")
        assert host.repository("shop/orders").resolve("main") == made

    def test_of_many_creators_at_once_one_makes_it(self, host: GitHost) -> None:
        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(host.create, ["shop/orders"] * 4)) == [False, False, False, True]

    @pytest.mark.parametrize(
        "name", ["orders", "../x", "shop/../../etc", "Shop/x", "shop/x.git", "/shop/x", "shop/x.git/y", "shop/", ""]
    )
    def test_what_is_no_project_name_is_refused(self, host: GitHost, name: str) -> None:
        with pytest.raises(UserError):
            host.create(name)
        with pytest.raises(NotFound):
            host.repository(name)

    def test_an_unknown_project_is_not_found(self, host: GitHost) -> None:
        with pytest.raises(NotFound):
            host.repository("shop/none")


class TestDirectoryGitHost(GitHostContract):
    @pytest.fixture
    def host(self, tmp_path: Path) -> GitHost:
        return DirectoryGitHost(tmp_path / "git")

    def test_what_a_killed_process_left_is_swept_away_and_nothing_that_is_held(self, tmp_path: Path) -> None:
        host = DirectoryGitHost(tmp_path / "git")
        host.create("shop/orders")
        made = host.repository("shop/orders").commit(
            "refs/heads/main", {"a": b"1"}, message="x", author="A <a@b.test>", expect=None
        )
        repository = host.path("shop/orders")
        scratch = repository / "refs/aegis/scratch/0123"
        scratch.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(f"{made}\n")
        (tmp_path / "git" / ".making-x").mkdir()
        old, fresh = repository / "refs/heads/main.lock", repository / "packed-refs.lock"
        received = repository / "objects/tmp_objdir-incoming-x"
        received.mkdir()
        for one in (old, fresh):
            one.touch()
        assert host.sweep() == 0
        for one in (old, received):
            os.utime(one, (1, 1))
        assert DirectoryGitHost(tmp_path / "git").sweep() == 0
        assert [one.exists() for one in (scratch, tmp_path / "git/.making-x", old, received, fresh)] == [False] * 4 + [
            True
        ]
        assert host.repository("shop/orders").refs() == {"refs/heads/main": made}
