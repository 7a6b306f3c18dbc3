"""Remote runners against a real server: registration, whole pipelines, and everything that goes wrong on the wire.

The runner is simulated (`support.runner_simulator`), but it clones with Git and runs scripts with bash.
"""

from __future__ import annotations

import json
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from support.runner_simulator import Faults, SimulatedRunner, Worked
from support.server import DECLARATION, Record, TeamServer, aegis, environment, is_type, team

FLEET = DECLARATION.replace("runner: {concurrency: 2,", "runner: {concurrency: 0,")
ENDED = "dev.cdevents.pipelinerun.finished"


class Fleet:
    """A server without a runner of its own, and what tests do with it."""

    def __init__(self, server: TeamServer) -> None:
        self.server = server
        self.count = 0
        self.runners: list[SimulatedRunner] = []

    def at(self, token: str, name: str) -> SimulatedRunner:
        made = SimulatedRunner(self.server.url, token, self.server.root / name)
        self.runners.append(made)
        return made

    def close(self) -> None:
        for one in self.runners:
            one.wire.close()

    def runner(self, *, faults: Faults | None = None, **settings: Any) -> SimulatedRunner:
        self.count += 1
        wanted = {
            "description": f"sim-{self.count}",
            **({} if settings.get("tags") else {"run_untagged": True}),
            **settings,
        }
        made = self.server.as_("operator").execute("create-runner", wanted)
        runner = self.at(made["values"]["token"], f"runner-{self.count}")
        runner.faults = faults or Faults()
        return runner

    def push(self, pipeline: str, files: dict[str, str] | None = None) -> str:
        """Push a pipeline to a branch of its own; the run's id."""
        since = self.server.head()
        project = "team/tools"
        if project not in self.server.trees:
            self.server.tree(project, {"README.md": "tools\n"}, by="ana")
        tree = self.server.trees[project]
        commit = self.server.commit(
            project, {".gitlab-ci.yml": pipeline, **(files or {})}, by="ana", message="feat: try"
        )
        taken, told = tree.push(f"try-{commit[:8]}", self.server.person("ana"))
        assert taken, told
        begun = self.server.wait(
            "a run", is_type("dev.cdevents.pipelinerun.queued"), since=since, unless=is_type("aegis.run.refused")
        )
        return str(begun["subject"]).removeprefix("run/")

    def ended(self, run: str) -> str:
        def test(record: Record) -> bool:
            return record["type"] == ENDED and record["subject"] == f"run/{run}"

        return str(self.server.wait(f"the end of {run}", test)["data"]["state"])

    def shown(self, run: str, job: str, text: bytes) -> None:
        """Wait until a job's log holds `text`."""
        offset, seen = 0, b""
        while text not in seen:
            data, offset, _ = self.server.as_("operator").trace(run, job, offset=offset, wait=10)
            seen += data

    def log(self, run: str, job: str) -> bytes:
        return self.server.as_("operator").trace(run, job)[0]

    def job(self, run: str, name: str) -> dict[str, Any]:
        view = self.server.as_("operator").get(f"runs/{run}", min_seq=self.server.head())
        return next(one["job"] for one in view["jobs"] if one["job"]["name"] == name)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with team(tmp_path_factory.mktemp("fleet"), FLEET) as server:
        fleet = Fleet(server)
        yield fleet
        fleet.close()


@pytest.fixture
def runner(fleet: Fleet) -> Iterator[SimulatedRunner]:
    made = fleet.runner()
    yield made
    made.unregister()


SLOW = """
slow:
  script:
    - echo begun
    - sleep 60
  after_script: [echo cleaned up]
"""
TRIVIAL = "one:\n  script: [echo one]\n"

PIPELINE = """
stages: [make, use]
make:
  stage: make
  variables: {GREETING: "hello $CI_PROJECT_NAME"}
  before_script: [mkdir out]
  script:
    - echo "$GREETING" > out/greeting.txt
    - head -c 100000 /dev/urandom > out/random.bin
    - sha256sum out/random.bin > out/sum.txt
    - echo "FROM_REPORT=a value" > build.env
    - cp junit.xml report.xml
    - echo "the token is $CI_JOB_TOKEN"
    - echo "TOTAL 87.5%"
  coverage: '/TOTAL (\\d+\\.\\d+)%/'
  artifacts:
    paths: [out/]
    reports: {dotenv: build.env, junit: report.xml}
    expire_in: 1 day
  cache: {key: {files: [README.md], prefix: tools}, paths: [.cache], policy: pull-push, fallback_keys: [older]}
use:
  stage: use
  script:
    - sha256sum -c out/sum.txt
    - test "$FROM_REPORT" = "a value"
    - test "$(cat out/greeting.txt)" = "hello tools"
    - git rev-parse HEAD
alone:
  stage: use
  needs: []
  script: [test ! -e out]
"""
JUNIT = '<testsuites><testsuite name="t" tests="1"><testcase classname="t" name="a"/></testsuite></testsuites>'


