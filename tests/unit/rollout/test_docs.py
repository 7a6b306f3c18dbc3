"""The pages say everything that can be declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.config.declaration import RolloutModel
from aegis.gitops.render import RENDERED

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("option", list(RolloutModel.model_fields))
def test_every_option_that_can_be_declared_is_explained(option: str):
    assert f"| `{option}` |" in (DOCS / "rollouts.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("field", RENDERED[3:])
def test_every_rendered_field_is_listed(field: str):
    assert f"`{field}`" in (DOCS / "gitops.md").read_text(encoding="utf-8")
