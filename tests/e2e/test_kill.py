"""`kill -9` of the server, in the middle of everything: nothing acknowledged is lost, nothing is done twice unseen."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

import support.dying
from aegis.adapters.load_http import HttpLoad
from aegis.core.errors import AegisError
from support.fault_story import Stories, cases
from support.git_server import git
from support.server import (
    DECLARATION,
    SERVER,
    Record,
    TeamServer,
    children,
    finished,
    free_port,
    gone,
    is_type,
    team,
    trouble,
)
from support.workloads import until

CANARY = DECLARATION.replace(
    "    health: /healthz\n",
    """    health: /healthz
    environments:
      production: {replicas: 2}
    rollout:
      production:
        strategy: canary
        steps: [10, 50, 100]
        step_seconds: 1
        minimum_requests: 20
        maximum_seconds: 20
        watch_seconds: 1
        on_timeout: promote-if-clean
""",
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """What visitors ask for."""

    method: str = "GET"
    path: str = "/"
    body: None = None
    share: float = 1.0


class Follower:
    """A client of `/events` that comes back with the last number it saw, whatever happens to the server."""

    def __init__(self, server: TeamServer) -> None:
        self.seen: list[int] = []
        self.returns = 0
        self._url = server.url
        self._token = server.as_("operator")._client.headers["Authorization"]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            headers = {"Authorization": self._token, "Last-Event-ID": str(self.seen[-1] if self.seen else 0)}
            with suppress(httpx.HTTPError):
                timeout = httpx.Timeout(5.0, read=30.0)
                with httpx.stream(
                    "GET", f"{self._url}/events", headers=headers, timeout=timeout, trust_env=False
                ) as answer:
                    for line in answer.iter_lines():
                        if line.startswith("id: "):
                            self.seen.append(int(line[4:]))
                        if self._stop.is_set():
                            return
            self.returns += 1
            self._stop.wait(0.2)

    def reaches(self, seq: int, seconds: float = 20.0) -> None:
        """Wait until it has seen a record."""
        for _ in range(int(seconds / 0.05)):
            if self.seen and self.seen[-1] >= seq:
                return
            self._stop.wait(0.05)
        raise AssertionError(f"it stopped at {self.seen[-1:]}, not at {seq}")

    def stop(self) -> None:
        """Do not come back."""
        self._stop.set()


@contextmanager
def dying(
    root: Path, point: str, when: str = "after", number: int = 1, declaration: str = DECLARATION
) -> Iterator[TeamServer]:
    """A server that will be killed at a point of its own code, once."""
    mark = root / "died"
    root.mkdir()
    server = TeamServer(root=root / "server", declaration=declaration)
    server.command = (sys.executable, support.dying.__file__, point, when, str(number), str(mark), "--")
    try:
        yield server.start()
        assert "Traceback" not in server.log, server.log[-4000:]
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()


def intact(server: TeamServer, known: list[Record]) -> list[Record]:
    """The ledger now: it verifies, and what was known of it before is there, unchanged."""
    server.verify()
    now = server.ledger()
    assert [one["seq"] for one in now] == list(range(1, len(now) + 1))
    assert now[: len(known)] == known
    return now


def jobs_of(records: list[Record], run: str) -> list[tuple[str, int, str, str | None]]:
    """Name, attempt, state and reason of each ended attempt of a run's jobs."""
    ended = [
        one for one in records if one["type"] == "dev.cdevents.taskrun.finished" and one["subject"] == f"run/{run}"
    ]
    return [
        (one["data"]["job"]["name"], one["data"]["job"]["attempt"], one["data"]["job"]["state"],
         one["data"]["job"]["failure_reason"])
        for one in ended
    ]  # fmt: skip


