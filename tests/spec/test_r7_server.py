"""R7 on a running server: everything is in the ledger, and nothing goes further than it was allowed to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aegis.adapters.server_http import ServerClient
from aegis.core.errors import Conflict, Denied
from support.server import (
    DECLARATION,
    SERVER,
    TeamServer,
    finished,
    is_type,
    reports,
    team,
    trouble,
)

PROBE = """
import json, os, urllib.error, urllib.request

def ask(method, path, body=None):
    headers = {"Authorization": f"Bearer {os.environ['CI_JOB_TOKEN']}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(os.environ["AEGIS_URL"] + path, data=data, headers=headers, method=method)
    try:
        return urllib.request.urlopen(asked, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code

api = "/api/aegis/v1"
print("whoami", ask("GET", f"{api}/whoami"))
print("approve", ask("POST", f"{api}/verbs/approve", {"promotion": "web@0.1.0-production"}))
print("promote", ask("POST", f"{api}/verbs/promote", {"service": "web", "environment": "production"}))
print("token", ask("POST", f"{api}/verbs/issue-token", {"identity": "rita"}))
print("push-other", ask("POST", "/v2/quarantine/team/web/blobs/uploads/"))
print("push-released", ask("POST", "/v2/team/tools/blobs/uploads/"))
print("push-own", ask("POST", "/v2/quarantine/team/tools/blobs/uploads/"))
print("fetch-own", ask("GET", "/git/team/tools.git/info/refs?service=git-upload-pack"))
print("fetch-other", ask("GET", "/git/team/web.git/info/refs?service=git-upload-pack"))
print("fetch-platform", ask("GET", "/git/team/platform.git/info/refs?service=git-upload-pack"))
print("push-git", ask("GET", "/git/team/tools.git/info/refs?service=git-receive-pack"))
"""


def test_r7_5_a_job_token_reaches_its_own_project_and_decides_nothing(running: TeamServer) -> None:
    log = running.job_log(
        "team/tools", {".gitlab-ci.yml": "look: {script: [python3 probe.py]}\n", "probe.py": PROBE}, "look"
    )
    found = dict(line.split() for line in log.splitlines() if line.count(" ") == 1 and line.split()[1].isdigit())
    assert found["whoami"] == found["fetch-own"] == "200"
    assert found["push-own"] == "202"
    refused = {
        "approve",
        "promote",
        "token",
        "push-other",
        "push-released",
        "fetch-other",
        "fetch-platform",
        "push-git",
    }
    assert {name: found[name] for name in refused} == dict.fromkeys(refused, "403")


def test_r7_5_the_token_of_a_job_that_has_ended_opens_nothing(running: TeamServer) -> None:
    log = running.job_log(
        "team/tools",
        {
            ".gitlab-ci.yml": 'leak: {script: [\'python3 -c "import os; print(os.environ[\\"CI_JOB_TOKEN\\"][::-1])"\']}\n'
        },
        "leak",
    )
    token = next(line for line in log.splitlines() if line.count(".") >= 2 and " " not in line)[::-1]
    with ServerClient(running.url, token) as client, pytest.raises(Denied) as caught:
        client.get("whoami")
    assert caught.value.code == "unauthenticated"


def test_r7_5_a_push_to_a_protected_branch_is_refused_with_the_way_to_do_it(running: TeamServer) -> None:
    tree = running.tree("team/web")
    tree.branch("work", "main")
    running.commit("team/web", {}, by="ana", message="feat: straight to main")
    since = running.head()
    taken, said = tree.push("main", running.person("ana"))
    assert not taken
    assert "main is protected" in said
    assert "git push -o merge_request.create -o merge_request.target=main" in said
    assert "Traceback" not in said
    denied = running.wait("the denial", is_type("aegis.access.denied"), since=since)
    assert denied["actor"] == "ana"
    assert denied["data"]["verb"] == "push"


def test_r7_4_what_was_refused_is_in_the_ledger_with_who_and_why(running: TeamServer) -> None:
    since = running.head()
    with pytest.raises(Denied):
        running.as_("ana").execute("issue-token", {"identity": "rita"})
    denied = running.wait("the denial", is_type("aegis.access.denied"), since=since)
    assert denied["actor"] == "ana"
    assert denied["data"]["verb"] == "issue-token"
    assert "rita" in denied["data"]["resource"]


def test_r7_4_every_step_of_a_change_is_in_the_ledger_and_names_its_actor(running: TeamServer) -> None:
    records = running.ledger()
    kinds = {one["type"] for one in records}
    assert {
        "aegis.change.pushed", "dev.cdevents.pipelinerun.queued", "dev.cdevents.taskrun.finished",
        "dev.cdevents.artifact.published", "aegis.evidence.recorded", "aegis.verdict.given",
        "aegis.artifact.released", "aegis.release.created", "aegis.promotion.proposed", "aegis.promotion.approved",
        "aegis.promotion.committed", "dev.cdevents.service.deployed", "aegis.promotion.finished",
        "aegis.token.issued", "aegis.policy.adopted", "aegis.server.started",
    } <= kinds  # fmt: skip
    assert all(one["actor"] for one in records)
    assert [one["seq"] for one in records] == list(range(1, len(records) + 1))
    running.verify()


def test_r7_4_no_token_is_in_the_ledger_or_in_the_servers_words(running: TeamServer) -> None:
    text = json.dumps(running.ledger()) + running.log
    for person in running.people.values():
        assert person.token not in text


def test_a_merge_requests_note_is_updated_and_never_repeated(running: TeamServer) -> None:
    since = running.head()
    running.push("team/web", "note", reports(covered=5), by="ana", start="main")
    opened = running.as_("ana").execute(
        "open-merge-request", {"project": "team/web", "source": "note", "target": "main", "title": "Note"}
    )
    number, subject = opened["values"]["number"], opened["subject"]
    first = running.wait("the note", is_type("aegis.merge-request.noted", subject=subject), since=since)
    assert "coverage" in first["data"]["body"]
    with pytest.raises(Conflict) as caught:
        running.as_("ben").execute("merge", {"project": "team/web", "number": number})
    assert caught.value.hint
    tree = running.tree("team/web")
    running.commit("team/web", reports(), by="ana", message="test: cover it")
    taken, said = tree.push("note", running.person("ana"))
    assert taken, said
    second = running.wait("the note", is_type("aegis.merge-request.noted", subject=subject), since=first["seq"])
    view = running.as_("ben").get(f"merge-requests/team/web/{number}", min_seq=second["seq"])
    assert view["note"] == second["data"]["body"] != first["data"]["body"]
    running.as_("ana").execute("close", {"project": "team/web", "number": number})


def test_a_plan_that_is_no_longer_what_was_shown_is_refused_and_voided(running: TeamServer) -> None:
    since = running.head()
    running.push("team/web", "main", {"src/web/__main__.py": SERVER.replace("VERSION = 1", "VERSION = 'before'")})
    assert running.in_production(since=since)["data"]["ok"]
    since = running.head()
    running.push("team/web", "main", {"src/web/__main__.py": SERVER.replace("VERSION = 1", "VERSION = 'stale'")})
    shown = running.proposed(since=since)["data"]["promotion"]
    asked = running.as_("ben").execute("rollback", {"service": "web", "environment": "production"})
    running.wait("the way back", finished(asked["values"]["promotion"], ok=True), since=since)
    with pytest.raises(Conflict) as caught:
        running.as_("rita").execute("approve", {"promotion": shown["id"], "plan_hash": shown["plan_hash"]})
    assert caught.value.code == "plan-stale"
    assert caught.value.hint
    voided = running.wait("the end", is_type("aegis.promotion.voided", subject=f"promotion/{shown['id']}"), since=since)
    assert voided["data"]["why"] == "stale"


def test_a_declaration_that_is_pushed_is_in_force_and_expired_approvals_are_refused(tmp_path: Path) -> None:
    with team(tmp_path / "server") as server:
        server.tree("team/platform", {"aegis.yaml": DECLARATION})
        assert server.tree("team/platform").push("main", server.person("olga"))[0]
        since = server.head()
        server.push("team/platform", "main", {"aegis.yaml": DECLARATION.replace("expires: 24h", "expires: 1s")})
        adopted = server.wait("the policy", is_type("aegis.policy.adopted"), since=since, unless=trouble)
        assert "team/platform@" in adopted["data"]["source"]
        server.service()
        promotion = server.proposed()["data"]["promotion"]
        voided = server.wait("the end", is_type("aegis.promotion.voided", subject=f"promotion/{promotion['id']}"))
        assert voided["data"]["why"] == "expired"
        with pytest.raises(Conflict) as caught:
            server.as_("rita").execute("approve", {"promotion": promotion["id"]})
        assert caught.value.code in ("approval-expired", "already-decided")
        since = server.head()
        server.push("team/platform", "main", {"aegis.yaml": DECLARATION + "surprise: true\n"})
        failed = server.wait("the refusal", is_type("aegis.action.failed", subject="policy"), since=since)
        assert "surprise" in failed["data"]["message"]
        since = server.head()
        server.push("team/platform", "main", {"aegis.yaml": DECLARATION})
        server.wait("the policy", is_type("aegis.policy.adopted"), since=since)
        asked = server.as_("ben").execute("promote", {"service": "web", "environment": "production"})
        server.as_("rita").execute("approve", {"promotion": asked["values"]["promotion"]})
        assert server.wait("production", finished(asked["values"]["promotion"]), since=since)["data"]["ok"]
        looks_up_again_what_was_released(server)


def looks_up_again_what_was_released(server: TeamServer) -> None:
    """An advisory is pushed that names a package of the image; the policy stops such promotions."""
    since, release = server.head(), server.as_("ana").get("releases", service="web")[-1]["id"]
    affected = {
        "package": {"ecosystem": "PyPI", "name": "web"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
    }
    vector = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}
    advisory = {"id": "CVE-2026-1", "modified": "2026-01-02T03:04:05Z", "affected": [affected], "severity": [vector]}
    rules = DECLARATION.replace("{not_found: warn}", "{not_found: warn, advisories: known, released: block}")
    server.push("team/platform", "main", {"aegis.yaml": rules, "known/CVE-2026-1.json": json.dumps(advisory)})
    told = server.wait("the finding", is_type("aegis.action.failed", subject=f"rescan/{release}"), since=since)
    assert told["data"]["code"] == "vulnerable"
    dossier = server.as_("ana").get(f"releases/{release}/dossier", min_seq=told["seq"])
    assert dossier["findings"] == ["critical web CVE-2026-1"]
    with pytest.raises(Denied) as caught:
        server.as_("ben").execute("promote", {"service": "web", "environment": "production", "release": release})
    assert caught.value.code == "vulnerable"
    assert server.cell("production")["state"] == "healthy"
