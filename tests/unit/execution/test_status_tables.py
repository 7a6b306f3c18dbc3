"""Every table of pipeline processing, GitLab's public ones and our own, holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.status_tables import check

_OWN = sorted((Path(__file__).parents[2] / "golden" / "status").glob("*.yml"))
_PUBLIC = Path(__file__).parents[4] / "shared" / "data" / "pipeline-processing"


@pytest.mark.parametrize("path", _OWN, ids=lambda path: path.stem)
def test_own_table_holds(path: Path) -> None:
    check(path)


def test_there_are_own_tables() -> None:
    assert len(_OWN) >= 35


@pytest.mark.skipif(not _PUBLIC.is_dir(), reason="GitLab's public tables are not part of a clone")
def test_every_public_table_holds() -> None:
    tables = sorted(_PUBLIC.glob("*.yml"))
    assert len(tables) == 17
    for path in tables:
        try:
            check(path)
        except AssertionError as error:
            pytest.fail(f"{path.name}: {error}")
