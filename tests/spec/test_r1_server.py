"""R1 on a running server: pushes start pipelines, and images leave quarantine by a verdict alone."""

from __future__ import annotations

import itertools

import httpx

from support.server import Person, TeamServer, is_type, moment, reports
from support.speed import best

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def pulled(server: TeamServer, repository: str, reference: str, who: Person) -> int:
    """The HTTP status of pulling a manifest."""
    answer = httpx.get(
        f"{server.url}/v2/{repository}/manifests/{reference}",
        auth=(who.id, who.token), headers={"Accept": MANIFEST}, trust_env=False,
    )  # fmt: skip
    return answer.status_code


def test_r1_1_a_push_starts_its_pipeline_within_a_second(running: TeamServer) -> None:
    numbers = itertools.count()

    def begun() -> float:
        since = running.head()
        branch = f"quick-{next(numbers)}"
        commit = running.push("team/web", branch, {"job.sh": "true\n"}, by="ana", start="main")
        pushed, job, _ = running.wait_all(
            "a job",
            [is_type("aegis.change.pushed"), is_type("dev.cdevents.taskrun.started"), is_type("aegis.verdict.given")],
            since=since,
        )
        assert pushed["data"]["change"]["commit"] == commit
        assert pushed["actor"] == "ana"
        return (moment(job) - moment(pushed)).total_seconds()

    assert best(1.0, begun) <= 1.0


def test_r1_5_an_image_leaves_quarantine_when_every_check_has_passed(running: TeamServer) -> None:
    since = running.head()
    running.push("team/web", "develop", {"src/web/more.py": "A = 1\n", **reports(covered=9)}, by="ana")
    made, verdict, out = running.wait_all(
        "the release",
        [
            is_type("dev.cdevents.artifact.published"),
            is_type("aegis.verdict.given"),
            is_type("aegis.artifact.released"),
        ],
        since=since,
    )
    artifact = made["data"]["artifact"]
    assert artifact["quarantined"]
    assert artifact["repository"] == "quarantine/team/web"
    assert verdict["data"]["verdict"]["outcome"] in ("pass", "warn")
    assert out["data"]["digest"] == artifact["digest"]
    assert out["data"]["repository"] == "team/web"
    assert made["seq"] < verdict["seq"] < out["seq"]
    assert pulled(running, "team/web", artifact["digest"], running.person("ben")) == 200


def test_r1_5_an_image_whose_run_was_blocked_stays_in_quarantine(running: TeamServer) -> None:
    since = running.head()
    running.push("team/web", "develop", {"src/web/less.py": "B = 1\n", **reports(covered=7)}, by="ana")
    made, verdict = running.wait_all(
        "the verdict", [is_type("dev.cdevents.artifact.published"), is_type("aegis.verdict.given")], since=since
    )
    assert verdict["data"]["verdict"]["outcome"] == "block"
    reasons = verdict["data"]["verdict"]["reasons"]
    assert any(one["gate"] == "coverage" and one["outcome"] == "block" and one["mend"] for one in reasons)
    digest = made["data"]["artifact"]["digest"]
    since = running.head()
    running.push("team/web", "develop", {"src/web/less.py": "B = 2\n", **reports()}, by="ana")
    running.wait("the next release", is_type("aegis.release.created"), since=since)
    assert not [one for one in running.ledger() if one["type"] == "aegis.artifact.released" and digest in str(one)]
    assert pulled(running, "team/web", digest, running.person("ben")) == 404


def test_r1_5_nobody_deploys_from_quarantine(running: TeamServer) -> None:
    made = next(one for one in running.ledger() if one["type"] == "dev.cdevents.artifact.published")
    digest = made["data"]["artifact"]["digest"]
    token = running.as_("operator").execute("issue-token", {"identity": "olga", "kind": "deploy"})["values"]["token"]
    machine = Person(id="olga", token=token)
    assert pulled(running, "team/web", digest, machine) == 200
    assert pulled(running, "quarantine/team/web", digest, machine) == 403


def test_r1_5_a_job_of_another_project_sees_neither_the_image_nor_its_quarantine(running: TeamServer) -> None:
    probe = (
        "import os, urllib.request, urllib.error, base64\n"
        "login = base64.b64encode(f'job:{os.environ[\"CI_JOB_TOKEN\"]}'.encode()).decode()\n"
        "for name in ('quarantine/team/web', 'team/web', 'quarantine/team/tools'):\n"
        "    url = f\"{os.environ['AEGIS_URL']}/v2/{name}/tags/list\"\n"
        "    asked = urllib.request.Request(url, headers={'Authorization': f'Basic {login}'})\n"
        "    try:\n"
        "        print(name, urllib.request.urlopen(asked).status)\n"
        "    except urllib.error.HTTPError as error:\n"
        "        print(name, error.code)\n"
    )
    log = running.job_log(
        "team/tools", {".gitlab-ci.yml": "look: {script: [python3 look.py]}\n", "look.py": probe}, "look"
    )
    assert "quarantine/team/web 403" in log
    assert "\nteam/web 403" in log
    assert "quarantine/team/tools 404" in log
