"""How long a pipeline takes and how it is drawn follow from its plan and from history, and from nothing else."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

import pytest

from aegis.core.plan import Plan
from aegis.pipeline import drawing
from aegis.pipeline.compile import compile_pipeline
from aegis.pipeline.forecast import KEPT, Forecast, forecast, spoken, usual
from aegis.pipeline.request import CompileRequest, MemoryFiles

FILE = """\
stages: [build, test, deploy]
compile: {stage: build, script: [x]}
assets: {stage: build, script: [x]}
unit: {stage: test, script: [x], needs: [compile], parallel: 2}
lint: {stage: test, script: [x], needs: []}
slow: {stage: test, script: [x]}
after: {stage: test, script: [x], needs: [lint]}
ship: {stage: deploy, script: [x], environment: staging}
again: {stage: deploy, script: [x], when: manual}
broken: {stage: deploy, script: [x], when: on_failure}
"""
SECONDS = {"compile": 10.0, "assets": 30.0, "unit": 100.0, "lint": 5.0, "slow": 20.0, "after": 1.0, "ship": 60.0}


def plan(text: str = FILE) -> Plan:
    found = compile_pipeline(CompileRequest(files=MemoryFiles({".gitlab-ci.yml": text.encode()})))
    assert found.plan is not None, found.errors
    return found.plan


def expected(seconds: Mapping[str, float] = SECONDS, text: str = FILE) -> Forecast:
    found = forecast(plan(text), seconds)
    assert found is not None
    return found


def test_stages_are_barriers_and_needs_are_not() -> None:
    spans = expected().spans
    assert (spans["unit 1/2"].start, spans["unit 2/2"].end) == (10, 110)
    assert spans["lint"].start == 0
    assert spans["after"].start == 5
    assert spans["slow"].start == 30
    assert spans["ship"].start == 110
    assert "again" not in spans
    assert "broken" not in spans


def test_the_critical_path_is_what_decides_the_end() -> None:
    found = expected()
    assert found.seconds == 170
    assert found.critical[0] == "compile"
    assert found.critical[-1] == "ship"
    assert found.critical[1].startswith("unit ")
    assert sum(found.spans[name].end - found.spans[name].start for name in found.critical) == found.seconds


def test_a_job_without_history_counts_as_nothing_and_is_named() -> None:
    found = expected({"compile": 10.0})
    assert found.seconds == 10
    assert "slow" in found.unknown
    assert forecast(plan(), {}) is None
    assert forecast(plan(), {"other": 3.0}) is None


def test_a_delay_is_part_of_it_and_needs_within_a_stage_are_followed_in_any_order() -> None:
    text = "b: {script: [x], needs: [a]}\na: {script: [x], when: delayed, start_in: 1 minute}\n"
    found = expected({"a": 5.0, "b": 7.0}, text)
    assert found.seconds == 72
    assert found.critical == ("a", "b")


def test_the_usual_is_the_median_of_the_newest() -> None:
    found = usual([("a", 1.0), ("a", 3.0), ("a", 100.0), ("t 1/2", 4.0), ("t 2/2", 6.0), ("m: [x, y]", 2.0)])
    assert found == {"a": 3.0, "t 1/2": 4.0, "t 2/2": 6.0, "t": 5.0, "m: [x, y]": 2.0, "m": 2.0}
    assert usual([("a", 1.0)] * KEPT + [("a", 99.0)] * 100) == {"a": 1.0}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.44, "0.4 s"), (9.96, "10 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (3900, "1 h 5 min")],
)  # fmt: skip
def test_durations_are_spoken(seconds: float, text: str) -> None:
    assert spoken(seconds) == text


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - as above


def test_the_picture_explains_itself_to_those_who_do_not_see_it() -> None:
    root = parsed(drawing.svg(plan(), expected()))
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    labels = (root.get("aria-labelledby") or "").split()
    assert [root.find(f"{space}{tag}").get("id") for tag in ("title", "desc")] == labels  # type: ignore[union-attr]
    desc = root.findtext(f"{space}desc") or ""
    assert "Stage test: unit (2 parallel), lint, slow, after." in desc
    assert "Critical path: compile, then unit" in desc
    titles = [one.text or "" for one in root.iter(f"{space}title")]
    assert any(one.startswith("after, stage test") and "needs lint" in one for one in titles)
    assert "ship, again, broken: after the whole stage test" in titles


def test_every_edge_is_drawn_once_and_the_critical_ones_stand_out() -> None:
    root = parsed(drawing.svg(plan(), expected()))
    classes = [one.get("class") for one in root.iter("{http://www.w3.org/2000/svg}path")]
    assert classes.count("edge") + classes.count("edge hot") == 2 + 2  # compile → unit, lint → after, two barriers
    assert classes.count("edge hot") == 2
    assert "hot" not in " ".join(one or "" for one in [p.get("class") for p in parsed(drawing.svg(plan())).iter()])


def test_no_two_boxes_lie_on_one_another() -> None:
    root = parsed(drawing.svg(plan()))
    rects = [one for one in root.iter("{http://www.w3.org/2000/svg}rect") if one.get("class") == "box"]
    places = {(one.get("x"), one.get("y")) for one in rects}
    assert len(places) == len(rects) == 9


def test_names_are_text_whatever_they_hold() -> None:
    text = 'stages: [build, test, deploy]\n"<b>&\\"x]": {script: [x]}\n"a#1;": {script: [x], needs: ["<b>&\\"x]"]}\n'
    picture = drawing.svg(plan(text))
    assert "<b>" not in picture
    parsed(picture)
    flow = drawing.mermaid(plan(text))
    assert re.search(r'j0\["[^"<>]*"\]', flow)
    assert "<b>" not in flow


def test_mermaid_and_table_say_the_same() -> None:
    flow = drawing.mermaid(plan(), expected())
    assert flow.startswith("flowchart LR\n")
    assert "j0 --> j2" in flow
    assert "s1 -.-> s2" in flow
    assert "classDef critical" in flow
    rows = drawing.rows(plan(), expected())
    assert ("test", "unit", "compile", "×2 · 1 min 40 s", "yes") in rows
    assert ("build", "compile", "nothing", "10 s", "yes") in rows
    page = drawing.page(plan(), expected())
    assert page.count("<tr>") == len(rows) + 1
    assert "<svg" in page
