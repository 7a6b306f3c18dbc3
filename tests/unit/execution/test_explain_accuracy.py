"""How well recorded failures are explained: the half that the rules were written with, and the half held apart."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[3] / "tools"


@pytest.fixture
def accuracy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.delitem(sys.modules, "explain_accuracy", raising=False)
    import explain_accuracy

    return explain_accuracy


def test_failures_held_apart_from_the_rules_are_explained(accuracy: ModuleType) -> None:
    cases = accuracy.judged("apart")
    share = accuracy.figures(cases)
    assert len(cases) >= 50
    assert share["top1"] >= 0.70
    assert share["confidently_wrong"] <= 0.02
    assert share["abstained_rightly"] == 1.0


def test_known_failures_are_explained(accuracy: ModuleType) -> None:
    cases = accuracy.judged("known")
    assert len(cases) >= 100
    assert [one.name for one in cases if one.confidently_wrong] == []
    assert accuracy.figures(cases)["top1"] >= 0.97