def work_to_the_end(fleet: Fleet, runner: SimulatedRunner, run: str) -> dict[str, Worked]:
    stop = threading.Event()
    thread = threading.Thread(target=runner.work_all, args=(stop,))
    thread.start()
    try:
        fleet.ended(run)
    finally:
        stop.set()
        # Whoever waits for a job is woken by one.
        fleet.server.as_("operator").execute(
            "change-runner", {"runner": str(runner.verify().json()["id"]), "note": run}
        )
        thread.join(60)
    return {one.document["job_info"]["name"]: one for one in runner.worked}


def test_a_pipeline_of_several_jobs_passes_files_and_variables_on(fleet: Fleet, runner: SimulatedRunner) -> None:
    run = fleet.push(PIPELINE, {"junit.xml": JUNIT})
    worked = work_to_the_end(fleet, runner, run)

    assert {name: one.state for name, one in worked.items()} == dict.fromkeys(("make", "use", "alone"), "success")
    for name, one in worked.items():
        assert fleet.log(run, name) == one.trace, name
    assert b"the token is [MASKED]" in worked["make"].trace
    made = fleet.job(run, "make")
    assert {(one["kind"], one["name"]) for one in made["files"]} == {
        ("archive", "artifacts.zip"), ("dotenv", "build.env"), ("junit", "report.xml"),
    }  # fmt: skip
    assert made["coverage"] == 87.5
    assert made["isolation"] == "process"
    assert made["runner"].startswith("sim-")


def test_the_job_document_has_every_field(fleet: Fleet, runner: SimulatedRunner) -> None:
    run = fleet.push(PIPELINE + "  image: {name: alpine, entrypoint: ['']}\n  services: [{name: redis, alias: r}]\n")
    given = {document["job_info"]["name"]: document for document in (runner.take(), runner.take())}
    for one in given.values():
        runner.work(one)
    document, alone = given["make"], given["alone"]
    assert isinstance(document["id"], int)
    assert document["allow_git_fetch"] is True
    assert document["job_info"].items() >= {"name": "make", "stage": "make", "project_name": "tools"}.items()
    assert document["runner_info"]["timeout"] == 3600
    git = document["git_info"]
    assert git["ref_type"] == "branch"
    assert git["depth"] == 20
    assert f"+{git['sha']}:refs/pipelines/{document['job_info']['id'] // 10**8}" in git["refspecs"]
    assert [step["name"] for step in document["steps"]] == ["script"]
    assert document["steps"][0]["script"][0] == "mkdir out"
    assert [(one["artifact_type"], one["artifact_format"]) for one in document["artifacts"]] == [
        ("archive", "zip"), ("dotenv", "gzip"), ("junit", "gzip"),
    ]  # fmt: skip
    assert document["artifacts"][0]["expire_in"] == "86400 seconds"
    cache = document["cache"][0]
    assert cache["key"].startswith("tools-")
    assert cache["key"].endswith("-non_protected")
    assert cache["fallback_keys"] == ["older-non_protected"]
    assert document["credentials"][0]["password"] == document["token"]
    assert document["features"]["trace_sections"] is True
    assert "script_failure" in document["features"]["failure_reasons"]
    assert alone["image"].items() >= {"name": "alpine", "entrypoint": [""]}.items()
    assert alone["services"][0].items() >= {"name": "redis", "alias": "r"}.items()
    values = {one["key"]: one for one in document["variables"]}
    assert len(values) == len(document["variables"])
    for name in ("CI", "CI_JOB_ID", "CI_JOB_NAME", "CI_PIPELINE_ID", "CI_PROJECT_ID", "CI_API_V4_URL", "CI_SERVER_URL",
                 "CI_COMMIT_SHA", "CI_RUNNER_ID", "CI_REPOSITORY_URL", "GITLAB_USER_LOGIN", "CI_REGISTRY"):  # fmt: skip
        assert values[name]["value"], name
    assert values["CI_JOB_ID"]["value"] == str(document["id"])
    assert values["CI_JOB_TOKEN"]["masked"] is True
    assert values["CI_JOB_TOKEN"]["public"] is False
    document = runner.take()
    assert document["dependencies"][0]["artifacts_file"]["filename"] == "artifacts.zip"
    runner.work(document)
    assert fleet.ended(run) == "success"


