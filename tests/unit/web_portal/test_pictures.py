"""Pictures from data: well-formed, bounded, and escaping what they are given."""

from dataclasses import replace
from datetime import timedelta

import defusedxml.ElementTree
import pytest

from aegis.core.spent import JobStep
from aegis.core.types import JobRun, State
from aegis.delivery.views import JobView
from aegis.web.portal import pictures
from support.portal_world import NOW, POINTS, RUNNING_JOBS, STAGES


def parsed(picture):
    return defusedxml.ElementTree.fromstring(str(picture))


@pytest.mark.parametrize(("weight", "width"), [(0, "0"), (25, "25"), (100, "100"), (-3, "0"), (140, "100")])
def test_a_split_is_between_nothing_and_everything(weight, width):
    assert parsed(pictures.split(weight))[1].get("width") == width


def test_the_graph_has_a_box_per_job_and_an_edge_per_need():
    picture = parsed(pictures.graph(STAGES, RUNNING_JOBS, "/runs/r/jobs/"))
    assert len(picture.findall("a")) == len(RUNNING_JOBS)
    assert len([one for one in picture.iter("path") if one.get("class") == "edge"]) == sum(
        len(one.needs) for one in RUNNING_JOBS
    )


def test_names_that_look_like_markup_stay_names():
    evil = JobView(job=JobRun(id='"><script>', name="<script>alert(1)</script>", stage="<b>"), needs=("nobody",))
    assert "<script>" not in str(pictures.graph(("<b>",), (evil,), "/"))


def test_a_long_name_keeps_both_ends():
    job = JobView(job=JobRun(id="j", name="integration-test-of-orders 1/2", stage="test"))
    assert "integration-…rs 1/2" in str(pictures.graph(("test",), (job,), "/"))


def test_nothing_draws_nothing_and_does_not_fail():
    assert parsed(pictures.graph((), (), "/")) is not None
    assert pictures.bars((), NOW) == ()
    assert parsed(pictures.evidence((), upper=4.6, lower=-3.0, width=320, names=("a", "b"), label="c")) is not None


def test_bars_show_the_parts_of_a_job_and_mark_the_critical_path():
    steps = (
        JobStep(name="get_sources", started_at=NOW, seconds=2.0),
        JobStep(name="step_script", started_at=NOW + timedelta(seconds=2), seconds=6.0),
        JobStep(name="upload_artifacts", started_at=NOW + timedelta(seconds=8), seconds=2.0),
    )
    run = JobRun(id="a", name="a", stage="s", state=State.SUCCESS, started_at=NOW,
                 finished_at=NOW + timedelta(seconds=10), steps=steps)  # fmt: skip
    beside = replace(run, id="b", name="b", steps=())
    bars = pictures.bars([JobView(job=run), JobView(job=beside)], NOW, frozenset({"a"}))
    drawn = [[one.get("class") for one in parsed(bar.picture).iter("rect")] for bar in bars]
    assert drawn == [["critical", "part prepare", "part upload"], [""]]
    assert [bar.critical for bar in bars] == [True, False]


def test_bars_are_in_the_order_in_which_jobs_began_with_their_wait():
    bars = pictures.bars(RUNNING_JOBS, NOW)
    assert bars[0].view.job.name == "lint"
    assert bars[-1].view.job.name == "scan-secrets"
    assert bars[0].queued == 1.5
    assert all(parsed(bar.picture) is not None for bar in bars)


def test_evidence_is_drawn_between_its_named_bounds_with_the_steps_of_traffic():
    picture = pictures.evidence(POINTS, upper=4.6, lower=-3.0, width=720, names=("back", "good"), label="evidence")
    texts = [one.text for one in parsed(picture).iter("text")]
    assert {"back", "good", "5 %", "25 %", "0 s", "69 s"} <= set(texts)


def test_evidence_beyond_its_bounds_stays_in_the_picture():
    wild = [replace(POINTS[0], evidence=1e9), replace(POINTS[1], evidence=-1e9)]
    picture = parsed(pictures.evidence(wild, upper=4.6, lower=-3.0, width=320, names=("a", "b"), label="c"))
    line = next(one for one in picture.iter("polyline"))
    for pair in line.get("points").split():
        assert 0 <= float(pair.split(",")[1]) <= 216
