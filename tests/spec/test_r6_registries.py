"""R6 Artifacts on a running server: who may pull what, with which token, and what its upkeep leaves and finds."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import httpx
import pytest

from support.server import TeamServer, aegis


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def docker_token(server: TeamServer, token: str, *scopes: str) -> str:
    answer = httpx.get(
        f"{server.url}/v2/token", params=[("scope", one) for one in scopes], auth=("x", token), trust_env=False
    )
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["token"]
    return found


def status(server: TeamServer, path: str, token: str, method: str = "GET") -> int:
    return httpx.request(method, f"{server.url}/v2/{path}", headers=bearer(token), trust_env=False).status_code


def deployed(server: TeamServer) -> str:
    found: str = server.cell("production")["release"].partition("@")[2]
    return found


def command(server: TeamServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return aegis("registry", *arguments, "--url", server.url, "--json", AEGIS_TOKEN=server.person("olga").token)


def read(server: TeamServer, *arguments: str) -> dict[str, Any]:
    done = command(server, *arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_scoped_token_reaches_what_it_was_made_for_and_no_more(running: TeamServer) -> None:
    person, version = running.person("rita").token, deployed(running)
    token = docker_token(running, person, "repository:team/web:pull,push", "repository:team/other:pull")
    assert status(running, f"team/web/manifests/{version}", token) == 200
    assert status(running, "team/web/blobs/uploads/", token, "POST") == 403
    narrow = docker_token(running, person, "repository:team/other:pull")
    answer = httpx.get(f"{running.url}/v2/team/web/manifests/{version}", headers=bearer(narrow), trust_env=False)
    assert answer.status_code == 401
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
    assert status(running, f"team/web/manifests/{version}", token[:-2] + "xx") == 401
    assert httpx.get(f"{running.url}/api/aegis/v1/home", headers=bearer(token), trust_env=False).status_code in (
        401,
        403,
    )


def test_a_scoped_token_dies_with_the_token_it_was_made_from(running: TeamServer) -> None:
    made = running.as_("operator").execute("issue-token", {"identity": "ben"})["values"]
    token = docker_token(running, made["token"], "repository:team/web:pull")
    assert status(running, f"team/web/manifests/{deployed(running)}", token) == 200
    running.as_("operator").execute("revoke-token", {"token": made["id"]})
    assert status(running, f"team/web/manifests/{deployed(running)}", token) == 401


def test_a_deployment_token_pulls_what_was_released_and_nothing_from_quarantine(running: TeamServer) -> None:
    made = running.as_("operator").execute("issue-token", {"identity": "operator", "kind": "deploy"})["values"]["token"]
    scopes = ("repository:team/web:pull", "repository:quarantine/team/web:pull")
    for token in (made, docker_token(running, made, *scopes)):
        assert status(running, f"team/web/manifests/{deployed(running)}", token) == 200
        assert status(running, "quarantine/team/web/tags/list", token) in (401, 403)


def test_r6_4_a_clean_up_by_policy_explains_each_decision_and_leaves_what_is_deployed(running: TeamServer) -> None:
    head = running.head()
    found = read(running, "cleanup", "--dry-run")
    reasons = {tag: one["reason"] for one in found["values"]["decisions"] for tag in one["tags"]}
    assert "is deployed in" in reasons[deployed(running)]
    assert all(one["reason"] for one in found["values"]["decisions"])
    assert (found["dry_run"], running.head()) == (True, head)
    read(running, "cleanup")
    token = running.person("rita").token
    assert status(running, f"team/web/manifests/{deployed(running)}", token) == 200


def test_the_upkeep_is_an_administrators(running: TeamServer) -> None:
    done = aegis("registry", "cleanup", "--url", running.url, "--json", AEGIS_TOKEN=running.person("ana").token)
    assert done.returncode == 3


@pytest.mark.usefixtures("running")
def test_scrubbing_finds_a_flipped_blob_and_a_pull_is_refused(running: TeamServer) -> None:
    token = docker_token(running, running.person("rita").token, "repository:team/web:pull")
    address = f"{running.url}/v2/team/web/"
    layers = httpx.get(f"{address}manifests/{deployed(running)}", headers=bearer(token), trust_env=False).json()[
        "layers"
    ]
    digest = min(layers, key=lambda one: one["size"])["digest"]
    name = digest.removeprefix("sha256:")
    path = running.data / "blobs" / "sha256" / name[:2] / name
    whole = path.read_bytes()
    assert read(running, "scrub")["damaged"] == []
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        done = command(running, "scrub")
        assert done.returncode == 1
        assert json.loads(done.stdout)["damaged"] == [digest]
        answer = httpx.get(f"{address}blobs/{digest}", headers=bearer(token), trust_env=False)
        assert answer.status_code == 503
        assert any(one["subject"] == f"blob/{digest}" for one in running.ledger())
    finally:
        path.write_bytes(whole)
    assert read(running, "scrub")["damaged"] == []
    assert httpx.get(f"{address}blobs/{digest}", headers=bearer(token), trust_env=False).content == whole


def test_retention_says_what_it_would_delete(running: TeamServer) -> None:
    assert read(running, "retention", "--dry-run")["dry_run"]
    assert "logs: 0 files" in read(running, "retention")["message"]
