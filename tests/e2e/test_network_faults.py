"""A remote runner and Git over a cable that is cut, slow, deaf and lossy: every byte of a log arrives, and nothing runs twice.

The server is in one network namespace, the runner in another; both are the test's own.
"""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.network import Cable, cable, inside
from support.runner_simulator import SimulatedRunner, Worked
from support.server import DECLARATION, Record, TeamServer, environment, free_port

pytestmark = pytest.mark.soak  # as root, for minutes

FLEET = DECLARATION.replace("runner: {concurrency: 2,", "runner: {concurrency: 0,")
PIPELINE = """
work:
  script:
    - for i in $(seq %(lines)d); do echo "line $i of what must not be lost"; %(pause)s; done
    - head -c %(size)d /dev/urandom > big
    - sha256sum big
  artifacts: {paths: [big]}
"""
STARTED, FINISHED = "dev.cdevents.taskrun.started", "dev.cdevents.taskrun.finished"


@dataclass
class World:
    """A server, a runner far away, and the cable between them."""

    server: TeamServer
    cable: Cable
    runner: SimulatedRunner
    root: Path
    pushed: int = 0

    def push(self, *, lines: int = 300, pause: str = "sleep 0.01", size: int = 100_000) -> str:
        """Push a pipeline, from beside the server; its run."""
        since, project = self.server.head(), "team/tools"
        if project not in self.server.trees:
            self.server.tree(project, {"README.md": "tools\n"}, by="ana")
        tree = self.server.trees[project]
        text = PIPELINE % {"lines": lines, "pause": pause, "size": size}
        commit = self.server.commit(project, {".gitlab-ci.yml": text}, by="ana", message="feat: try")
        taken, told = tree.push(f"try-{commit[:8]}", self.server.person("ana"))
        assert taken, told
        queued = self.server.wait("a run", lambda one: one["type"] == "dev.cdevents.pipelinerun.queued", since=since)
        return str(queued["data"]["run"]["id"])

    @contextmanager
    def working(self) -> Iterator[list[Worked]]:
        """The runner takes one job and works it, far away, while the block lasts."""
        worked: list[Worked] = []

        def work() -> None:
            with inside(self.cable.runner):
                worked.append(self.runner.work(self.runner.take(90.0)))

        thread = threading.Thread(target=work)
        thread.start()
        yield worked
        thread.join(120)
        assert not thread.is_alive(), "the runner did not come to an end"

    def until(self, run: str, text: bytes) -> None:
        """Until the server has that much of the log."""
        offset, seen = 0, b""
        while text not in seen:
            data, offset, over = self.server.as_("operator").trace(run, "work", offset=offset, wait=10)
            seen += data
            assert data or not over, seen[-500:]

    def checked(self, run: str, worked: Worked) -> None:
        """Nothing is lost and nothing ran twice."""

        def ended(record: Record) -> bool:
            return record["type"] == "dev.cdevents.pipelinerun.finished" and record["data"]["run"] == run

        state = self.server.wait("the end", ended, seconds=90)["data"]["state"]
        log = bytearray()
        while more := self.server.as_("operator").trace(run, "work", offset=len(log))[0]:
            log += more
        assert (state, worked.state) == ("success", "success"), log[-800:]
        assert bytes(log) == worked.trace
        records = [one for one in self.server.events_so_far() if one["subject"] == f"run/{run}"]
        assert [one["data"]["job"]["attempt"] for one in records if one["type"] == STARTED] == [1]
        (job,) = [one["data"]["job"] for one in records if one["type"] == FINISHED]
        assert job["files"], "the artifact arrived"
        assert worked.steps == ["get_sources", "script"]


class FarServer(TeamServer):
    """A server in a namespace."""

    def events_so_far(self) -> list[Record]:
        """Every record until now."""
        head, found = self.head(), []
        for one in self.events():
            found.append(one)
            if one["seq"] >= head:
                return found
        raise AssertionError("the stream ended")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root, port = tmp_path_factory.mktemp("far"), free_port()
    with cable(port) as link, inside(link.server):
        server = FarServer(root=root / "server", declaration=FLEET, port=port)
        server.start()
        made = server.as_("operator").execute("create-runner", {"description": "far", "run_untagged": True})
        runner = SimulatedRunner(server.url, made["values"]["token"], root / "runner")
        yield World(server, link, runner, root)
        runner.wire.close()
        assert server.stop() == 0
        assert "Traceback" not in server.log, server.log[-3000:]


def wait(seconds: float) -> None:
    """For how long a fault lasts is the fault."""
    threading.Event().wait(seconds)


def test_connections_are_torn_down_in_the_middle_of_a_log(world: World) -> None:
    run = world.push(lines=120)
    with world.working() as worked:
        world.until(run, b"line 20 ")
        world.cable.refusing()
        wait(0.4)
        world.cable.clear()
    world.checked(run, worked[0])


