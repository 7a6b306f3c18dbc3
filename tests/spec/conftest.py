"""One running server for all specifications that need a whole one; each of them brings its own changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.gitlab_registry import Registry, gitlab_registry
from support.server import DECLARATION, TeamServer, is_type, team, trouble

TOKEN = "not-" + "a-secret"


@pytest.fixture(scope="session")
def gitlab() -> Iterator[Registry]:
    """The registries that a GitLab instance hosts for `Team/Web`."""
    with gitlab_registry(Registry(project="Team/Web", token=TOKEN)) as registry:
        yield registry


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, gitlab: Registry) -> Iterator[TeamServer]:
    """A server whose service `web` has been released once, to every environment."""
    hosted = (
        f"{{url: '{gitlab.address}', project: Team/Web, token: $AEGIS_REGISTRY_GITLAB, packages: true, private: true}}"
    )
    declaration = f"{DECLARATION}  gitlab:\n    - {hosted}\n"
    variables = {"AEGIS_REGISTRY_GITLAB": TOKEN}
    with team(tmp_path_factory.mktemp("team") / "server", declaration, variables=variables) as server:
        tree = server.service()
        server.in_production()
        since = server.head()
        taken, said = tree.push("develop", server.person("olga"))
        assert taken, said
        ended = is_type("aegis.promotion.finished", environment="development")
        server.wait("development", ended, since=since, unless=trouble)
        yield server