NOISY = """
noisy:
  script:
    - for i in $(seq 1 3000); do echo "line $i of a log that is cut in many places $CI_JOB_TOKEN"; done
    - mkdir out
    - head -c 3000000 /dev/urandom > out/random.bin
    - sha256sum < out/random.bin > sum.txt
    - echo "sum $(cat sum.txt)"
  artifacts: {paths: [out]}
check:
  needs: [noisy]
  script: ["sha256sum < out/random.bin"]
"""


def test_nothing_is_lost_or_doubled_when_the_wire_fails_at_every_turn(fleet: Fleet) -> None:
    faults = Faults(
        cut_patches=3, truncated_patches=3, cut_uploads=2, cut_finish=1, garble_checksum=1, patch_limit=20_000
    )
    runner = fleet.runner(faults=faults)
    run = fleet.push(NOISY)
    worked = runner.work(runner.take())
    assert worked.state == "success"
    assert fleet.log(run, "noisy") == worked.trace
    assert worked.trace.count(b"line 1 of a log") == 1
    assert b"aegisjob." not in worked.trace
    said = [status for what, status in worked.statuses if what == "put"]
    assert 412 in said
    assert said[-1] == 200
    assert 416 in [status for what, status in worked.statuses if what == "patch"]
    checked = runner.work(runner.take())
    digest = next(line for line in worked.trace.splitlines() if line.startswith(b"sum ")).split()[1]
    assert digest in checked.trace
    assert fleet.ended(run) == "success"
    runner.unregister()


def test_a_failed_job_says_its_exit_code_and_leaves_its_reports(fleet: Fleet, runner: SimulatedRunner) -> None:
    run = fleet.push(
        "bad:\n  script: [cp junit.xml out.xml, exit 3]\n  after_script: [echo after]\n"
        "  artifacts: {reports: {junit: out.xml}, paths: [out.xml]}\n",
        {"junit.xml": JUNIT},
    )
    worked = runner.work(runner.take())
    assert worked.state == "failed"
    assert b"after" in worked.trace
    assert fleet.ended(run) == "failed"
    job = fleet.job(run, "bad")
    assert (job["exit_code"], job["failure_reason"]) == (3, "script_failure")
    assert [one["kind"] for one in job["files"]] == ["junit"]


def running(fleet: Fleet, runner: SimulatedRunner) -> tuple[str, threading.Thread, list[Worked]]:
    """A job that has begun and goes on for a minute."""
    run = fleet.push(SLOW)
    runner.keep_alive = 0.3  # a silent job hears of its end with the next sign of life
    document = runner.take()
    done: list[Worked] = []
    thread = threading.Thread(target=lambda: done.append(runner.work(document)))
    thread.start()
    fleet.shown(run, "slow", b"\nbegun\n")
    return run, thread, done


def test_a_canceled_job_stops_cleans_up_and_is_canceled(fleet: Fleet, runner: SimulatedRunner) -> None:
    run, thread, done = running(fleet, runner)
    fleet.server.as_("operator").execute("cancel", {"run": run})
    thread.join(30)
    assert done[0].steps == ["get_sources", "script", "after_script"]
    assert b"cleaned up" in done[0].trace
    assert fleet.ended(run) == "canceled"
    assert fleet.job(run, "slow")["state"] == "canceled"


def test_a_runner_that_cannot_cancel_gracefully_loses_the_job_at_once(fleet: Fleet, runner: SimulatedRunner) -> None:
    runner.info["features"]["cancel_gracefully"] = False
    run, thread, done = running(fleet, runner)
    fleet.server.as_("operator").execute("cancel", {"run": run})
    assert fleet.ended(run) == "canceled"
    thread.join(30)
    assert done[0].aborted
    assert done[0].steps == ["get_sources", "script"]