def test_a_pipeline_goes_on_after_a_kill_and_the_lost_attempt_is_seen(tmp_path: Path) -> None:
    with team(tmp_path / "server") as server:
        tree = server.service()
        server.proposed()
        follower = Follower(server)
        since = server.head()
        tree.write("job.sh", "test -e $CI_PROJECT_DIR/go && exit 0\nsleep ${SLOW:-4}\n")
        tree.commit("fix: slow", server.person("olga"))
        tree.branch("work", "main")
        server.commit("team/web", {"job.sh": "echo begun; sleep 3; echo ended\n"}, by="olga", message="fix: slow")
        assert tree.push("main", server.person("olga"))[0]
        started = server.wait("the job", is_type("dev.cdevents.taskrun.started"), since=since)
        run = started["subject"].partition("/")[2]
        assert server.process is not None
        below = children(server.process.pid)
        assert below
        known = server.ledger()
        server.kill()
        assert not gone(below), "jobs, workloads and the traffic split end with the server"
        server.start()
        released, tested = server.wait_all(
            "the release",
            [is_type("aegis.release.created"), is_type("aegis.evidence.recorded", environment="staging")],
            since=since, unless=trouble,
        )  # fmt: skip
        assert released["data"]["release"]["run"] == run
        assert tested["data"]["evidence"]["summary"]["result"] == "pass"
        records = intact(server, known)
        assert jobs_of(records, run) == [
            ("checks", 1, "failed", "runner_system_failure"),
            ("checks", 2, "success", None),
            ("build-image", 1, "success", None),
        ]
        lost = next(
            one for one in records if one["type"] == "dev.cdevents.taskrun.finished" and one["seq"] > started["seq"]
        )
        assert "server stopped" in lost["data"]["job"]["message"]
        assert lost["data"]["will_retry"]
        assert b"ended" in server.as_("operator").trace(run, "checks")[0]
        follower.reaches(tested["seq"])
        follower.stop()
        assert follower.returns >= 1
        assert follower.seen == list(range(1, follower.seen[-1] + 1)), "no gap and nothing twice"


def test_a_rollout_goes_on_after_a_kill_and_visitors_are_answered(tmp_path: Path) -> None:
    with team(tmp_path / "server", CANARY) as server:
        tree = server.service()
        server.in_production()
        url = server.cell("production")["url"]
        load = HttpLoad(url, [Call()], 100.0)
        try:
            since = server.head()
            tree.branch("work", "main")
            server.commit(
                "team/web",
                {"src/web/__main__.py": SERVER.replace("VERSION = 1", "VERSION = 2")},
                by="olga",
                message="feat: two",
            )
            assert tree.push("main", server.person("olga"))[0]
            promotion = server.proposed(since=since)["data"]["promotion"]
            server.as_("rita").execute("approve", {"promotion": promotion["id"], "plan_hash": promotion["plan_hash"]})

            def moved(record: Record) -> bool:
                return record["type"] == "aegis.rollout.stepped" and record["data"]["rollout"]["weight"] >= 10

            server.wait("the first step", moved, since=since, unless=trouble)
            known = server.ledger()
            server.kill()
            server.start()
            fresh = server.cell("production")["url"]
            until(lambda: {httpx.get(fresh, trust_env=False).status_code for _ in range(20)} == {200})
            if fresh != url:
                load.stop()
                load = HttpLoad(fresh, [Call()], 100.0)
            ended = server.wait("the end", finished(promotion["id"]), since=since, seconds=90)
            assert ended["data"]["ok"], ended
            intact(server, known)
            assert httpx.get(fresh, trust_env=False).json()["text"] == 2
            assert server.cell("production")["release"] == promotion["release"]
        finally:
            load.stop()


def test_a_bad_version_is_taken_back_although_the_server_was_killed_in_between(tmp_path: Path) -> None:
    with team(tmp_path / "server", CANARY) as server:
        tree = server.service()
        server.in_production()
        before = server.cell("production")
        load = HttpLoad(before["url"], [Call()], 100.0)
        try:
            since = server.head()
            tree.branch("work", "main")
            bad = SERVER.replace("VERSION = 1", "VERSION = 2").replace("FAILING = 0", "FAILING = 2")
            server.commit("team/web", {"src/web/__main__.py": bad}, by="olga", message="feat: bad")
            assert tree.push("main", server.person("olga"))[0]
            promotion = server.proposed(since=since)["data"]["promotion"]
            server.as_("rita").execute("approve", {"promotion": promotion["id"], "plan_hash": promotion["plan_hash"]})
            server.wait("the rollout", is_type("aegis.rollout.started"), since=since, unless=trouble)
            known = server.ledger()
            server.kill()
            server.start()
            ended = server.wait("the end", finished(promotion["id"]), since=since, seconds=90)
            assert not ended["data"]["ok"]
            records = intact(server, known)
            assert len([one for one in records if one["type"] == "dev.cdevents.service.rolledback"]) == 1
            assert len([one for one in records if one["type"] == "aegis.artifact.quarantined"]) == 1
            now = server.cell("production")
            assert now["release"] == before["release"]
            assert httpx.get(now["url"], trust_env=False).json()["text"] == 1
        finally:
            load.stop()


