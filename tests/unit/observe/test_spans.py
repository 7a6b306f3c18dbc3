"""A run's records as a trace: parts, links, whose fault, and the same read back to be drawn."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aegis.core import events
from aegis.core.errors import UserError
from aegis.core.plan import JobSpec, Plan, Trigger
from aegis.core.spent import JobStep, JobUsage
from aegis.core.tracing import span_id, trace_id, traceparent
from aegis.core.types import TRIGGER, JobRun, Run, State
from aegis.observe import otlp, waterfall
from aegis.observe.spans import phase, trace_of
from support.collector_simulator import parsed
from support.records import START, Story

RUN = Run(
    id="run-1", project="shop/orders", ref="refs/tags/v1", commit="c" * 40, plan="", change="merge-request:shop/orders:7",
    source="push", started_by="mina", created_at=START,
)  # fmt: skip
PLAN = Plan(
    id="p", project="shop/orders", commit="c" * 40, ref="refs/tags/v1", source="push", stages=("build", "test"),
    jobs=(
        JobSpec(name="build", stage="build", script=("x",)),
        JobSpec(name="unit", stage="test", script=("x",)),
        JobSpec(name="child", stage="test", script=(), trigger=Trigger(include=({"local": "c.yml"},), strategy="depend")),
    ),
)  # fmt: skip


def job(name: str, start: float, seconds: float, **more: Any) -> JobRun:
    at = START + timedelta(seconds=start)
    fields: dict[str, Any] = {
        "id": f"id-{name}",
        "stage": "test",
        "state": State.SUCCESS,
        "queued_at": at - timedelta(seconds=1),
    }
    return JobRun(name=name, started_at=at, finished_at=at + timedelta(seconds=seconds), **{**fields, **more})


def told(run: Run, *jobs: JobRun, state: State = State.SUCCESS) -> Story:
    story = Story()
    story.tell(f"run/{run.id}", events.RunCreated(run=run, job_count=len(jobs)))
    for one in jobs:
        story.at = one.finished_at or story.at
        story.tell(f"run/{run.id}", events.JobFinished(job=one))
    story.tell(f"run/{run.id}", events.RunFinished(run=run.id, state=state))
    return story


def drawn(story: Story) -> tuple[dict[str, dict[str, Any]], waterfall.Waterfall]:
    made = trace_of(story.records, PLAN, url="https://aegis.test", version="1")
    assert made is not None
    _, spans = parsed(otlp.encode(otlp.document([made])))
    return {span["name"]: span for span in spans}, waterfall.read(otlp.document([made]))[0]


def test_a_job_holds_its_queue_and_its_parts_in_time() -> None:
    steps = (
        JobStep(name="get_sources", started_at=START + timedelta(seconds=1), seconds=0.5),
        JobStep(name="step_script", started_at=START + timedelta(seconds=1.5), seconds=8.0),
    )
    spans, found = drawn(
        told(RUN, job("build", 1, 9, stage="build", steps=steps, usage=JobUsage(cpu_seconds=2.5)), job("unit", 12, 3))
    )
    build = spans["build"]
    assert (build["traceId"], build["spanId"]) == tuple(traceparent("run-1", "id-build").split("-")[1:3])
    assert spans["get_sources"]["parentSpanId"] == spans["step_script"]["parentSpanId"] == build["spanId"]
    assert build["values"]["cicd.pipeline.task.type"] == "build"
    assert build["values"]["aegis.job.cpu_seconds"] == 2.5
    root = spans["RUN shop/orders"]
    assert int(root["endTimeUnixNano"]) - int(root["startTimeUnixNano"]) == 15_000_000_000
    assert (found.seconds, found.path_seconds, found.wait_seconds, found.queue_seconds) == (15.0, 12.0, 3.0, 2.0)
    assert [row.job for row in found.path] == ["build", "unit"]
    assert waterfall.summary(found) == (
        "critical path: build → unit: 12.0 s of work, 3.0 s of waiting (2.0 s for a runner)",
        "  without build it would end 9.0 s sooner",
        "  without unit it would end 3.0 s sooner",
        "  with a free runner for every job it would end 2.0 s sooner",
    )
    assert [waterfall.bar(row, found.seconds, 15).rstrip() for row in found.rows] == ["·█████████", "           ·███"]


def test_attempts_of_one_job_are_one_name_on_the_path() -> None:
    tries = [
        job("unit", 10 + at, 1, id=f"id-{at}", attempt=at, state=State.SUCCESS if at == 3 else State.FAILED)
        for at in (1, 2, 3)
    ]
    _, found = drawn(told(RUN, job("build", 1, 9, stage="build"), *tries))
    assert waterfall.summary(found)[0].startswith("critical path: build → unit (3 attempts): 12.0 s of work")


@pytest.mark.parametrize(
    ("reason", "result"),
    [("script_failure", "failure"), ("runner_system_failure", "error"), ("image_pull_failure", "error"), ("job_execution_timeout", "timeout")],
)  # fmt: skip
def test_whose_fault_a_failure_is(reason: str, result: str) -> None:
    spans, found = drawn(told(RUN, job("unit", 1, 2, state=State.FAILED, failure_reason=reason), state=State.FAILED))
    for name in ("unit", "RUN shop/orders"):
        assert spans[name]["values"]["error.type"] == reason
        assert spans[name]["status"]["code"] == 2
    assert spans["unit"]["values"]["cicd.pipeline.task.run.result"] == found.result == result


def test_what_a_child_failed_for_is_no_error_of_the_machinery() -> None:
    bridge = job("child", 1, 2, state=State.FAILED, failure_reason="unknown_failure", runner=TRIGGER)
    spans, _ = drawn(told(RUN, bridge, state=State.FAILED))
    assert spans["child"]["values"]["cicd.pipeline.task.run.result"] == "failure"


def test_a_child_and_its_trigger_are_linked_in_both_directions() -> None:
    spans, _ = drawn(told(RUN, job("child", 1, 2, runner=TRIGGER)))
    below = trace_of(
        told(
            Run(**{**{f: getattr(RUN, f) for f in RUN.__dataclass_fields__}, "id": "id-child", "parent": "run-1"})
        ).records,
        PLAN,
    )
    assert below is not None
    (up,), (down,) = below.spans[0].links, spans["child"]["links"]
    assert (
        (down["traceId"], down["spanId"])
        == (below.id, below.spans[0].id)
        == (trace_id("id-child"), span_id("id-child"))
    )
    assert (up.trace, up.span) == (trace_id("run-1"), spans["child"]["spanId"])


def test_phases_are_few() -> None:
    sections = (
        "queue",
        "prepare_executor",
        "step_script",
        "after_script",
        "archive_cache",
        "upload_artifacts_on_success",
    )
    assert [phase(one) for one in sections] == ["queue", "prepare", "script", "after_script", "upload", "upload"]


def test_what_is_no_trace_of_a_pipeline_is_refused() -> None:
    for wrong in ({}, {"resourceSpans": [{"scopeSpans": []}]}, {"resourceSpans": 1}):
        with pytest.raises(UserError, match="no trace of a pipeline"):
            waterfall.read(wrong)


def test_many_spans_come_in_several_requests() -> None:
    made = trace_of(told(RUN, *(job(f"j{n}", n, 1) for n in range(5))).records, PLAN)
    assert made is not None
    sizes = [len(one["resourceSpans"][0]["scopeSpans"][0]["spans"]) for one in otlp.documents([made], batch=4)]
    assert sum(sizes) == len(made.spans)
    assert max(sizes) == 4