def test_a_job_outlives_a_server_that_is_killed(fleet: Fleet, runner: SimulatedRunner) -> None:
    run = fleet.push(
        "long:\n  script:\n    - echo begun\n    - mkdir out; echo kept > out/a\n"
        "    - for i in $(seq 1 400); do echo tick $i; sleep 0.01; done\n  artifacts: {paths: [out]}\n"
    )
    document = runner.take()
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(patient, runner, document)
        fleet.shown(run, "long", b"\ntick 5\n")
        fleet.server.kill()
        fleet.server.start()
        worked = working.result(60)
    assert worked.state == "success"
    assert fleet.ended(run) == "success"
    assert fleet.log(run, "long") == worked.trace
    assert fleet.job(run, "long")["attempt"] == 1
    assert [one["kind"] for one in fleet.job(run, "long")["files"]] == ["archive"]


def patient(runner: SimulatedRunner, document: dict[str, Any]) -> Worked:
    """Work a job through a time without a server: every call is tried until it is answered."""
    call = runner.wire.call

    def again(*arguments: Any, **options: Any) -> Any:
        for _ in range(600):
            try:
                return call(*arguments, **options)
            except OSError:
                runner.wire.drop()
                threading.Event().wait(0.05)
        raise AssertionError("no server")

    runner.wire.call = again  # type: ignore[method-assign]
    return runner.work(document)


# -- who gets what ------------------------------------------------------------------------------------------


def test_each_job_goes_to_one_runner_however_many_ask_at_once(fleet: Fleet) -> None:
    jobs = 12
    runners = [fleet.runner() for _ in range(6)]
    run = fleet.push(
        "".join(f"job-{n}:\n  variables: {{GIT_STRATEGY: none}}\n  script: [echo {n}]\n" for n in range(jobs))
    )
    given: list[str] = []

    def take(runner: SimulatedRunner) -> None:
        while (document := runner.request()) is not None:
            given.append(document["job_info"]["name"])
            runner.work(document)
            runner.last_update = ""

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(take, runners))
    assert sorted(given) == sorted(f"job-{n}" for n in range(jobs))
    assert fleet.ended(run) == "success"
    for runner in runners:
        runner.unregister()


def test_tags_untagged_protected_paused_and_projects_are_kept(fleet: Fleet) -> None:
    tagged = fleet.runner(tags=["docker", "linux"])
    untagged = fleet.runner()
    protected = fleet.runner(protected=True)
    foreign = fleet.runner(projects=["other"])
    paused = fleet.runner(paused=True)
    run = fleet.push(
        "a:\n  tags: [docker]\n  script: ['true']\nb:\n  script: ['true']\nc:\n  tags: [gpu]\n  script: ['true']\n"
    )
    for one in (protected, foreign, paused):
        assert one.request() is None
        assert one.last_update
    got = tagged.request()
    assert got is not None
    assert got["job_info"]["name"] == "a"
    # Without the last word a request is answered at once.
    tagged.last_update = ""
    assert tagged.request() is None
    other = untagged.request()
    assert other is not None
    assert other["job_info"]["name"] == "b"
    untagged.last_update = ""
    assert untagged.request() is None
    paused.last_update = ""
    fleet.server.as_("operator").execute("change-runner", {"runner": str(paused.verify().json()["id"]), "paused": False,
                                                           "tags": ["gpu"]})  # fmt: skip
    third = paused.request()
    assert third is not None
    assert third["job_info"]["name"] == "c"
    for one, document in ((tagged, got), (untagged, other), (paused, third)):
        one.work(document)
    assert fleet.ended(run) == "success"
    for one in (tagged, untagged, protected, foreign, paused):
        one.unregister()


def test_an_idle_runner_is_held_until_a_job_comes(fleet: Fleet, runner: SimulatedRunner) -> None:
    assert runner.request() is None
    version = runner.last_update
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(runner.request)
        run = fleet.push(TRIVIAL)
        document = held.result(45)
    assert document is not None
    assert runner.last_update == version, "the word of the request comes back: what came since is heard of next time"
    runner.work(document)
    assert fleet.ended(run) == "success"


def test_a_runner_that_hangs_up_while_it_is_held_gets_nothing(fleet: Fleet, runner: SimulatedRunner) -> None:
    other = fleet.runner()
    assert runner.request() is None
    body = json.dumps({"token": runner.token, "info": runner.info, "last_update": runner.last_update}).encode()
    connection = runner.wire.connection()
    connection.request("POST", "/api/v4/jobs/request", body, {"Content-Type": "application/json"})
    runner.wire.drop()
    run = fleet.push(TRIVIAL)
    other.work(other.take())
    assert fleet.ended(run) == "success"
    other.unregister()


# -- tokens -------------------------------------------------------------------------------------------------


