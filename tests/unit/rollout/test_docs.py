"""The pages say everything that can be declared."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from aegis.gitops.render import RENDERED
from aegis.rollout.strategy import Strategy

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("option", [one.name for one in fields(Strategy)])
def test_every_option_of_a_rollout_is_explained(option: str):
    assert f"| `{option}` |" in (DOCS / "rollouts.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("field", RENDERED[3:])
def test_every_rendered_field_is_listed(field: str):
    assert f"`{field}`" in (DOCS / "gitops.md").read_text(encoding="utf-8")
