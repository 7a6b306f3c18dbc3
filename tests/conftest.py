"""The suite is the same wherever it runs: what a surrounding pipeline sets is no part of it."""

from __future__ import annotations

import os

import pytest

for _name in [name for name in os.environ if name.startswith(("CI_", "GITLAB_", "AEGIS_"))]:
    if _name not in ("AEGIS_CHROMIUM", "AEGIS_REAL"):
        del os.environ[_name]
os.environ.pop("CI", None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need components of `make test-real` are its business alone."""
    if os.environ.get("AEGIS_REAL"):
        return
    real = [item for item in items if item.get_closest_marker("real")]
    if real:
        config.hook.pytest_deselected(items=real)
        items[:] = [item for item in items if item not in real]
