"""R2 and R3 on a running server: branches feed environments, failures go back by a commit, people decide."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from aegis.core.errors import Conflict, Denied
from support.git_server import git
from support.server import SERVER, Record, TeamServer, finished, is_type, moment


def gitops_log(server: TeamServer) -> str:
    """The messages of the GitOps repository, read as anybody reads a Git repository."""
    token = server.person("ben").token
    path = server.root / "gitops"
    if path.exists():
        git("fetch", "-q", "origin", at=path)
    else:
        name = next(one for one in ("team/gitops", "aegis/gitops") if (server.data / "git" / f"{one}.git").exists())
        url = f"http://git:{token}@127.0.0.1:{server.port}/git/{name}.git"
        git("clone", "-q", "--bare", url, str(path), at=server.root)
        git("config", "remote.origin.fetch", "+refs/heads/*:refs/heads/*", at=path)
    return git("log", "main", at=path).stdout


def text_of(server: TeamServer, environment: str) -> object:
    """What the service says in an environment."""
    return httpx.get(server.cell(environment)["url"], trust_env=False).json()["text"]


def cell_at(server: TeamServer, environment: str, record: Record) -> dict[str, Any]:
    """The service in an environment at the time of a record."""
    cells = server.as_("operator").get("at", time=record["at"])["cells"]
    found: dict[str, Any] = next(one for one in cells if (one["service"], one["environment"]) == ("web", environment))
    return found


def changed(text: str, **more: str) -> dict[str, str]:
    """The service, saying `text`."""
    code = SERVER.replace("VERSION = 1", f"VERSION = {text!r}")
    for name, value in more.items():
        code = code.replace({"crashes": "CRASHES = False"}[name], value)
    return {"src/web/__main__.py": code}


def test_r3_1_a_push_to_develop_is_deployed_to_development(running: TeamServer) -> None:
    since = running.head()
    commit = running.push("team/web", "develop", changed("three one"), by="ana")
    release, ended = running.wait_all(
        "development",
        [is_type("aegis.release.created"), is_type("aegis.promotion.finished", environment="development")],
        since=since,
    )
    assert ended["data"]["ok"]
    assert release["data"]["release"]["commit"] == commit
    assert text_of(running, "development") == "three one"
    assert running.cell("development")["commit"] == commit
    assert text_of(running, "production") != "three one"


def test_r2_4_a_failed_deployment_goes_back_by_a_commit_and_is_quarantined(running: TeamServer) -> None:
    since = running.head()
    before = running.cell("development")["release"]
    running.push("team/web", "develop", changed("dead", crashes="CRASHES = True"), by="ana")
    release, back, quarantined, ended = running.wait_all(
        "the way back",
        [
            is_type("aegis.release.created"),
            is_type("dev.cdevents.service.rolledback", environment="development"),
            is_type("aegis.artifact.quarantined"),
            is_type("aegis.promotion.finished", environment="development"),
        ],
        since=since,
    )
    bad = release["data"]["release"]
    assert not ended["data"]["ok"]
    assert "cannot go on" in ended["data"]["reason"]
    assert (back["data"]["from_release"], back["data"]["to_release"]) == (bad["id"], before)
    assert quarantined["data"]["digest"] == bad["artifacts"][0]["digest"]
    log = gitops_log(running)
    assert back["data"]["commit"] in log
    assert "Aegis-Reverts: " + bad["id"] in log
    assert running.cell("development")["release"] == before
    assert httpx.get(running.cell("development")["url"], trust_env=False).json()["release"] == before
    with pytest.raises(Denied) as caught:
        running.as_("ben").execute("promote", {"service": "web", "environment": "development", "release": bad["id"]})
    assert caught.value.code == "quarantined"
    running.push("team/web", "develop", changed("alive again"), by="ana")
    running.wait("development", is_type("aegis.promotion.finished", environment="development"), since=ended["seq"])


def to_staging(server: TeamServer, text: str) -> int:
    """A change by Ana, merged to main by Ben; the sequence number before it."""
    since = server.head()
    branch = text.replace(" ", "-")
    server.push("team/web", branch, changed(text), by="ana", start="main")
    opened = server.as_("ana").execute(
        "open-merge-request", {"project": "team/web", "source": branch, "target": "main", "title": text}
    )
    number = opened["values"]["number"]
    server.wait(
        "the note", is_type("aegis.merge-request.noted", subject=f"merge-request/team/web/{number}"), since=since
    )
    server.as_("ben").execute("merge", {"project": "team/web", "number": number})
    return since


def test_r3_2_a_merge_is_deployed_to_staging_where_the_end_to_end_tests_run(running: TeamServer) -> None:
    since = to_staging(running, "three two")
    merged, deployed, tested, proposed = running.wait_all(
        "staging",
        [
            is_type("dev.cdevents.change.merged"),
            is_type("aegis.promotion.finished", environment="staging"),
            is_type("aegis.evidence.recorded", environment="staging"),
            is_type("aegis.promotion.proposed", environment="production"),
        ],
        since=since,
    )
    assert merged["data"]["merged_by"] == "ben"
    assert deployed["data"]["ok"]
    assert tested["data"]["evidence"]["summary"]["result"] == "pass"
    assert merged["seq"] < deployed["seq"] < tested["seq"] < proposed["seq"]
    assert text_of(running, "staging") == "three two"
    running.as_("rita").execute("reject", {"promotion": proposed["data"]["promotion"]["id"], "comment": "not today"})


def test_r3_2_a_release_whose_end_to_end_tests_fail_is_not_proposed(running: TeamServer) -> None:
    since = running.head()
    running.push("team/web", "main", {**changed("e2e red"), "e2e.sh": "echo no; exit 1\n"})
    tested = running.wait("the tests", is_type("aegis.evidence.recorded", environment="staging"), since=since)
    assert tested["data"]["evidence"]["summary"]["result"] == "fail"
    since = running.head()
    running.push("team/web", "main", {"e2e.sh": "true\n"})
    proposed = running.proposed(since=since)
    failed = tested["subject"].partition("/")[2]
    assert proposed["data"]["promotion"]["release"] != failed
    offered = [one for one in running.ledger() if one["type"] == "aegis.promotion.proposed"]
    assert not [
        one for one in offered if one["environment"] == "production" and one["data"]["promotion"]["release"] == failed
    ]
    running.as_("rita").execute("reject", {"promotion": proposed["data"]["promotion"]["id"]})


def test_r3_3_production_takes_the_yes_of_another_person_than_the_author(running: TeamServer) -> None:
    since = to_staging(running, "three three")
    promotion = running.proposed(since=since)["data"]["promotion"]
    approval = {"promotion": promotion["id"], "plan_hash": promotion["plan_hash"]}
    with pytest.raises(Denied) as caught:
        running.as_("ana").execute("approve", approval)
    assert caught.value.code == "self-approval"
    assert "ana pushed or merged" in caught.value.message
    with pytest.raises(Denied):
        running.as_("ben").execute("approve", approval)
    with pytest.raises(Denied):
        running.as_("operator").execute("approve", approval)
    assert text_of(running, "production") != "three three"
    with pytest.raises(Conflict) as stale:
        running.as_("rita").execute("approve", {**approval, "plan_hash": "sha256:" + "0" * 64})
    assert stale.value.code == "plan-stale"
    running.as_("rita").execute("approve", approval)
    ended = running.wait("production", finished(promotion["id"]), since=since)
    assert ended["data"]["ok"]
    assert text_of(running, "production") == "three three"
    assert running.cell("production")["digest"] == running.cell("staging")["digest"]
    refused = [
        one
        for one in running.ledger()
        if one["type"] == "aegis.promotion.approval-refused" and one["subject"] == f"promotion/{promotion['id']}"
    ]
    assert refused[0]["data"]["code"] == "self-approval"


def test_r3_3_the_emergency_path_is_shorter_and_marked_for_review(running: TeamServer) -> None:
    since = to_staging(running, "urgent")
    ordinary = running.proposed(since=since)["data"]["promotion"]
    asked = running.as_("olga").execute(
        "promote",
        {"service": "web", "environment": "production", "release": ordinary["release"],
         "emergency": True, "reason": "checkout is down"},
    )  # fmt: skip
    promotion = asked["values"]["promotion"]
    with pytest.raises(Denied):  # on call, but he merged it
        running.as_("ben").execute("approve", {"promotion": promotion})
    running.as_("rita").execute("approve", {"promotion": promotion, "plan_hash": asked["values"]["plan_hash"]})
    approved, ended = running.wait_all(
        "production",
        [is_type("aegis.promotion.approved", subject=f"promotion/{promotion}"), finished(promotion)],
        since=since,
    )
    assert approved["data"]["review_required"]
    assert ended["data"]["ok"]
    view = running.as_("rita").get(f"promotions/{promotion}")
    assert view["review_required"]
    assert view["promotion"]["reason"] == "checkout is down" or view["promotion"]["emergency"]


def test_r6_3_an_earlier_version_is_back_at_once(running: TeamServer) -> None:
    since = to_staging(running, "six three")
    promotion = running.proposed(since=since)["data"]["promotion"]
    running.as_("rita").execute("approve", {"promotion": promotion["id"]})
    running.wait("production", finished(promotion["id"], ok=True), since=since)
    previous = running.cell("production")["previous"]
    since = running.head()
    asked = running.as_("ben").execute(
        "rollback", {"service": "web", "environment": "production", "reason": "customers complain"}
    )
    proposed, ended = running.wait_all(
        "the way back",
        [
            is_type("aegis.promotion.proposed", environment="production"),
            finished(asked["values"]["promotion"]),
        ],
        since=since,
    )
    assert ended["data"]["ok"]
    assert proposed["data"]["promotion"]["release"] == previous
    now = httpx.get(running.cell("production")["url"], trust_env=False).json()
    assert now["release"] == previous
    assert now["text"] != "six three"
    assert (moment(ended) - moment(proposed)).total_seconds() <= 10
    # What ran, since when and why is told of any time as it was told then.
    told, then = running.cell("production"), cell_at(running, "production", ended)
    for field in ("release", "version", "commit", "digest", "since", "why", "promotion"):
        assert then[field] == told[field], field
    assert cell_at(running, "production", proposed)["release"] == promotion["release"]
