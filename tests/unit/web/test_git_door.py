"""Real Git clients against the door over loopback HTTP."""

from __future__ import annotations

import gzip
import http.client
import os
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.core.errors import ExternalError
from aegis.source.branches import ProtectedBranch, ProtectedTag
from support.git_server import GitServer, commit, git, serving, work_tree


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with serving(tmp_path_factory.mktemp("host") / "git") as server:
        yield server


@pytest.fixture
def server(running: GitServer) -> GitServer:
    running.pushes.clear()
    running.refused.clear()
    running.readers.clear()
    running.protections = ()
    running.reply = ()
    running.failure = running.hindrance = None
    running.begun.clear()
    return running


@pytest.fixture
def project(server: GitServer, tmp_path: Path) -> str:
    name = f"shop/{tmp_path.name.lower().replace('_', '-')}"
    server.host.create(name)
    return name


def request(
    server: GitServer, method: str, path: str, *, token: str | None, body: bytes = b"", **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        sent["Authorization"] = "Basic " + b64encode(f"git:{token}".encode()).decode()
    connection.request(method, path, body=body or None, headers=sent)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data, answer.headers


def test_a_push_is_stored_told_once_and_can_be_cloned(server: GitServer, project: str, tmp_path: Path) -> None:
    url = server.url(project, server.token("ada"))
    tree = work_tree(tmp_path / "w", url)
    git("push", "origin", "main", at=tree)
    head = git("rev-parse", "HEAD", at=tree).stdout.strip()
    (push,) = server.pushes
    assert (push.project, push.identity) == (project, "ada")
    assert [(one.ref, one.old, one.new) for one in push.updates] == [("refs/heads/main", None, head)]
    git("clone", "--quiet", url, "c", at=tmp_path)
    assert (tmp_path / "c" / "a.txt").read_text() == "1\n"
    assert server.host.repository(project).resolve("main") == head


def test_what_the_door_answers_to_a_push_is_shown_to_the_pusher(
    server: GitServer, project: str, tmp_path: Path
) -> None:
    server.reply = ("merge request !1: see the portal",)
    tree = work_tree(tmp_path / "w", server.url(project, server.token("ada")))
    done = git("push", "-o", "merge_request.create", "-o", "merge_request.target=main", "origin", "main", at=tree)
    assert "remote: merge request !1: see the portal" in done.stderr
    assert server.pushes[0].options == ("merge_request.create", "merge_request.target=main")


def test_a_push_of_many_refs_tells_each_that_moved(server: GitServer, project: str, tmp_path: Path) -> None:
    tree = work_tree(tmp_path / "w", server.url(project, server.token("ada")))
    git("tag", "-a", "v1.0.0", "-m", "one", at=tree)
    git("branch", "feature/ü", at=tree)
    git("push", "origin", "main", "feature/ü", "v1.0.0", at=tree)
    assert {one.ref for one in server.pushes[0].updates} == {
        "refs/heads/main", "refs/heads/feature/ü", "refs/tags/v1.0.0",
    }  # fmt: skip
    git("push", "origin", ":feature/ü", at=tree)
    assert [(one.ref, one.new) for one in server.pushes[1].updates] == [("refs/heads/feature/ü", None)]
    git("push", "origin", "main", at=tree)
    assert len(server.pushes) == 2


@pytest.mark.parametrize("token", [None, "wrong", ""])
def test_a_missing_or_wrong_token_is_401_everywhere(server: GitServer, project: str, token: str | None) -> None:
    for name in (project, "shop/does-not-exist"):
        for path in (f"/git/{name}.git/info/refs?service=git-upload-pack", f"/git/{name}.git/git-receive-pack"):
            method = "GET" if "info" in path else "POST"
            status, _body, headers = request(server, method, path, token=token)
            assert status == 401
            assert headers["WWW-Authenticate"].startswith("Basic realm=")


def test_a_git_client_with_a_wrong_token_is_told_so(server: GitServer, project: str, tmp_path: Path) -> None:
    done = git("clone", server.url(project, "wrong"), "c", at=tmp_path, check=False)
    assert done.returncode
    assert "Authentication failed" in done.stderr


def test_paths_that_are_no_repository_are_not_found(server: GitServer, project: str) -> None:
    token = server.token("ada")
    for path in (
        "/git/shop/none.git/info/refs?service=git-upload-pack",
        f"/git/{project}.git/config",
        f"/git/{project}.git/objects/info/packs",
        f"/git/{project}.git/../../etc/passwd",
        "/git/%2e%2e/%2e%2e/etc.git/info/refs?service=git-upload-pack",
        f"/git/{project}.git/hooks.git/info/refs?service=git-upload-pack",
    ):
        assert request(server, "GET", path, token=token)[0] == 404, path
    for query in ("", "?service=git-evil", "?service=git-upload-pack&service=git-receive-pack"):
        assert request(server, "GET", f"/git/{project}.git/info/refs{query}", token=token)[0] == 400


def test_a_reader_may_clone_and_not_push(server: GitServer, project: str, tmp_path: Path) -> None:
    tree = work_tree(tmp_path / "w", server.url(project, server.token("ada")))
    git("push", "origin", "main", at=tree)
    url = server.url(project, server.token("eve"))
    server.readers.add("eve")
    git("clone", "--quiet", url, "c", at=tmp_path)
    done = git("push", url, "main:other", at=tree, check=False)
    assert done.returncode
    assert "eve may read" in done.stderr
    assert set(server.host.repository(project).refs()) == {"refs/heads/main"}


def test_a_protected_branch_refuses_a_push_with_the_way_out(server: GitServer, project: str, tmp_path: Path) -> None:
    tree = work_tree(tmp_path / "w", server.url(project, server.token("ada", "developers")))
    git("push", "origin", "main", at=tree)
    before = server.host.repository(project).resolve("main")
    server.protections = (ProtectedBranch(pattern="main", merge=("developers",)),)
    commit(tree, {"a.txt": "2\n"}, "fix: two")
    done = git("push", "origin", "main", "main:topic", at=tree, check=False)
    assert done.returncode
    assert "! [remote rejected] main -> main (main is protected" in done.stderr
    assert "remote: main is protected: ada may not push to it, open a merge request" in done.stderr
    assert "merge_request.create" in done.stderr
    assert "another ref of this push was refused" in done.stderr
    assert server.host.repository(project).refs() == {"refs/heads/main": before}
    assert len(server.pushes) == 1
    assert server.refused == ["main is protected: ada may not push to it, open a merge request"]
    git("push", "origin", "main:topic", at=tree)


def test_a_large_refused_push_is_told_as_well(server: GitServer, project: str, tmp_path: Path) -> None:
    tree = work_tree(tmp_path / "w", server.url(project, server.token("ada")))
    server.protections = (ProtectedBranch(pattern="main"),)
    (tree / "big").write_bytes(os.urandom(3_000_000))
    commit(tree, {}, "feat: big")
    done = git("push", "origin", "main", at=tree, check=False)
    assert "main is protected" in done.stderr
    assert server.host.repository(project).refs() == {}


def test_who_may_push_to_a_protected_branch_still_cannot_rewrite_it(
    server: GitServer, project: str, tmp_path: Path
) -> None:
    tree = work_tree(tmp_path / "w", server.url(project, server.token("rita", "maintainers")))
    server.protections = (ProtectedBranch(pattern="main", push=("maintainers",)),)
    git("push", "origin", "main", "main:topic", at=tree)
    commit(tree, {"a.txt": "2\n"}, "fix: two")
    git("push", "origin", "main", "main:topic", at=tree)
    before = server.host.repository(project).resolve("main")
    git("reset", "--quiet", "--hard", "HEAD~1", at=tree)
    commit(tree, {"a.txt": "3\n"}, "fix: three")
    done = git("push", "--force", "origin", "main", at=tree, check=False)
    assert done.returncode
    assert "its history is not rewritten" in done.stderr
    assert server.host.repository(project).resolve("main") == before
    done = git("push", "--force", "origin", "main", "main:topic", at=tree, check=False)
    assert [one.ref for one in server.pushes[-1].updates] == ["refs/heads/topic"]
    assert "main -> main" in done.stderr


def test_release_tags_are_not_moved_or_made_by_hand(server: GitServer, project: str, tmp_path: Path) -> None:
    tree = work_tree(tmp_path / "w", server.url(project, server.token("ada")))
    server.protections = (ProtectedTag(pattern="v*"),)
    done = git("push", "origin", "main:refs/tags/v1.0.0", at=tree, check=False)
    assert "Aegis sets it when it cuts a release" in done.stderr
    git("push", "origin", "main:refs/tags/mine", at=tree)


@pytest.mark.parametrize(
    "ref", ["refs/aegis/x", "refs/merge-requests/1/head", "refs/heads/-evil", "refs/heads/" + "a" * 40]
)
def test_reserved_and_hostile_ref_names_are_refused(server: GitServer, project: str, tmp_path: Path, ref: str) -> None:
    tree = work_tree(tmp_path / "w", server.url(project, server.token("ada")))
    done = git("push", "origin", f"main:{ref}", at=tree, check=False)
    assert done.returncode
    assert server.host.repository(project).refs() == {}
    assert server.pushes == []


@pytest.mark.parametrize("branch", ["$(touch${IFS}pwned)", "a'b\"c", "`id`", "ü\u2028x", "a;b|c&d", "%s%n", "<script>"])
def test_hostile_branch_names_are_only_names(server: GitServer, project: str, tmp_path: Path, branch: str) -> None:
    server.protections = (ProtectedBranch(pattern="*", push=("*",)),)
    tree = work_tree(tmp_path / "w", server.url(project, server.token("ada")))
    git("push", "origin", f"HEAD:refs/heads/{branch}", at=tree)
    commit(tree, {"a.txt": "2\n"}, "fix: two")
    git("push", "origin", f"HEAD:refs/heads/{branch}", at=tree)
    assert [one.branch for push in server.pushes for one in push.updates] == [branch, branch]
    repository = server.host.repository(project)
    assert repository.resolve(f"refs/heads/{branch}") == git("rev-parse", "HEAD", at=tree).stdout.strip()
    assert not any((*tmp_path.rglob("pwned"), *server.host.root.rglob("pwned")))


def test_a_large_pack_goes_both_ways_unchanged(server: GitServer, project: str, tmp_path: Path) -> None:
    url = server.url(project, server.token("ada"))
    tree = work_tree(tmp_path / "w", url)
    content = os.urandom(8_000_000)
    (tree / "big").write_bytes(content)
    commit(tree, {}, "feat: big")
    git("push", "origin", "main", at=tree)
    git("clone", "--quiet", url, "c", at=tmp_path)
    assert (tmp_path / "c" / "big").read_bytes() == content


def test_a_gzipped_push_is_judged_like_any_other(server: GitServer, project: str, tmp_path: Path) -> None:
    token = server.token("ada")
    tree = work_tree(tmp_path / "w", server.url(project, token))
    head = git("rev-parse", "HEAD", at=tree).stdout.strip()
    server.protections = (ProtectedBranch(pattern="main"),)
    line = f"{'0' * 40} {head} refs/heads/main\0report-status".encode()
    body = gzip.compress(b"%04x%s0000" % (len(line) + 4, line))
    path = f"/git/{project}.git/git-receive-pack"
    sent = {"Content_Type": "application/x-git-receive-pack-request"}
    status, answer, _headers = request(server, "POST", path, token=token, body=body, Content_Encoding="gzip", **sent)
    assert status == 200
    assert b"ng refs/heads/main main is protected" in answer
    status, answer, _headers = request(server, "POST", path, token=token, body=body, Content_Encoding="br", **sent)
    assert status == 400
    for broken in (b"hello", b"00", b"0004", b"0001", b"fff0abc"):
        status, answer, _headers = request(server, "POST", path, token=token, body=broken, **sent)
        assert status == 400, broken
    assert server.host.repository(project).refs() == {}


def test_a_client_that_goes_away_in_the_middle_of_a_push_moves_nothing(
    server: GitServer, project: str, tmp_path: Path
) -> None:
    token = server.token("ada")
    tree = work_tree(tmp_path / "w", server.url(project, token))
    head = git("rev-parse", "HEAD", at=tree).stdout.strip()
    line = f"{'0' * 40} {head} refs/heads/main\0report-status side-band-64k".encode()
    login = b64encode(f"git:{token}".encode()).decode()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            f"POST /git/{project}.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\n"
            "Content-Type: application/x-git-receive-pack-request\r\nContent-Length: 100000\r\n\r\n".encode()
            + b"%04x%s0000PACK" % (len(line) + 4, line)
        )
    git("push", "origin", "main:other", at=tree)
    deadline = time.monotonic() + 10
    while any(server.host.root.rglob("tmp_objdir*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert set(server.host.repository(project).refs()) == {"refs/heads/other"}
    assert len(server.pushes) == 1


def test_a_failure_of_what_follows_is_shown_and_the_push_stays(server: GitServer, project: str, tmp_path: Path) -> None:
    server.failure = ExternalError("ledger-full", "the ledger has no room", hint="free some disk")
    tree = work_tree(tmp_path / "w", server.url(project, server.token("ada")))
    done = git("push", "origin", "main", at=tree)
    assert "remote: stored, but what follows from it failed: the ledger has no room" in done.stderr
    assert "refs/heads/main" in server.host.repository(project).refs()


def test_a_push_is_announced_before_it_moves_anything_and_a_fetch_never(
    server: GitServer, project: str, tmp_path: Path
) -> None:
    url = server.url(project, server.token("ada"))
    tree = work_tree(tmp_path / "w", url)
    git("push", "origin", "main", at=tree)
    git("clone", "--quiet", url, "c", at=tmp_path)
    assert [(one.identity, one.updates) for one in server.begun] == [("ada", server.pushes[0].updates)]


def test_a_push_that_cannot_be_announced_moves_nothing(server: GitServer, project: str, tmp_path: Path) -> None:
    server.hindrance = ExternalError("ledger-full", "the ledger has no room", hint="free some disk")
    tree = work_tree(tmp_path / "w", server.url(project, server.token("ada")))
    done = git("push", "origin", "main", at=tree, check=False)
    assert done.returncode
    assert "the ledger has no room" in done.stderr
    assert "remote:   free some disk" in done.stderr
    assert not server.host.repository(project).refs()
    assert not server.pushes
