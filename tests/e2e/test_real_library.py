"""T1.1 as its users go through it: a library on a live server, from a branch's pre-release to a release that is yanked and let back.

Everything goes through Git, `aegis` as a command, pip's index and the portal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from support.server import DECLARATION, PIPELINE, TeamServer, aegis, reports, team, trouble

pytestmark = pytest.mark.real

PROJECT = """[build-system]
requires = ["setuptools>=70"]
build-backend = "setuptools.build_meta"

[project]
name = "team-tools"
description = "Tools."
dynamic = ["version"]
"""
LOCK = f"h11==0.16.0 --hash=sha256:{'1' * 64}\n"
JOB = "\nwheel:\n  stage: build\n  script: [aegis wheel build --publish]\n"
INDEXES = '    team: {own: ["team-*"]}\n    staging: {own: ["team-*"]}\n    public: {own: ["team-*"]}\n'
SDIST, WHEEL = "team_tools-{}.tar.gz", "team_tools-{}-py3-none-any.whl"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    declaration = DECLARATION.replace('    team: {own: ["team-*"]}\n', INDEXES)
    declaration = declaration.replace("kind: library, index: team", "kind: library, index: team, prereleases: staging")
    with team(tmp_path_factory.mktemp("library") / "server", declaration) as made:
        yield made


def released(server: TeamServer, since: int) -> dict[str, Any]:
    record = server.wait(
        "the release", lambda one: one["type"] == "aegis.release.created" and one["project"] == "team/tools",
        since=since, seconds=180.0, unless=trouble,
    )  # fmt: skip
    release: dict[str, Any] = record["data"]["release"]
    return release


def said(server: TeamServer, *arguments: str, by: str = "olga") -> Any:
    done = aegis(*arguments, "--json", AEGIS_URL=server.url, AEGIS_TOKEN=server.person(by).token)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def served(server: TeamServer, index: str) -> dict[str, Any]:
    """What installers see of the library in an index: files, and whether each is yanked."""
    answer = httpx.get(
        f"{server.url}/pypi/{index}/simple/team-tools/", auth=("ana", server.person("ana").token), trust_env=False,
        headers={"Accept": "application/vnd.pypi.simple.v1+json"}, timeout=60.0,
    )  # fmt: skip
    return {one["filename"]: one["yanked"] for one in answer.json()["files"]} if answer.is_success else {}


def gitlab(server: TeamServer, path: str) -> httpx.Response:
    """The repository as GitLab's API shows it."""
    return httpx.get(
        f"{server.url}/api/v4/projects/team%2Ftools/repository/{path}", trust_env=False,
        headers={"PRIVATE-TOKEN": server.person("ana").token}, timeout=60.0,
    )  # fmt: skip


def test_t1_1_a_library_from_a_branch_to_its_index_and_back(server: TeamServer) -> None:
    since = server.head()
    files = {
        ".gitlab-ci.yml": PIPELINE + JOB,
        "job.sh": "true\n",
        "pyproject.toml": PROJECT,
        "src/team_tools/__init__.py": "",
    }
    tree = server.tree("team/tools", {**files, **reports()})
    taken, told = tree.push("main", server.person("olga"))
    assert taken, told
    first = released(server, since)
    assert first["id"] == "tools@0.1.0"
    assert set(served(server, "team")) == {SDIST.format("0.1.0"), WHEEL.format("0.1.0")}

    # A branch's pre-release goes to the staging index, without tag and entry.
    since = server.head()
    server.push("team/tools", "develop", {"src/team_tools/more.py": "MORE = 1\n"}, message="feat: more", start="main")
    before = released(server, since)
    assert before["version"].startswith("0.2.0-dev.")
    version = before["version"].replace("-dev.", ".dev")
    assert set(served(server, "staging")) == {SDIST.format(version), WHEEL.format(version)}
    assert set(served(server, "team")) == {SDIST.format("0.1.0"), WHEEL.format("0.1.0")}

    # Its commits on the release branch make the release: version, tag, CHANGELOG by kind.
    since = server.head()
    needing = {"pyproject.toml": f'{PROJECT}dependencies = ["h11"]\n', "requirements.lock": LOCK}
    server.commit("team/tools", {"src/team_tools/more.py": "MORE = 2\n", **needing}, by="olga", message="fix: less")
    taken, told = tree.push("main", server.person("olga"))
    assert taken, told
    second = released(server, since)
    assert second["id"] == "tools@0.2.0"
    tags = {one["name"]: one["commit"]["id"] for one in gitlab(server, "tags").json()}
    assert tags == {"v0.1.0": first["commit"], "v0.2.0": second["commit"]}
    changelog = gitlab(server, "files/CHANGELOG.md/raw?ref=main").text
    assert second["changelog"].strip() in changelog
    assert changelog.index("0.2.0") < changelog.index("Features") < changelog.index("Fixes") < changelog.index("0.1.0")
    assert "dev" not in changelog

    # Promotion to where others install from: the same bytes.
    wheel = WHEEL.format("0.2.0")
    said(server, "wheel", "promote", wheel, "--from", "team", "--to", "public")
    assert served(server, "public") == {wheel: False}

    # Yank and back, each told by the release's page.
    said(server, "wheel", "yank", "public", wheel, "--reason", "loses orders")
    assert served(server, "public") == {wheel: "loses orders"}
    shown = said(server, "release", "show", "tools@0.2.0", by="ana")
    found = {(one["index"], one["filename"]): one["yanked"] for one in shown["dossier"]["files"]}
    assert found[("public", wheel)] == "loses orders"
    assert found[("team", wheel)] is None
    said(server, "wheel", "yank", "public", wheel, "--back")
    assert served(server, "public") == {wheel: False}

    # Everything by name and by digest, and two of them compared.
    digest = next(one["digest"] for one in second["artifacts"] if one["filename"] == wheel)
    by_digest = said(server, "release", "show", digest, by="ana")
    assert by_digest["release"]["id"] == "tools@0.2.0"
    assert by_digest["dossier"]["figures"]["coverage"]["lines"] == "100.0 %"
    found = said(server, "release", "compare", "tools@0.1.0", "tools@0.2.0", by="ana")
    assert not found["same"]
    assert found["added"] == ["pypi/h11 0.16.0"]
    assert 0 < found["size_before"] < found["size_after"]
    assert said(server, "release", "compare", digest, "tools@0.2.0", by="ana")["same"]
