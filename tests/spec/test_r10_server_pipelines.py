"""R10.3 on a running server: pipelines start pipelines, newer commits make older pipelines redundant."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from aegis.adapters.executor_namespace import isolation_available
from support.server import Record, TeamServer, is_type

PARENT = """
make:
  script:
    - "echo 'inner: {script: [echo made-by-a-job, test $WHO = parent]}' > made.yml"
  artifacts: {paths: [made.yml]}
child:
  stage: test
  needs: [make]
  variables: {WHO: parent}
  trigger: {include: [{artifact: made.yml, job: make}], strategy: depend}
elsewhere:
  stage: deploy
  trigger: {project: team/tools, branch: BRANCH, strategy: depend}
"""
TOOLS = """
tool:
  script: [test "$CI_PIPELINE_SOURCE" = pipeline]
"""
REVIEW = """
workflow: {rules: [{if: $CI_COMMIT_BRANCH}]}
deploy:
  script: [echo deployed]
  environment: {name: review/$CI_COMMIT_REF_SLUG, url: https://$CI_ENVIRONMENT_SLUG.example, on_stop: stop}
  release: {tag_name: reviewed-1, description: Of $CI_COMMIT_REF_NAME}
stop:
  script: [echo stopped]
  when: manual
  environment: {name: review/$CI_COMMIT_REF_SLUG, action: stop}
"""
FAILING = """
child:
  trigger: {include: broken.yml}
"""


NETWORK = """
registries:
  script:
    - curl -fsS "$CI_SERVER_URL/healthz"
    - "! curl -fsS -m 5 https://not-declared.example/"
    - "! curl -fsS -m 5 http://127.0.0.1:OTHER/"
none:
  variables: {AEGIS_NETWORK: none}
  script: ["! curl -fsS -m 5 $CI_SERVER_URL/healthz"]
"""


def ended(run: str) -> Any:
    def test(record: Record) -> bool:
        return record["type"] == "dev.cdevents.pipelinerun.finished" and record["data"]["run"] == run

    return test


def begun(commit: str, source: str) -> Any:
    def test(record: Record) -> bool:
        if record["type"] != "dev.cdevents.pipelinerun.queued":
            return False
        run = record["data"]["run"]
        return bool(run["source"] == source and (not commit or run["commit"] == commit))

    return test


def states(server: TeamServer, run: str) -> dict[str, str]:
    view = server.as_("operator").get(f"runs/{run}")
    return {one["job"]["name"]: one["job"]["state"] for one in view["jobs"]}


def test_r10_3_a_pipeline_starts_children_and_pipelines_of_other_projects(running: TeamServer) -> None:
    if "team/tools" not in running.trees:
        running.tree("team/tools", {"README.md": "tools\n"}, by="ana")
    tools = running.trees["team/tools"]
    commit = running.commit("team/tools", {".gitlab-ci.yml": TOOLS}, by="ana", message="feat: be triggered")
    taken, said = tools.push("triggered", running.person("ana"))
    assert taken, said
    since = running.head()
    pipeline = PARENT.replace("BRANCH", "triggered")
    commit = running.push("team/web", "triggers", {".gitlab-ci.yml": pipeline}, by="ana", start="main")
    parent, child, other = running.wait_all(
        "three pipelines", [begun(commit, "push"), begun(commit, "parent_pipeline"), begun("", "pipeline")], since=since
    )
    run = parent["data"]["run"]["id"]
    assert child["data"]["run"]["parent"] == run
    assert other["data"]["run"]["project"] == "team/tools"
    end = running.wait("the parent's end", ended(run), since=since)
    assert end["data"]["state"] == "success", states(running, run)
    assert states(running, run) == {"make": "success", "child": "success", "elsewhere": "success"}
    assert states(running, child["data"]["run"]["id"]) == {"inner": "success"}


FLAKY = """
child:
  trigger: {include: child.yml, strategy: depend}
after:
  stage: deploy
  script: ['true']
"""


def test_r10_3_a_job_of_an_ended_child_runs_again_and_the_trigger_follows(running: TeamServer) -> None:
    since = running.head()
    # The first attempt of `flaky` fails, the second passes.
    child = 'flaky: {script: [\'test "$(cat "$HOME/.cache/tried")" = FRESH || { echo FRESH > "$HOME/.cache/tried"; false; }\']}\n'
    files = {".gitlab-ci.yml": FLAKY, "child.yml": child.replace("FRESH", f"fresh-{since}")}
    commit = running.push("team/web", f"flaky-{since}", files, by="ana", start="main")
    run = running.wait("the parent", begun(commit, "push"), since=since)["data"]["run"]["id"]
    end = running.wait("its end", ended(run), since=since)
    assert end["data"]["state"] == "failed"
    child_run = running.wait("the child", begun(commit, "parent_pipeline"), since=since)["data"]["run"]["id"]
    again = running.head()
    running.as_("ana").execute("retry", {"run": child_run, "job": "flaky"})
    end = running.wait("its second end", ended(run), since=again)
    assert end["data"]["state"] == "success", states(running, run)
    assert states(running, run) == {"child": "success", "after": "success"}
    view = running.as_("operator").get(f"runs/{run}")
    assert next(one["job"]["attempt"] for one in view["jobs"] if one["job"]["name"] == "child") == 1


FETCHING = """
shade:
  stage: .pre
  script: [echo "SHADE=dark" > shade.env]
  artifacts: {reports: {dotenv: shade.env}}
make:
  script: [mkdir out, echo made-elsewhere > out/a.txt, echo "COLOUR=green" > made.env]
  artifacts: {paths: [out], reports: {dotenv: made.env}}
  environment: {name: colours, url: "https://$SHADE-$COLOUR.example"}
"""
FETCHER = """
use:
  needs: [{project: team/tools, job: make, ref: BRANCH, artifacts: true}]
  script: [cat out/a.txt, 'echo "it is <$COLOUR>"']
absent:
  needs: [{project: team/tools, job: make, ref: no-such-branch, artifacts: true}]
  script: [echo never]
optional:
  needs: [{pipeline: "123456789", job: make, optional: true}]
  script: [echo "without it"]
"""


def test_r10_3_a_job_fetches_files_of_another_projects_pipeline(running: TeamServer) -> None:
    since = running.head()
    branch = f"made-{since}"
    if "team/tools" not in running.trees:
        running.tree("team/tools", {"README.md": "tools\n"}, by="ana")
    running.commit("team/tools", {".gitlab-ci.yml": FETCHING}, by="ana", message="feat: make")
    taken, said = running.trees["team/tools"].push(branch, running.person("ana"))
    assert taken, said
    used = running.wait("the files", is_type("aegis.environment.used", project="team/tools"), since=since)
    assert used["data"]["environment"]["url"] == "https://dark-green.example"
    since = running.head()
    pipeline = FETCHER.replace("BRANCH", branch)
    commit = running.push("team/web", f"fetch-{since}", {".gitlab-ci.yml": pipeline}, by="ana", start="main")
    run = running.wait("the run", begun(commit, "push"), since=since)["data"]["run"]["id"]
    running.wait("its end", ended(run), since=since)
    assert states(running, run) == {"use": "success", "absent": "failed", "optional": "success"}
    log = running.as_("operator").trace(run, "use")[0].decode()
    assert "made-elsewhere" in log
    assert "it is <green>" in log
    why = running.as_("operator").trace(run, "absent")[0].decode()
    assert "needs the files of 'make' of team/tools at no-such-branch" in why


def test_r10_3_a_child_that_cannot_be_made_fails_its_trigger_and_says_why(running: TeamServer) -> None:
    since = running.head()
    files = {".gitlab-ci.yml": FAILING, "broken.yml": "job: {script: [true], stagee: x}\n"}
    running.push("team/web", "broken-child", files, by="ana", start="main")
    done = running.wait("the end", is_type("dev.cdevents.taskrun.finished"), since=since)
    job = done["data"]["job"]
    assert job["failure_reason"] == "downstream_pipeline_creation_failed"
    assert "broken.yml:1" in job["message"]


def test_r10_3_a_newer_commit_cancels_what_may_be_interrupted(running: TeamServer) -> None:
    pipeline = "long: {script: [sleep 60], interruptible: true}\n"
    since = running.head()
    first = running.push("team/web", "redundant", {".gitlab-ci.yml": pipeline}, by="ana", start="main")
    old = running.wait("the first", begun(first, "push"), since=since)["data"]["run"]["id"]
    running.wait("its job", is_type("dev.cdevents.taskrun.started"), since=since)
    second = running.push("team/web", "redundant", {".gitlab-ci.yml": "short: {script: ['true']}\n"}, by="ana")
    new = running.wait("the second", begun(second, "push"), since=since)["data"]["run"]["id"]
    old_end, new_end = running.wait_all("both ends", [ended(old), ended(new)], since=since)
    assert old_end["data"]["state"] == "canceled"
    assert new_end["data"]["state"] == "success"


def test_r10_3_a_job_releases_and_a_deleted_branch_is_followed_by_its_environments_stop_job(
    running: TeamServer,
) -> None:
    if "team/tools" not in running.trees:
        running.tree("team/tools", {"README.md": "tools\n"}, by="ana")
    running.commit("team/tools", {".gitlab-ci.yml": REVIEW}, by="ana", message="feat: be reviewed")
    since = running.head()
    taken, said = running.trees["team/tools"].push("reviewed", running.person("ana"))
    assert taken, said
    running.wait("the deployment", is_type("aegis.environment.used", project="team/tools"), since=since)
    made = running.wait("the release", is_type("aegis.release.published"), since=since)["data"]["release"]
    assert (made["tag"], made["description"], made["by"]) == ("reviewed-1", "Of reviewed", "ana")
    since = running.head()
    running.as_("ana").execute("delete-branch", {"project": "team/tools", "branch": "reviewed"})
    stopping = running.wait("its stop", is_type("aegis.environment.stopping"), since=since)
    assert (stopping["data"]["name"], stopping["data"]["reason"]) == ("review/reviewed", "reviewed was deleted")
    stopped = running.wait("its end", is_type("aegis.environment.used", project="team/tools"), since=since)
    assert (stopped["data"]["job"], stopped["data"]["ok"]) == ("stop", True)


@pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail)
def test_t9_3_jobs_reach_their_server_and_nothing_that_is_not_declared(running: TeamServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        pipeline = NETWORK.replace("OTHER", str(other.getsockname()[1]))
        since = running.head()
        commit = running.push("team/web", "network", {".gitlab-ci.yml": pipeline}, by="ana", start="main")
        run = running.wait("the run", begun(commit, "push"), since=since)["data"]["run"]["id"]
        running.wait("its end", ended(run), since=since)
    assert states(running, run) == {"registries": "success", "none": "success"}
    jobs = [one["job"] for one in running.as_("ana").get(f"runs/{run}")["jobs"]]
    assert {one["name"]: one["network"] for one in jobs} == {"registries": "registries", "none": "none"}
    found = running.as_("ana").get(f"runs/{run}/jobs/registries/trace/search", text="not-declared.example:443")
    assert "is not among the hosts that this job may reach" in json.dumps(found)


def test_r7_6_a_job_proves_who_it_is_by_a_token_that_anybody_can_check(running: TeamServer) -> None:
    pipeline = (
        "sign:\n  id_tokens: {CLOUD: {aud: https://cloud.example}}\n"
        "  script: ['test $(echo $CLOUD | tr -cd . | wc -c) = 2', 'echo token=$CLOUD']\n"
    )
    log = running.job_log("team/web", {".gitlab-ci.yml": pipeline}, "sign")
    assert "Job succeeded" in log
    assert "token=[MASKED]" in log
    document = httpx.get(f"{running.url}/.well-known/openid-configuration", trust_env=False).json()
    assert document["issuer"] == running.url
    keys = httpx.get(document["jwks_uri"], trust_env=False).json()["keys"]
    assert [(one["kty"], one["alg"]) for one in keys] == [("RSA", "RS256")]
    assert set(keys[0]) == {"kty", "use", "alg", "kid", "n", "e"}, "the public part alone"


IMAGES = """
make:
  stage: build
  script:
    - python3 -c "from images import *; layout(Path('tiny'), shell_layer(), config={'Env':['FLAVOUR=tiny']})"
    - aegis image push tiny --repository $CI_REGISTRY/quarantine/team/web/tiny --tag 1
inside:
  stage: test
  image: $CI_REGISTRY/quarantine/team/web/tiny:1
  script: [cat /etc/os-release, echo it is $FLAVOUR]
foreign:
  stage: test
  image: $CI_REGISTRY/quarantine/team/tools/tiny:1
  script: [echo never]
undeclared:
  stage: test
  image: python:3.12
  script: [echo never]
path:
  stage: test
  image: oci:tiny
  script: [echo never]
"""


@pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail)
def test_r10_3_jobs_run_in_images_of_their_own_project_and_in_no_others(running: TeamServer) -> None:
    since = running.head()
    files = {".gitlab-ci.yml": IMAGES, "images.py": (Path(__file__).parents[1] / "support" / "images.py").read_text()}
    commit = running.push("team/web", "in-images", files, by="ana", start="main")
    run = running.wait("the run", begun(commit, "push"), since=since)["data"]["run"]["id"]
    running.wait("its end", ended(run), since=since)
    found = states(running, run)
    log = running.as_("operator").trace(run, "inside")[0].decode()
    assert found["inside"] == "success", log + running.as_("operator").trace(run, "make")[0].decode()
    assert "ID=tiny\n" in log
    assert "it is tiny\n" in log
    for name, why in (("foreign", ""), ("undeclared", "no declared registry"), ("path", "takes no image from a path")):
        said = running.as_("operator").trace(run, name)[0].decode()
        assert (found[name], "never\n" in said) == ("failed", False)
        assert why in said


STAGE = """
workflow: {rules: [{if: $CI_COMMIT_BRANCH}]}
deploy: {script: [echo deployed], environment: {name: try/$CI_COMMIT_REF_SLUG, url: https://try.example, on_stop: stop}}
stop: {script: [echo stopped], when: manual, environment: {name: try/$CI_COMMIT_REF_SLUG, action: stop}}
ask: {script: ['echo to-$TARGET'], when: manual, needs: []}
"""


def test_r10_3_environments_of_jobs_are_listed_and_stopped_and_manual_jobs_played_from_the_command_line(
    running: TeamServer,
) -> None:
    def aegis(*words: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "aegis", *words, "--data", str(running.data), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, json.loads(done.stdout)

    if "team/tools" not in running.trees:
        running.tree("team/tools", {"README.md": "tools\n"}, by="ana")
    commit = running.commit("team/tools", {".gitlab-ci.yml": STAGE}, by="ana", message="feat: be tried")
    since = running.head()
    taken, said = running.trees["team/tools"].push("tried", running.person("ana"))
    assert taken, said
    running.wait("the deployment", is_type("aegis.environment.used", project="team/tools"), since=since)
    run = running.wait("its run", begun(commit, "push"), since=since)["data"]["run"]["id"]
    shown = [one for one in aegis("environment", "list", "team/tools")[1]["environments"] if one["name"] == "try/tried"]
    assert [(one["state"], one["url"], one["run"], one["stop_job"]) for one in shown] == [
        ("available", "https://try.example", run, "stop")
    ]
    assert aegis("environment", "show", "team/tools", "nowhere")[1]["error"]["code"] == "no-such-environment"

    since = running.head()
    assert aegis("play", run, "ask", "--var", "TARGET=here")[0] == 0
    done = running.wait("its end", is_type("dev.cdevents.taskrun.finished"), since=since)
    assert done["data"]["job"]["name"] == "ask"
    assert b"to-here" in running.as_("operator").trace(run, "ask")[0]

    since = running.head()
    assert aegis("environment", "stop", "team/tools", "try/tried", "--dry-run")[0] == 0
    assert aegis("environment", "stop", "team/tools", "try/tried", "--reason", "enough")[0] == 0
    stopped = running.wait("its stop", is_type("aegis.environment.used", project="team/tools"), since=since)
    assert (stopped["data"]["job"], stopped["data"]["ok"]) == ("stop", True)
    code, found = aegis("environment", "show", "team/tools", "try/tried")
    assert (code, found["state"], found["reason"]) == (0, "stopped", "enough")
