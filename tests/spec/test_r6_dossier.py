"""R6.5 on a running server: everything about a release, by its name and by its artifact's digest, and two compared."""

from __future__ import annotations

import json
from typing import Any

from support.server import TeamServer, aegis


def test_r6_5_everything_about_a_release_is_told_by_name_and_by_digest(running: TeamServer) -> None:
    client = running.as_("ana")
    release = client.get("releases", service="web")[-1]
    told = client.get(f"releases/{release['id']}/dossier")
    assert told["commit"] == release["commit"]
    assert {one["name"] for one in told["jobs"]} == {"checks", "build-image"}
    assert told["figures"]["tests"]["passed"] == "3"
    assert told["figures"]["coverage"]["lines"] == "100.0 %"
    image = told["image"]
    assert image["trusted"] == "yes"
    assert image["attested"] == ["https://cyclonedx.org/bom", "https://slsa.dev/provenance/v1"]
    assert {"name": "web", "version": "0.1.0"}.items() <= image["packages"][0].items()
    assert release["version"] in image["tags"]
    assert client.get(f"releases/{image['digest']}/dossier") == told


def said(running: TeamServer, *arguments: str) -> dict[str, Any]:
    done = aegis(*arguments, "--json", AEGIS_URL=running.url, AEGIS_TOKEN=running.person("ana").token)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_r6_5_two_releases_are_compared(running: TeamServer) -> None:
    release = running.as_("ana").get("releases", service="web")[-1]
    found = said(running, "release", "compare", release["id"], release["id"])
    assert found["schema"] == "aegis.release-compare/1"
    assert found["same"]
    shown = said(running, "release", "show", release["artifacts"][0]["digest"])
    assert shown["release"]["id"] == release["id"]
    key = said(running, "image", "key")
    assert "BEGIN PUBLIC KEY" in key["public_key"]
    assert json.dumps(key["public_key"]) in json.dumps(said(running, "image", "policy"))
