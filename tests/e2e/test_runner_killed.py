"""A remote runner is killed at each of its calls, before it is sent and before its answer is read: another one goes on.

What the first had been given is a lost attempt, which is recorded; the log of the attempt that counts is whole.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

import support.crossings
from support.runner_simulator import BROKEN, Answer, SimulatedRunner, Wire
from support.server import DECLARATION, Record, TeamServer

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]
FLEET = DECLARATION.replace("runner: {concurrency: 2,", "runner: {concurrency: 0,")
SILENCE = 5.0
PIPELINE = """
work:
  script:
    - for i in $(seq 30); do echo "line $i of what must not be lost"; sleep 0.01; done
    - head -c 50000 /dev/zero > big
  artifacts: {paths: [big]}
"""


class Killed(SystemExit):
    """The runner's machine is gone: no thread of it does anything any more."""


class MortalWire(Wire):
    """Ends its runner at the n-th call, `before` it is sent or `after` it was answered."""

    def __init__(self, url: str, number: int, when: str) -> None:
        super().__init__(url)
        self.calls: list[str] = []
        self.dead = False
        self._number, self._when = number, when
        self._counting = threading.Lock()

    def call(self, method: str, path: str, *arguments: Any, **named: Any) -> Answer:
        with self._counting:
            self._check()
            self.calls.append(f"{method} {path.partition('?')[0]}")
            due = len(self.calls) == self._number
            if due and self._when == "before":
                self._die()
        answer = super().call(method, path, *arguments, **named)
        if due:
            self._die()
        self._check()
        return answer

    def _check(self) -> None:
        if self.dead:
            raise Killed

    def _die(self) -> None:
        self.dead = True
        self.drop()
        raise Killed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    root = tmp_path_factory.mktemp("mortal")
    plan = root / "plan.json"
    plan.write_text(json.dumps({"silence": SILENCE}))
    made = TeamServer(root=root / "server", declaration=FLEET)
    made.command = (sys.executable, support.crossings.__file__, str(plan), "--")
    try:
        yield made.start()
        assert "Traceback" not in made.log, made.log[-3000:]
    finally:
        if made.process is not None and made.process.poll() is None:
            made.stop()


def runner(server: TeamServer, name: str) -> SimulatedRunner:
    made = server.as_("operator").execute("create-runner", {"description": name, "run_untagged": True})
    return SimulatedRunner(server.url, made["values"]["token"], server.root / name, interval=0.2)


def told(server: TeamServer, number: int, when: str) -> tuple[list[str], list[Record], bytes, bytes]:
    """One pipeline: the calls of the runner that dies, the job's records, the log that the server has and the one that was sent."""
    project, since = "team/tools", server.head()
    if project not in server.trees:
        server.tree(project, {"README.md": "tools\n"}, by="ana")
    commit = server.commit(project, {".gitlab-ci.yml": PIPELINE}, by="ana", message="feat: try")
    taken, said = server.trees[project].push(f"try-{commit[:8]}", server.person("ana"))
    assert taken, said
    queued = server.wait("a run", lambda one: one["type"] == "dev.cdevents.pipelinerun.queued", since=since)
    run = queued["data"]["run"]["id"]
    first, second = runner(server, f"first-{number}-{when}"), runner(server, f"second-{number}-{when}")
    first.wire.close()
    wire = first.wire = MortalWire(server.url, number, when)

    def work() -> None:
        first.work(first.take())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    over, logs = threading.Event(), bytearray()

    def take_over() -> None:
        with suppress(*BROKEN):
            while not over.is_set():
                document = second.request()
                if document is not None:
                    second.work(document)

    helping = threading.Thread(target=take_over)
    helping.start()
    try:
        ended = server.wait(
            "the end",
            lambda one: one["type"] == "dev.cdevents.pipelinerun.finished" and one["data"]["run"] == run,
            since=since,
        )
        assert ended["data"]["state"] == "success"
    finally:
        over.set()
        second.wire.abandon()
        helping.join(60)
        assert not helping.is_alive()
    while more := server.as_("operator").trace(run, "work", offset=len(logs))[0]:
        logs += more
    records = []
    head = server.head()
    for one in server.events(since):
        if one["subject"] == f"run/{run}":
            records.append(one)
        if one["seq"] >= head:
            break
    sent = second.worked[-1].trace if second.worked else first.worked[-1].trace
    for one in (first, second):
        one.wire.close()
    return wire.calls, records, bytes(logs), sent


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # threads of what was killed
def test_a_runner_killed_at_each_of_its_calls(server: TeamServer) -> None:
    usual, *_ = told(server, 0, "never")
    assert len(usual) >= 4, usual
    tried = 0
    for number in range(1, len(usual) + 1):
        for when in ("before", "after"):
            calls, records, log, sent = told(server, number, when)
            jobs = [one["data"]["job"] for one in records if one["type"] == "dev.cdevents.taskrun.finished"]
            where = f"call {number} ({calls[-1]}) {when}: {[(one['attempt'], one['state'], one['failure_reason']) for one in jobs]}"
            assert jobs[-1]["state"] == "success", where
            assert [one["attempt"] for one in jobs] == list(range(1, len(jobs) + 1)), where
            assert {one["failure_reason"] for one in jobs[:-1]} <= {"runner_system_failure"}, where
            assert log == sent, where
            assert log.count(b"line 30 of what must not be lost") == 1, where
            assert jobs[-1]["files"], where
            tried += 1
    sys.stderr.write(
        f"a remote runner was killed before and after each of its {len(usual)} calls: {tried} tried, {tried} survived\n"
    )
