"""A whole server on a full disk: it says so, keeps what it has, answers pages, and goes on when there is space again.

The disk is a small one in a mount namespace of the server's own, which ends with it; no other process sees it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from aegis.core.errors import ExternalError
from support.server import TeamServer, children, environment, finished, is_type, trouble
from support.workloads import until

SIZE = 64 << 20
ROOT = os.geteuid() == 0
NAMESPACES = ("--mount",) if ROOT else ("--user", "--mount")
MOUNT = 'mount -t tmpfs -o size="$1",mode=700 aegis-test "$2" && shift 2 && exec "$@"'


@dataclass(kw_only=True)
class SmallDisk(TeamServer):
    """A server whose data directory is a small file system."""

    @property
    def data(self) -> Path:
        """Its data directory, as the server sees it."""
        inside = Path(f"/proc/{self.process.pid}/root") if self.process else Path("/")
        return inside / (self.root / "data").relative_to("/")

    def fill(self) -> Path:
        """Leave no byte free; the file that takes them all."""
        filler = self.data / "jobs" / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(b"x" * size):
                        continue
                except OSError:
                    continue
        return filler

    def verified(self) -> bool:
        """What `aegis ledger verify` says, seen from where the disk is."""
        assert self.process is not None
        enter = ["nsenter", "--target", str(self.process.pid), *NAMESPACES]
        verify = [sys.executable, "-m", "aegis", "ledger", "verify", "--data", str(self.root / "data")]
        return subprocess.run([*enter, *verify], capture_output=True, check=False, env=environment()).returncode == 0


def jobs_below(server: TeamServer) -> list[int]:
    """The processes of jobs: what sleeps below the server."""
    assert server.process is not None
    lines = {pid: Path(f"/proc/{pid}/cmdline") for pid in children(server.process.pid)}
    return [pid for pid, line in lines.items() if line.exists() and b"sleep" in line.read_bytes()]


@contextmanager
def small(root: Path) -> Iterator[SmallDisk]:
    """A running server on a small disk."""
    server = SmallDisk(root=root)
    (root / "data").mkdir(parents=True, mode=0o700)
    server.command = (
        "unshare", *NAMESPACES, *(() if ROOT else ("--map-root-user",)), "sh", "-c", MOUNT, "sh", str(SIZE), str(root / "data"), sys.executable, "-m", "aegis",
    )  # fmt: skip
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()


def test_a_server_on_a_full_disk_says_so_answers_pages_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    with small(tmp_path / "server") as server:
        server.start()
        server.service()
        promotion = server.proposed()["data"]["promotion"]
        approval = {"promotion": promotion["id"], "plan_hash": promotion["plan_hash"]}
        people = {name: server.as_(name) for name in ("rita", "olga", "operator")}
        tree = server.tree("team/web")
        full, filler = server.head(), server.fill()

        tree.branch("next", "main")
        server.commit("team/web", {"job.sh": "echo two\n"}, by="olga", message="fix: two")
        taken, said = tree.push("main", server.person("olga"))
        assert not taken
        assert "full" in said
        assert "free space" in said
        for name, verb, body in (
            ("rita", "approve", approval),
            ("olga", "run", {"project": "team/web"}),
            ("operator", "issue-token", {"identity": "ana", "purpose": "x"}),
        ):
            with pytest.raises(ExternalError) as caught:
                people[name].execute(verb, body)
            assert caught.value.code in ("disk-full", "blob-store"), verb
            assert caught.value.hint
        for path in ("/healthz", "/readyz", "/status", "/metrics", "/login"):
            assert httpx.get(server.url + path, trust_env=False).status_code == 200, path
        assert server.head() == full
        assert httpx.get(server.cell("staging")["url"], trust_env=False).status_code == 200, "what runs goes on"

        filler.unlink()
        people["rita"].execute("approve", approval)
        assert server.wait("production", finished(promotion["id"]), since=full, unless=trouble)["data"]["ok"]
        taken, said = tree.push("main", server.person("olga"))
        assert taken, said
        server.wait("the next one", is_type("aegis.release.created"), since=full, unless=trouble)
        assert server.verified()
        assert "Traceback" not in server.log


@pytest.mark.soak  # a lease has to run out, which takes a minute
def test_a_job_that_ends_on_a_full_disk_is_carried_out_again(tmp_path: Path) -> None:
    with small(tmp_path / "server") as server:
        server.start()
        server.service()
        server.proposed()
        since = server.head()
        server.push("team/web", "work", {"job.sh": "sleep 1.5; echo written > big\n"}, by="olga", start="main")
        server.wait("the job", is_type("dev.cdevents.taskrun.started"), since=since)
        filler = server.fill()
        until(lambda: not jobs_below(server))
        filler.unlink()
        ended = server.wait("the end", is_type("dev.cdevents.pipelinerun.finished"), since=since, seconds=120)
        assert ended["data"]["state"] == "success"
        assert server.verified()
        assert "Traceback" not in server.log