def test_a_cut_in_the_middle_of_a_log(world: World) -> None:
    run = world.push(lines=400)
    with world.working() as worked:
        world.until(run, b"line 20 ")
        world.cable.cut()
        wait(8.0)
        world.cable.join()
    world.checked(run, worked[0])


def test_a_cut_in_the_middle_of_an_upload_on_a_slow_link(world: World) -> None:
    run = world.push(lines=10, size=600_000)
    world.cable.slow(1024)
    try:
        with world.working() as worked:
            world.until(run, b"  big")
            wait(1.5)
            world.cable.cut()
            wait(5.0)
            world.cable.join()
        world.checked(run, worked[0])
    finally:
        world.cable.quick()


def test_an_upload_is_torn_down_in_the_middle_and_begins_anew(world: World) -> None:
    run = world.push(lines=10, size=600_000)
    world.cable.slow(1024)
    try:
        with world.working() as worked:
            world.until(run, b"  big")
            wait(1.5)
            world.cable.refusing()
            wait(0.5)
            world.cable.clear()
        world.checked(run, worked[0])
    finally:
        world.cable.quick()


def test_a_link_of_256_kilobits(world: World) -> None:
    run = world.push(lines=2000, pause="true", size=100_000)
    world.cable.slow(256)
    try:
        with world.working() as worked:
            world.until(run, b"line 20 ")
        world.checked(run, worked[0])
    finally:
        world.cable.quick()


@pytest.mark.parametrize("side", ["server", "runner"])
def test_one_side_is_deaf_for_a_while(world: World, side: str) -> None:
    run = world.push(lines=300)
    with world.working() as worked:
        world.until(run, b"line 20 ")
        world.cable.deaf(getattr(world.cable, side))
        wait(6.0)
        world.cable.clear()
    world.checked(run, worked[0])


def test_a_tenth_of_all_packets_is_lost(world: World) -> None:
    run = world.push(lines=300, size=300_000)
    world.cable.lossy(0.1)
    try:
        with world.working() as worked:
            world.until(run, b"line 20 ")
        world.checked(run, worked[0])
    finally:
        world.cable.clear()


def test_a_cut_while_a_runner_waits_for_work(world: World) -> None:
    with world.working() as worked:
        wait(1.0)
        world.cable.cut()
        run = world.push(lines=20)
        wait(5.0)
        world.cable.join()
    world.checked(run, worked[0])


def test_git_through_a_cable_that_is_cut(world: World) -> None:
    server, person = world.server, world.server.person("ana")
    tree = server.tree("team/web", {"big": "x"}, by="ana")
    (tree.path / "big").write_bytes(hashlib.shake_128(b"seed").digest(1_500_000))
    commit = tree.commit("feat: big", person)
    world.cable.slow(2048)
    try:
        since = server.head()
        pushed: list[tuple[bool, str]] = []
        thread = threading.Thread(target=lambda: _far(world, lambda: pushed.append(tree.push("far", person))))
        thread.start()
        wait(2.0)
        world.cable.refusing()
        thread.join(90)
        world.cable.clear()
        assert not pushed[0][0], "it was torn down"
        assert "refs/heads/far" not in _refs(server)
        _far(world, lambda: pushed.append(tree.push("far", person)))
        assert pushed[1][0], pushed[1][1]
        server.wait("the push", lambda one: one["type"] == "aegis.change.pushed", since=since)
        changes = [one for one in server.events_so_far() if one["type"] == "aegis.change.pushed" and one["seq"] > since]
        assert [one["data"]["change"]["commit"] for one in changes] == [commit]
        cloned = world.root / "cloned"
        address = f"http://ana:{person.token}@127.0.0.1:{server.port}/git/team/web.git"
        clone = ["git", "clone", "-q", "--branch", "far", address, str(cloned)]
        cloning = threading.Thread(
            target=lambda: _far(world, lambda: subprocess.run(clone, env=environment(), check=False))
        )
        cloning.start()
        wait(1.5)
        world.cable.cut()
        wait(4.0)
        world.cable.join()
        cloning.join(120)
        assert (cloned / "big").read_bytes() == (tree.path / "big").read_bytes()
    finally:
        world.cable.clear()
        world.cable.quick()


def _far(world: World, act: object) -> None:
    with inside(world.cable.runner):
        act()  # type: ignore[operator]


def _refs(server: TeamServer) -> list[str]:
    done = subprocess.run(
        ["git", "-C", str(server.data / "git/team/web.git"), "for-each-ref", "--format=%(refname)"],
        capture_output=True, text=True, env=environment(), check=True,
    )  # fmt: skip
    return done.stdout.split()
