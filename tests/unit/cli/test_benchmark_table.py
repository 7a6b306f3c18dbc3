"""The benchmark says what was met, what was missed, and what could not be measured."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).parents[3] / "tools" / "bench.py"
    spec = importlib.util.spec_from_file_location("aegis_bench", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["aegis_bench"] = module
    spec.loader.exec_module(module)
    return module


def test_the_median_decides_whether_a_target_is_met(bench: ModuleType) -> None:
    assert bench.figure("a", "ms", [1, 2, 99], "so", target=2).met is True
    assert bench.figure("a", "ms", [1, 3, 99], "so", target=2).met is False
    assert bench.figure("a", "1/s", [5, 6, 7], "so", target=6, at_least=True).met is True
    assert bench.figure("a", "ms", [1], "so").met is None


def test_what_could_not_be_measured_is_missed_and_says_why(bench: ModuleType) -> None:
    gone = bench.figure("a", "ms", [], "so", target=2, failed="no /proc here")
    shown = bench.document([gone], [50.0, 60.0], (0.0, 0.0, 0.0))
    assert shown["figures"][0]["met"] is False
    assert "missed: no /proc here" in bench.table(shown)


def test_figures_are_also_shown_as_a_reference_machine_would_have_them(bench: ModuleType) -> None:
    slow = replace(bench.figure("a", "ms", [80.0], "so", target=100), loop=200.0)
    rate = replace(bench.figure("b", "1/s", [80.0], "so"), loop=200.0)
    steady = replace(bench.figure("c", "MiB", [80.0], "so", scaled=False), loop=200.0)
    rows = bench.document([slow, rate, steady], [200.0], (0.0, 0.0, 0.0))["figures"]
    assert [row["scaled"] for row in rows] == [20.0, 320.0, None]