def test_a_token_of_nobody_is_refused(fleet: Fleet) -> None:
    stranger = fleet.at("glrt-" + "x" * 20, "stranger")
    assert stranger.verify().status == 403
    assert stranger.wire.json("POST", "jobs/request", {"token": stranger.token}).status == 403
    assert stranger.unregister().status == 403
    person = fleet.server.person("ana").token
    assert stranger.wire.json("POST", "jobs/request", {"token": person}).status == 403


def test_a_runner_registers_renews_and_leaves(fleet: Fleet) -> None:
    made = fleet.server.as_("operator").execute("issue-registration-token", {})["values"]["token"]
    runner = fleet.at("", "old-way")
    assert runner.register("GR1348941" + "x" * 20).status == 403
    answer = runner.register(made, description="old", tag_list="a,b", run_untagged=False, access_level="not_protected")
    assert answer.status == 201
    first = runner.token
    assert runner.verify().json()["id"] == answer.json()["id"]
    listed = next(one for one in fleet.server.as_("operator").get("runners") if one["number"] == answer.json()["id"])
    assert (listed["tags"], listed["run_untagged"], listed["status"]) == (["a", "b"], False, "online")
    assert listed["machines"][0]["executor"] == "shell"
    assert runner.reset_token().status == 201
    second, runner.token = runner.token, first
    assert runner.verify().status == 403
    runner.token = second
    assert runner.verify().status == 200
    assert runner.unregister_machine().status == 204
    assert runner.unregister_machine().status == 404
    assert runner.unregister().status == 204
    assert runner.verify().status == 403


def test_a_jobs_token_opens_its_own_job_alone_and_dies_with_it(fleet: Fleet, runner: SimulatedRunner) -> None:
    run = fleet.push(
        "make:\n  script: [echo secret > a.txt]\n  artifacts: {paths: [a.txt]}\n"
        "other:\n  needs: []\n  script: ['true']\nuse:\n  needs: [make]\n  script: [cat a.txt]\n"
    )
    made = runner.take()
    runner.work(made)
    other, use = runner.take(), runner.take()
    if other["job_info"]["name"] != "other":
        other, use = use, other
    wire = runner.wire
    for token in (made["token"], use["token"], "x"):
        headers = {"JOB-TOKEN": token, "Content-Range": "0-1"}
        assert wire.call("PATCH", f"jobs/{other['id']}/trace", b"no", headers).status == 403
        assert wire.json("PUT", f"jobs/{other['id']}", {"token": token, "state": "failed"}).status == 403
        upload = {"JOB-TOKEN": token, "Content-Type": "multipart/form-data; boundary=x"}
        assert wire.call("POST", f"jobs/{other['id']}/artifacts", b"--x--\r\n", upload).status == 403
        wire.drop()
    assert (
        wire.call("PATCH", "jobs/99999999999999/trace", b"no", {"JOB-TOKEN": "x", "Content-Range": "0-1"}).status == 404
    )
    get = f"jobs/{made['id']}/artifacts"
    assert wire.call("GET", get, None, {"JOB-TOKEN": other["token"]}).status == 403
    assert wire.call("GET", get, None, {"JOB-TOKEN": made["token"]}).status == 403
    answer = wire.call("GET", get, None, {"JOB-TOKEN": use["token"]})
    assert answer.status == 200
    assert zipfile.ZipFile(BytesIO(answer.body)).read("a.txt") == b"secret\n"
    assert fetches(use)
    runner.work(other)
    runner.work(use)
    assert fleet.ended(run) == "success"
    assert not fetches(use)
    assert wire.call("GET", get, None, {"JOB-TOKEN": use["token"]}).status == 403
    foreign = {**use, "git_info": {**use["git_info"], "repo_url": use["git_info"]["repo_url"].replace("tools", "web")}}
    assert not fetches(foreign)


def fetches(document: dict[str, Any]) -> bool:
    asked = subprocess.run(
        ["git", "ls-remote", document["git_info"]["repo_url"]], capture_output=True, env=environment(), check=False
    )
    return asked.returncode == 0


