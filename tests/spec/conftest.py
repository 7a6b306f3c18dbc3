"""One running server for all specifications that need a whole one; each of them brings its own changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.server import TeamServer, is_type, team, trouble


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    """A server whose service `web` has been released once, to every environment."""
    with team(tmp_path_factory.mktemp("team") / "server") as server:
        tree = server.service()
        server.in_production()
        since = server.head()
        taken, said = tree.push("develop", server.person("olga"))
        assert taken, said
        ended = is_type("aegis.promotion.finished", environment="development")
        server.wait("development", ended, since=since, unless=trouble)
        yield server
