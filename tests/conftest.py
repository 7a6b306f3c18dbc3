"""The suite is the same wherever it runs: what a surrounding pipeline sets is no part of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.postgres import Postgres


for _name in [name for name in os.environ if name.startswith(("CI_", "GITLAB_", "AEGIS_"))]:
    if _name not in ("AEGIS_CHROMIUM", "AEGIS_REAL"):
        del os.environ[_name]
os.environ.pop("CI", None)


@pytest.fixture(scope="session", autouse=True)
def _nothing_stays_mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Servers that tests kill leave mounts until their next start, which never comes: at the end they are taken away."""
    yield
    from support.server import mounts_below

    for place in mounts_below(tmp_path_factory.getbasetemp()):
        subprocess.run(["umount", "--lazy", place], check=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """PostgreSQL for the tests of this process that ask for it; each makes a database of its own."""
    from support.postgres import running_postgres

    with running_postgres() as server:
        yield server


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need components of `make test-real`, or the minutes of `make soak`, are their business alone."""
    other = [marker for marker, asked in (("real", "AEGIS_REAL"), ("soak", "SOAK")) if asked not in os.environ]
    left_out = [item for item in items if any(item.get_closest_marker(marker) for marker in other)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=lambda item: "test_demo" not in item.nodeid)  # the longest begins first, so that nobody waits for it
