"""The registries' doors: one application for each module, whose content is fresh for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.registry_doors import DoorsHolder, TokenDoors


@pytest.fixture(scope="module")
def holder() -> DoorsHolder:
    return DoorsHolder()


@pytest.fixture
def doors(tmp_path: Path, holder: DoorsHolder) -> Iterator[TokenDoors]:
    made = TokenDoors(tmp_path / "server")
    holder.doors = made
    yield made
    made.close()
