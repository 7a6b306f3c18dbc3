"""R8 What is proven is not worked again, and what jobs leave is kept, given out and let go as they say: on a running server."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from support.server import TeamServer, aegis, is_type, team

PIPELINE = """
unit:
  variables: {AEGIS_REUSE: 'true', AEGIS_REUSE_INPUTS: 'src/**'}
  script: [mkdir out, date +%s%N > out/when, "echo '<testsuite tests=\\"1\\"><testcase name=\\"a\\"/></testsuite>' > junit.xml"]
  artifacts: {paths: [out], reports: {junit: junit.xml}}
brief:
  script: [mkdir out, date +%s%N > out/brief]
  artifacts: {paths: [out], expire_in: 0 seconds}
reader:
  stage: deploy
  script: [cat out/when]
  needs: [unit]
hidden:
  script: [echo hidden > hidden.txt]
  artifacts: {paths: [hidden.txt], access: none}
"""
FINISHED = "dev.cdevents.taskrun.finished"


@dataclass
class World:
    server: TeamServer
    jobs: list[dict[str, dict[str, Any]]]
    """The jobs of three runs by name, as GitLab's API numbers them: a first, one with another README, one of other inputs."""

    def api(self, path: str, method: str = "GET") -> httpx.Response:
        token = self.server.person("ana").token
        return httpx.request(
            method,
            f"{self.server.url}/api/v4/projects/team%2Ftools/{path}",
            headers={"PRIVATE-TOKEN": token},
            timeout=30,
        )

    def log(self, run: int, job: str) -> str:
        return self.api(f"jobs/{self.jobs[run][job]['id']}/trace").text

    def finished(self, run: int, job: str) -> dict[str, Any]:
        pipeline = self.jobs[run][job]["web_url"].split("/")[-3]
        return next(
            one["data"]["job"] for one in self.server.ledger()
            if one["type"] == FINISHED and one["subject"] == f"run/{pipeline}" and one["data"]["job"]["name"] == job
        )  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with team(tmp_path_factory.mktemp("artifacts")) as server:
        files = {".gitlab-ci.yml": PIPELINE, "README.md": "one\n", "src/a.py": "a = 1\n"}
        server.tree("team/tools", files, by="ana")
        made = World(server, [])
        for change in ({}, {"README.md": "two\n"}, {"src/a.py": "a = 2\n"}):
            since = server.head()
            if change:
                server.commit("team/tools", change, by="ana", message="feat: change")
            taken, told = server.trees["team/tools"].push("topic", server.person("ana"))
            assert taken, told
            server.wait("a run", is_type("dev.cdevents.pipelinerun.finished", project="team/tools"), since=since)
            (newest, *_) = made.api("pipelines").json()
            made.jobs.append({one["name"]: one for one in made.api(f"pipelines/{newest['id']}/jobs").json()})
        yield made


def test_a_proven_job_is_reused_and_shown_as_reused(world: World) -> None:
    first, second, third = (world.finished(run, "unit") for run in range(3))
    assert first["reuse"]["run"] == third["reuse"]["run"] == ""
    assert "Reused: unit passed in run" in world.log(1, "unit"), world.log(1, "unit")
    assert second["files"] == first["files"]
    assert (second["reuse"]["job"], second["reuse"]["same_tree"]) == (first["id"], False)
    assert "Reused: unit passed in run" in world.log(1, "unit")
    assert "Not reused: other inputs than in run" in world.log(2, "unit")
    assert world.log(1, "reader").count("cat out/when") == 1
    assert [one["status"] for one in world.jobs[1].values()] == ["success"] * 4
    run = world.jobs[1]["unit"]["web_url"].split("/")[-3]
    said = aegis("why", run, "unit", "--url", world.server.url, AEGIS_TOKEN=world.server.person("ana").token)
    assert f"its result is that of {second['reuse']['run']}/{first['id']}" in said.stdout
    page = world.server.as_("operator").get(f"runs/{run}")
    shown = next(one["job"] for one in page["jobs"] if one["job"]["name"] == "unit")
    assert shown["reuse"]["run"] == second["reuse"]["run"]


def test_gates_say_whether_reused_evidence_counts(world: World) -> None:
    run = world.jobs[1]["unit"]["web_url"].split("/")[-3]
    verdict = next(
        one["data"]["verdict"] for one in world.server.ledger()
        if one["type"] == "aegis.verdict.given" and one["data"]["verdict"]["run"] == run
    )  # fmt: skip
    reasons = [one for one in verdict["reasons"] if "was made by run" in one["message"]]
    assert [one["outcome"] for one in reasons] == ["block"]
    assert "AEGIS_NO_REUSE=true" in reasons[0]["mend"]


def test_the_zip_that_gitlab_promises_is_made_while_it_is_sent(world: World) -> None:
    answer = world.api(f"jobs/{world.jobs[0]['unit']['id']}/artifacts")
    assert (
        int(answer.headers["content-length"]) == len(answer.content) == world.jobs[0]["unit"]["artifacts_file"]["size"]
    )
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        (name,) = archive.namelist()
        content = archive.read(name)
    assert world.api(f"jobs/{world.jobs[0]['unit']['id']}/artifacts/{name}").content == content
    assert world.api("jobs/artifacts/topic/raw/out/when?job=unit").content != content
    assert world.api(f"jobs/{world.jobs[0]['unit']['id']}/artifacts/no/such").status_code == 404


def test_files_go_when_their_time_is_over_but_those_of_the_newest_run_stay(world: World) -> None:
    old, newest = (world.jobs[run]["brief"]["id"] for run in (0, 2))
    assert world.api(f"jobs/{old}/artifacts").status_code == 404
    assert world.api(f"jobs/{old}").json()["artifacts_file"] is None
    assert world.api(f"jobs/{newest}/artifacts").status_code == 200
    digest = world.finished(0, "brief")["files"][0]["digest"]
    manifest = world.server.data / "blobs" / "sha512" / digest[7:9] / digest[7:]
    assert manifest.exists()

    def retention(*words: str) -> str:
        token = world.server.person("olga").token
        done = aegis("registry", "retention", *words, "--url", world.server.url, "--json", AEGIS_TOKEN=token)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["message"])

    assert "artifacts: of 2 jobs past their time" in retention("--dry-run")
    assert manifest.exists()
    assert "artifacts: of 2 jobs past their time" in retention()
    assert not manifest.exists()
    assert "artifacts: of 0 jobs past their time" in retention()
    assert world.api(f"jobs/{newest}/artifacts").status_code == 200
    erased = [one for one in world.server.ledger() if one["type"] == "aegis.artifacts.erased"]
    assert [(one["data"]["expired"], one["data"]["by"]) for one in erased] == [(True, "aegis")] * 2


def test_files_that_are_for_nobody_are_given_to_nobody(world: World) -> None:
    hidden = world.jobs[0]["hidden"]["id"]
    assert world.api(f"jobs/{hidden}/artifacts").status_code == 403
    assert world.api(f"jobs/{hidden}/artifacts/hidden.txt").status_code == 403