def test_runs_without_isolation_are_refused_where_it_is_required(tmp_path: Path) -> None:
    declared = FLEET.replace(
        "runner: {concurrency: 0, isolation: optional", "runner: {concurrency: 0, isolation: required"
    )
    with team(tmp_path / "strict", declared) as server:
        fleet = Fleet(server)
        shell, docker, vouched = fleet.runner(), fleet.runner(), fleet.runner(isolated=True)
        docker.info["executor"] = "docker"
        run = fleet.push(TRIVIAL)
        answer = shell.wire.json("POST", "jobs/request", {"token": shell.token, "info": shell.info})
        assert answer.status == 403
        assert "isolate" in answer.json()["message"]
        document = docker.request()
        assert document is not None
        docker.work(document)
        assert fleet.ended(run) == "success"
        assert fleet.job(run, "one")["isolation"] == "container"
        assert vouched.request() is None
        fleet.close()


def test_runners_are_managed_from_the_command_line(fleet: Fleet) -> None:
    at = {
        "AEGIS_URL": fleet.server.url,
        "AEGIS_TOKEN": json.loads((fleet.server.data / "server.json").read_text())["token"],
    }
    made = json.loads(aegis("runner", "create", "--description", "by hand", "--tag", "x", "--json", **at).stdout)
    number = str(made["values"]["id"])
    runner = fleet.at(made["values"]["token"], "by-hand")
    assert runner.verify().status == 200
    assert aegis("runner", "pause", number, **at).returncode == 0
    listed = json.loads(aegis("runner", "list", "--json", **at).stdout)["items"]
    assert next(one["paused"] for one in listed if one["number"] == int(number)) is True
    assert "by hand" in aegis("runner", "list", **at).stdout
    assert aegis("runner", "resume", number, **at).returncode == 0
    assert aegis("runner", "change", number, "--tag", "y", "--timeout", "60", **at).returncode == 2
    assert aegis("runner", "change", number, "--tag", "y", "--protected", **at).returncode == 0
    assert aegis("runner", "reset-token", number, **at).returncode == 0
    assert runner.verify().status == 403
    assert aegis("runner", "registration-token", "--dry-run", **at).returncode == 0
    assert aegis("runner", "remove", number, "--reason", "test", **at).returncode == 0
    assert aegis("runner", "remove", number, **at).returncode == 4
    nobody = {**at, "AEGIS_TOKEN": fleet.server.person("ana").token}
    assert aegis("runner", "create", **nobody).returncode == 3


HOSTILE_NAMES = (
    "../../../../etc/cron.d/x", "/etc/passwd", "a\\..\\b", "x" * 4000, "\u00e9", "$(touch x).zip", "--output", "..", "a;b", "\x1b[2J",
)  # fmt: skip


def test_what_a_runner_uploads_under_hostile_names_is_kept_under_names(fleet: Fleet, runner: SimulatedRunner) -> None:
    run = fleet.push("work: {script: ['true'], artifacts: {paths: [a]}}\n")
    document = runner.take()
    number, token = document["id"], document["token"]
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("../../outside", "/absolute", "fine"):
            archive.writestr(name, "x")
    statuses = []
    for name in HOSTILE_NAMES:
        body = (
            f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
            + packed.getvalue() + b"\r\n--x--\r\n"
        )  # fmt: skip
        headers = {"JOB-TOKEN": token, "Content-Type": "multipart/form-data; boundary=x"}
        statuses.append(runner.wire.call("POST", f"jobs/{number}/artifacts", body, headers).status)
    for query in (
        "artifact_type=../../x",
        "artifact_format=../x",
        "artifact_type=junit&artifact_format=zip",
        "expire_in=%00",
    ):
        headers = {"JOB-TOKEN": token, "Content-Type": "multipart/form-data; boundary=x"}
        statuses.append(runner.wire.call("POST", f"jobs/{number}/artifacts?{query}", body, headers).status)
    assert {status // 100 for status in statuses} <= {2, 4}, statuses
    assert runner.wire.json("PUT", f"jobs/{number}", {"token": token, "state": "success"}).status in (200, 202)
    assert fleet.ended(run) == "success"
    files = fleet.job(run, "work")["files"]
    for one in files:
        assert not set(one["name"]) & set("/\\"), one["name"]
        assert one["name"].isprintable(), one["name"]
        assert len(one["name"]) <= 300
    root = fleet.server.data
    assert not [path for path in (root / "outside", root.parent / "outside", Path("/absolute")) if path.exists()]
    operator = fleet.server.as_("operator")._client
    project = "team%2Ftools"
    for path in ("../../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "../../outside"):
        answer = operator.get(f"/api/v4/projects/{project}/jobs/{number}/artifacts/{path}")
        assert answer.status_code in (400, 403, 404), (path, answer.status_code)
        assert b"root:" not in answer.content
