"""R6 Artifacts: what GitLab hosts is cleaned up by the same rules, with the same report, and never what is deployed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.gitlab_registry import Registry
from support.server import TeamServer, aegis

OLD, OLDER, OLDEST = "2021-03-01T10:00:00.000Z", "2021-02-01T10:00:00.000Z", "2021-01-01T10:00:00.000+00:00"


def digest(name: str) -> str:
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


@pytest.fixture
def instance(gitlab: Registry) -> Iterator[Registry]:
    yield gitlab
    for held in (gitlab.repositories, gitlab.tags, gitlab.packages, gitlab.files, gitlab.protected, gitlab.failing):
        held.clear()
    gitlab.asked.clear()
    gitlab.before = lambda _method, _path: None


def ask(server: TeamServer, *arguments: str, code: int = 0) -> dict[str, Any]:
    token = server.person("olga").token
    done = aegis("registry", "cleanup", "--gitlab", *arguments, "--url", server.url, "--json", AEGIS_TOKEN=token)
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def decided(found: dict[str, Any]) -> dict[str, tuple[bool, str]]:
    return {tag: (one["remove"], one["reason"]) for one in found["values"]["decisions"] for tag in one["tags"]}


def deployed(server: TeamServer) -> tuple[str, str]:
    """The image that runs in production and the package beside it, by digest."""
    release = server.cell("production")["release"]
    version, token = release.partition("@")[2], server.person("rita").token
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.head(f"{server.url}/v2/team/web/manifests/{version}", headers=headers, trust_env=False)
    return version, answer.headers["docker-content-digest"]


def test_a_dry_run_says_what_would_go_and_deletes_nothing(running: TeamServer, instance: Registry) -> None:
    version, image = deployed(running)
    instance.repository(
        "team/web", **{version: (image, OLDEST), "new": (digest("new"), OLD), "old": (digest("old"), OLDER)}
    )
    head = running.head()
    found = ask(running, "Team/Web", "--dry-run")
    said = decided(found)
    assert [one for one, (goes, _) in said.items() if goes] == ["old"]
    assert "is deployed in" in said[version][1]
    assert "one of the newest 1" in said["new"][1]
    assert all(reason for _, reason in said.values())
    assert (found["dry_run"], running.head(), set(instance.tags[1])) == (True, head, {version, "new", "old"})
    assert "DELETE" not in {method for method, _ in instance.asked}


def test_images_and_packages_go_by_the_declared_rules_and_are_recorded(running: TeamServer, instance: Registry) -> None:
    version, image = deployed(running)
    instance.repository(
        "team/web", new=(digest("new"), OLD), **{version: (image, OLDEST), f"{version}-again": (image, OLDEST)}
    )
    beside = f"{digest('old').replace(':', '-')}.sig"
    instance.repository(
        "team/web/tools", new=(digest("n"), OLD), old=(digest("old"), OLDER), undated=(digest("u"), None),
        **{beside: (digest("signature"), None)},
    )  # fmt: skip
    instance.package("team-tools", "1.0", OLDER, digest("a")[7:])
    instance.package("team-tools", "1.1", OLD, digest("b")[7:])
    instance.package("team-web", version, OLDEST, digest("other")[7:], image[7:])
    instance.package("team-web", "99", OLD)
    instance.package("team-web", "0.1", OLDEST, status="error")
    head = running.head()
    found = ask(running, "*")
    said = decided(found)
    assert sorted(one for one, (goes, _) in said.items() if goes) == sorted(["1.0", "old", beside])
    assert said["undated"] == (False, "GitLab tells no date of it")
    assert (set(instance.tags[1]), set(instance.tags[2])) == ({"new", version, f"{version}-again"}, {"new", "undated"})
    assert sorted(one["version"] for one in instance.packages.values()) == sorted(["0.1", "1.1", "99", version])
    (record,) = [one for one in running.ledger() if one["seq"] > head and one["type"] == "aegis.registry.cleaned"]
    host = instance.address.removeprefix("http://")
    removed = {(one["repository"], *one["tags"]) for one in record["data"]["images"]}
    assert (f"{host}/team/web/tools", "old") in removed
    assert (f"{host}/Team/Web/packages/pypi/team-tools", "1.0") in removed
    assert decided(ask(running, "*"))["1.1"][0] is False, "nothing is left to do the second time"


def test_what_moves_meanwhile_or_is_protected_stays_and_says_so(running: TeamServer, instance: Registry) -> None:
    tags = {f"t{number}": (digest(str(number)), OLDEST) for number in range(3)}
    instance.repository("team/web", new=(digest("new"), OLD), **tags)
    beside = f"{digest('1').replace(':', '-')}.sig"
    instance.tags[1][beside] = (digest("signature"), OLD)
    instance.protected |= {"t1"}
    looked = list[str]()

    def moving(_method: str, path: str) -> None:
        if path.endswith("/tags/t2"):
            looked.append(path)
            if len(looked) == 2:
                instance.tags[1]["t2"] = (digest("moved"), OLD)

    instance.before = moving
    said = decided(ask(running, "Team/Web"))
    assert said["t0"][0]
    assert "does not let it be deleted" in said["t1"][1]
    assert said[beside] == (False, f"belongs to {digest('1')}, which stays")
    assert "moved" in said["t2"][1]
    assert set(instance.tags[1]) == {"new", "t1", "t2", beside}


def test_a_failing_instance_is_an_error_and_what_went_before_is_recorded(
    running: TeamServer, instance: Registry
) -> None:
    instance.repository("team/web", new=(digest("new"), OLD), a=(digest("a"), OLDER), b=(digest("b"), OLDEST))
    instance.before = lambda method, path: (
        instance.failing.add("/tags/") if method == "DELETE" and path.endswith("a") else None
    )
    instance.failing.add("/package_files")
    head = running.head()
    assert ask(running, "Team/Web", code=6)["error"]["code"] == "gitlab-registry"
    assert "new" in instance.tags[1]
    instance.failing = {"registry/repositories/1/tags"}
    assert ask(running, "Team/Web", code=6)["error"]["code"] == "gitlab-registry"
    assert all(one["type"] == "aegis.registry.cleaned" for one in running.ledger() if one["seq"] > head)


def test_an_undeclared_project_is_not_found(running: TeamServer) -> None:
    assert ask(running, "team/other", code=4)["error"]["code"] == "unknown-hosted-registry"