def test_a_pipeline_comes_to_the_same_end_wherever_it_was_killed(tmp_path: Path) -> None:
    """One of some six hundred places, drawn anew each time; `tools/soak_faults.py` tries them all."""
    seed = random.randrange(1 << 30)
    stories = Stories(root=tmp_path)
    stories.prepare()
    case = random.Random(seed).choice(cases(stories.recorded()))
    outcome = stories.told(case)
    assert not outcome.wrong, f"{case} (seed {seed}): {outcome.wrong}"


def test_a_merge_that_was_cut_off_from_its_record_is_taken_up_as_the_merge_it_was(tmp_path: Path) -> None:
    with dying(tmp_path / "case", "aegis.delivery.handlers.merge_requests:record_merge", "before") as server:
        server.service()
        server.wait("the first release", is_type("aegis.release.created"), unless=trouble)
        ana, ben = server.as_("ana"), server.person("ben")
        since = server.head()
        files = {"src/web/__main__.py": SERVER.replace("VERSION = 1", "VERSION = 2")}
        server.push("team/web", "two", files, by="ana", start="main", message="feat: two")
        asked = {"project": "team/web", "source": "two", "target": "main", "title": "two"}
        number = ana.execute("open-merge-request", asked)["values"]["number"]
        server.wait("the note", is_type("aegis.merge-request.noted"), since=since, unless=trouble)
        with suppress(AegisError):
            server.as_(ben.id).execute("merge", {"project": "team/web", "number": number})
        server.died()
        known = server.ledger()
        assert not [one for one in known if one["type"] == "dev.cdevents.change.merged"]
        server.start()
        merged, released = server.wait_all(
            "the release", [is_type("dev.cdevents.change.merged"), is_type("aegis.release.created")],
            since=since, unless=trouble,
        )  # fmt: skip
        assert merged["data"]["merged_by"] == "ben"
        assert released["data"]["release"]["commit"] == merged["data"]["commit"]
        assert sorted(released["data"]["release"]["involved"]) == ["ana", "ben", "olga"]
        assert released["data"]["release"]["unmapped"] == []
        intact(server, known)


def test_ready_means_that_what_ran_before_answers_also_at_another_port(tmp_path: Path) -> None:
    with team(tmp_path / "server") as server:
        server.service()
        waiting = server.proposed()["data"]["promotion"]
        since, cell = server.head(), server.cell("staging")
        server.kill()
        server.port = free_port()
        server.start()
        again = server.cell("staging")
        assert [httpx.get(again["url"], trust_env=False).status_code for _ in range(5)] == [200] * 5
        assert again["digest"] == cell["digest"]
        promotion = {"promotion": waiting["id"], "plan_hash": waiting["plan_hash"]}
        server.as_("rita").execute("approve", promotion)  # of before: image names are those of the first start
        assert server.wait("production", finished(waiting["id"]), since=since)["data"]["ok"]


def test_kills_at_any_moment_lose_nothing_and_the_last_change_gets_through(tmp_path: Path) -> None:
    kills = 10 if "SOAK" in os.environ else 2
    seed = random.randrange(1 << 30)
    moments = random.Random(seed)
    with team(tmp_path / "server") as server:
        server.service()
        server.in_production()
        tree = server.tree("team/web")
        for number in range(kills):
            known = server.ledger()
            code = SERVER.replace("VERSION = 1", f"VERSION = {number + 2}")
            for attempt in range(4):  # the changelog of the version before may be committed meanwhile
                tree.branch("work", "main")
                server.commit("team/web", {"src/web/__main__.py": code}, by="olga", message=f"feat: number {number}")
                taken, said = tree.push("main", server.person("olga"))
                assert taken or attempt < 3, f"{said} (seed {seed})"
                if taken:
                    break
            threading.Event().wait(moments.uniform(0.0, 2.5))
            server.kill()
            server.start()
            intact(server, known)

        def newest(record: Record) -> bool:
            if record["type"] != "aegis.promotion.proposed" or record["environment"] != "production":
                return False
            release = record["data"]["promotion"]["release"]
            view = server.as_("operator").get(f"releases/{release}")
            return bool(view["release"]["commit"] == tree_tip(server))

        promotion = server.wait(f"the last one (seed {seed})", newest, seconds=90)["data"]["promotion"]
        server.as_("rita").execute("approve", {"promotion": promotion["id"]})
        assert server.wait("production", finished(promotion["id"]))["data"]["ok"]
        assert httpx.get(server.cell("production")["url"], trust_env=False).json()["text"] == kills + 1, seed


def tree_tip(server: TeamServer) -> str:
    """The commit that was pushed last."""
    return git("rev-parse", "HEAD", at=server.tree("team/web").path).stdout.strip()
