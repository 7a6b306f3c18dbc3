"""R1 Build, criterion 1: a push is seen at once, with who pushed it and what it touches."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from aegis.source.branches import ProtectedBranch
from aegis.source.changes import changes_of
from support.git_server import commit, git, serving, work_tree


def test_r1_1_a_push_is_seen_before_the_pusher_hears_that_it_is_done(tmp_path: Path) -> None:
    with serving(tmp_path / "git") as server:
        server.host.create("shop/orders")
        tree = work_tree(tmp_path / "w", server.url("shop/orders", server.token("mina", "developers")))
        git("push", "--quiet", "origin", "main", at=tree)
        head = commit(tree, {"src/app.py": "x = 1\n"}, "feat: begin to listen")
        started = time.monotonic()
        git("push", "--quiet", "origin", "main", at=tree)
        assert time.monotonic() - started < 30
        push = server.pushes[-1]  # it is there: nothing was waited for
        (change,) = changes_of(
            server.host.repository("shop/orders"),
            push.updates,
            project=push.project,
            identity=push.identity,
            at=datetime(2026, 1, 1, tzinfo=UTC),
            new_id=lambda: "c1",
        )
        assert (change.ref, change.commit, change.pushed_by) == ("refs/heads/main", head, "mina")
        assert (change.author_email, change.message) == ("ada@example.test", "feat: begin to listen")
        assert change.changed == ("src/app.py",)


def test_r1_1_a_push_that_is_refused_starts_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "git") as server:
        server.host.create("shop/orders")
        server.protections = (ProtectedBranch(pattern="main"),)
        tree = work_tree(tmp_path / "w", server.url("shop/orders", server.token("mina")))
        assert git("push", "origin", "main", at=tree, check=False).returncode
        assert server.pushes == []
