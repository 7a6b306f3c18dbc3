"""The critical path of any run is whole: what its legs ran and waited is the run's time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.plan import JobSpec, Need, Plan
from aegis.core.types import JobRun, State
from aegis.observe.course import course

BEGUN = datetime(2026, 5, 4, 14, 0, tzinfo=UTC)
STAGES = ("build", "test", "deploy")


@st.composite
def runs(draw: st.DrawFn) -> tuple[Plan, list[JobRun]]:
    """A run as a scheduler would have carried it out: stages or needs, queues, retries, jobs that never ended."""
    specs: list[JobSpec] = []
    for number in range(draw(st.integers(1, 12))):
        stage = draw(st.sampled_from(STAGES))
        earlier = [one.name for one in specs if STAGES.index(one.stage) <= STAGES.index(stage)]
        needs: tuple[Need, ...] | None = None
        if earlier and draw(st.booleans()):
            chosen = draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True))
            needs = tuple(Need(job=name) for name in chosen)
        specs.append(JobSpec(name=f"job {number}", stage=stage, script=("true",), needs=needs))
    plan = Plan(
        id="p",
        project="shop/orders",
        commit="0" * 40,
        ref="refs/heads/main",
        source="push",
        stages=STAGES,
        jobs=tuple(specs),
    )
    ends: dict[str, int] = {}
    jobs: list[JobRun] = []
    for spec in sorted(specs, key=lambda one: STAGES.index(one.stage)):
        if spec.needs is None:
            before = [ends[one.name] for one in specs if STAGES.index(one.stage) < STAGES.index(spec.stage)]
        else:
            before = [ends[need.job] for need in spec.needs if need.job in ends]
        ready = max(before, default=0)
        for attempt in range(1, draw(st.integers(1, 2)) + 1):
            held, queued, ran = (draw(st.integers(least, 900)) for least in (0, 0, 1))
            start = ready + held + queued
            jobs.append(
                JobRun(
                    id=f"{spec.name}-{attempt}",
                    name=spec.name,
                    stage=spec.stage,
                    state=State.SUCCESS,
                    attempt=attempt,
                    queued_at=BEGUN + timedelta(seconds=ready + held),
                    started_at=BEGUN + timedelta(seconds=start),
                    finished_at=BEGUN + timedelta(seconds=start + ran),
                )
            )
            ready = start + ran
        ends[spec.name] = ready
    return plan, draw(st.permutations(jobs))


@settings(max_examples=200, deadline=None)
@given(runs())
def test_the_path_is_the_makespan_with_its_waits(run: tuple[Plan, list[JobRun]]) -> None:
    plan, jobs = run
    found = course(plan, jobs, BEGUN)
    makespan = max((one.finished_at - BEGUN).total_seconds() for one in jobs if one.finished_at)
    assert found.seconds == makespan
    assert found.run_seconds == makespan - found.wait_seconds
    assert all(leg.wait_seconds >= leg.queue_seconds >= 0 <= leg.run_seconds for leg in found.legs)
    assert len({leg.id for leg in found.legs}) == len(found.legs)


@settings(max_examples=200, deadline=None)
@given(runs())
def test_a_saving_is_never_more_than_the_job_took_nor_more_than_the_run(run: tuple[Plan, list[JobRun]]) -> None:
    plan, jobs = run
    found = course(plan, jobs, BEGUN)
    took: dict[str, float] = {}
    for one in jobs:
        took[one.name] = took.get(one.name, 0.0) + (one.run_seconds or 0.0)
    for saving in found.savings:
        most = took[saving.job] if saving.cause == "job" else sum(one.queue_seconds or 0.0 for one in jobs)
        assert 0 < saving.seconds <= min(most, found.seconds)
        assert saving.cause == "queue" or saving.job in found.jobs


def test_what_another_job_covers_is_no_saving() -> None:
    """Beside a job of ten seconds one of nine runs: without the first the run is one second shorter."""
    specs = tuple(JobSpec(name=name, stage="test", script=("true",)) for name in ("long", "short"))
    plan = Plan(id="p", project="a/b", commit="0", ref="r", source="push", stages=STAGES, jobs=specs)
    jobs = [
        JobRun(id=name, name=name, stage="test", started_at=BEGUN, finished_at=BEGUN + timedelta(seconds=seconds))
        for name, seconds in (("long", 10), ("short", 9))
    ]
    found = course(plan, jobs, BEGUN)
    assert [leg.job for leg in found.legs] == ["long"]
    assert [(one.cause, one.job, one.seconds) for one in found.savings] == [("job", "long", 1.0)]


def test_a_run_that_has_not_begun_has_no_course() -> None:
    plan = Plan(id="p", project="a/b", commit="0", ref="r", source="push", stages=STAGES, jobs=())
    assert course(plan, [], BEGUN).legs == ()
