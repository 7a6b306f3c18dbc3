"""The benchmark says what was met, what was missed, and what could not be measured."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

TOOLS = Path(__file__).parents[3] / "tools"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("figures")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("bench")


def test_the_median_decides_whether_a_target_is_met(figures: ModuleType) -> None:
    assert figures.figure("a", "ms", [1, 2, 99], "so", target=2).met is True
    assert figures.figure("a", "ms", [1, 3, 99], "so", target=2).met is False
    assert figures.figure("a", "1/s", [5, 6, 7], "so", target=6, at_least=True).met is True
    assert figures.figure("a", "ms", [1], "so").met is None


def test_what_could_not_be_measured_is_missed_and_says_why(figures: ModuleType) -> None:
    gone = figures.figure("a", "ms", [], "so", target=2, failed="no /proc here")
    shown = figures.document([gone], [50.0, 60.0], (0.0, 0.0, 0.0))
    assert shown["figures"][0]["met"] is False
    assert "missed: no /proc here" in figures.table(shown)


def test_figures_are_also_shown_as_a_reference_machine_would_have_them(figures: ModuleType) -> None:
    slow = replace(figures.figure("a", "ms", [80.0], "so", target=100), loop=200.0)
    rate = replace(figures.figure("b", "1/s", [80.0], "so"), loop=200.0)
    steady = replace(figures.figure("c", "MiB", [80.0], "so", scaled=False), loop=200.0)
    rows = figures.document([slow, rate, steady], [200.0], (0.0, 0.0, 0.0))["figures"]
    assert [row["scaled"] for row in rows] == [20.0, 320.0, None]


def test_every_part_is_found_and_says_what_it_does(bench: ModuleType) -> None:
    found = bench.parts()
    assert {"commands", "server", "recovery", "lag", "ledger", "demo"} <= set(found)
    assert all(found.values())
    assert list(found)[-1] == "demo"


def test_what_was_measured_before_an_error_is_kept_and_the_other_parts_go_on(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> Iterator[object]:
        yield bench.figure("first", "ms", [1.0], "so")
        raise RuntimeError("no such program")

    monkeypatch.setitem(sys.modules, "bench_broken", SimpleNamespace(figures=broken))
    whole = SimpleNamespace(figures=lambda _: [bench.figure("second", "s", [2.0], "so")])
    monkeypatch.setitem(sys.modules, "bench_whole", whole)
    found, loops = bench.everything(["broken", "whole", "absent"], SimpleNamespace())
    assert [one.failed for one in found][:3] == ["", "RuntimeError: no such program", ""]
    assert "bench_absent" in found[3].failed
    assert len(loops) == 4
    assert "no such program" in bench.table(bench.document(found, loops, (0.0, 0.0, 0.0)))
    assert "broken" in capsys.readouterr().err
