"""Newer pipelines, resource groups and variables of manual jobs, as the coordinator carries them out. No runner works here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aegis.core.plan import JobSpec, Trigger, Variable
from aegis.core.types import JobRun, Run, State
from aegis.execution.coordinator import Coordinator
from aegis.execution.redundancy import Superseded, superseded
from aegis.execution.resources import MODES, Claim, next_claim
from aegis.execution.runners import Assignment, JobResult, Runner
from support.clock import FakeClock
from support.execution import Engine, by_name, job, plan

RUNNER = Runner(name="r", isolation="namespaces")
DONE = JobResult(state=State.SUCCESS, exit_code=0)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path, clock=FakeClock())
    yield made
    made.close()


def take(engine: Engine) -> Assignment:
    given = engine.coordinator.acquire(RUNNER)
    assert given is not None
    return given


def begun(spec: JobSpec, state: State = State.RUNNING) -> JobRun:
    at = FakeClock().now()
    return JobRun(id=spec.name, name=spec.name, stage=spec.stage, state=state, started_at=at)


def waiting(spec: JobSpec) -> JobRun:
    return JobRun(id=spec.name, name=spec.name, stage=spec.stage, state=State.PENDING)


# -- a newer commit ---------------------------------------------------------------------------------------


def decided(mode: str, *jobs: tuple[JobSpec, Callable[[JobSpec], JobRun]]) -> Superseded:
    made = replace(plan(*(spec for spec, _ in jobs)), auto_cancel=mode)
    return superseded(made, [how(spec) for spec, how in jobs])


SAFE, CAREFUL = job("safe", "true", interruptible=True), job("careful", "true")


@pytest.mark.parametrize(
    ("mode", "jobs", "wanted"),
    [
        ("conservative", ((SAFE, begun), (CAREFUL, waiting)), Superseded(whole=True)),
        ("conservative", ((SAFE, waiting), (CAREFUL, begun)), Superseded()),
        ("conservative", ((SAFE, waiting), (CAREFUL, waiting)), Superseded(whole=True)),
        ("interruptible", ((SAFE, begun), (CAREFUL, begun)), Superseded(jobs=("safe",))),
        ("none", ((SAFE, begun), (CAREFUL, waiting)), Superseded()),
    ],
)
def test_what_a_newer_pipeline_cancels(mode: str, jobs: Any, wanted: Superseded) -> None:
    assert decided(mode, *jobs) == wanted


def test_a_superseded_run_ends_and_stays_ended_after_a_restart(engine: Engine) -> None:
    run_id = engine.submit(job("safe", "true", interruptible=True), job("later", "true", stage="deploy"))
    running = take(engine)
    engine.coordinator.supersede(run_id, "aegis", "a newer pipeline began")
    assert by_name(engine.coordinator.run(run_id))["later"].state is State.CANCELED
    engine.coordinator.finish(running.job.id, DONE)
    assert engine.coordinator.run(run_id).state is State.CANCELED
    engine.restart()
    assert engine.coordinator.run(run_id).state is State.CANCELED


def test_only_what_may_be_interrupted_is_canceled_where_the_workflow_says_so(engine: Engine) -> None:
    run_id = engine.submit(job("safe", "true", interruptible=True), job("careful", "true"))
    progress = engine.coordinator._runs.open(run_id)
    progress.plan = replace(progress.plan, auto_cancel="interruptible")
    engine.coordinator.supersede(run_id, "aegis", "a newer pipeline began")
    states = {name: one.state for name, one in by_name(engine.coordinator.run(run_id)).items()}
    assert states == {"safe": State.CANCELED, "careful": State.PENDING}


# -- resource groups --------------------------------------------------------------------------------------


def claim(order: int, state: State = State.WAITING_FOR_RESOURCE, position: int = 0) -> Claim:
    return Claim(order=order, position=position, run=f"run{order}", job=f"job{position}", state=state)


@pytest.mark.parametrize(
    ("mode", "claims", "winner"),
    [
        ("unordered", (claim(2), claim(1)), 1),
        ("oldest_first", (claim(2), claim(1)), 1),
        ("oldest_first", (claim(2), claim(1, State.CREATED)), None),
        ("oldest_first", (claim(2), claim(1, State.MANUAL)), 2),
        ("newest_first", (claim(2), claim(1)), 2),
        ("newest_first", (claim(2, State.CREATED), claim(1)), None),
        ("newest_ready_first", (claim(3, State.CREATED), claim(2), claim(1)), 2),
        ("unordered", (claim(1, State.CREATED),), None),
    ],
)
def test_who_comes_next_in_a_resource_group(mode: str, claims: tuple[Claim, ...], winner: int | None) -> None:
    assert mode in MODES
    found = next_claim(mode, claims)
    assert (found.order if found else None) == winner


def test_a_job_never_waits_for_a_later_one_of_its_own_run() -> None:
    found = next_claim("oldest_first", (claim(1, State.CREATED, position=0), claim(1, position=1)))
    assert found is not None
    assert found.position == 1


def test_one_job_of_a_group_runs_at_a_time_and_the_oldest_is_next(engine: Engine) -> None:
    first, second, third = (engine.submit(job("deploy", "true", resource_group="production")) for _ in range(3))
    held = take(engine)
    assert held.run.id == first
    assert engine.coordinator.acquire(RUNNER) is None
    assert engine.coordinator.run(second).state is State.WAITING_FOR_RESOURCE
    engine.coordinator.finish(held.job.id, DONE)
    assert take(engine).run.id == second
    assert engine.coordinator.run(third).state is State.WAITING_FOR_RESOURCE


def test_newest_first_overtakes(tmp_path: Path) -> None:
    engine = Engine(tmp_path, clock=FakeClock())
    engine.coordinator._process_mode = lambda *_: "newest_first"
    runs = [engine.submit(job("deploy", "true", resource_group="production")) for _ in range(3)]
    order = []
    for _ in runs:
        given = take(engine)
        order.append(given.run.id)
        engine.coordinator.finish(given.job.id, DONE)
    assert order == runs[::-1]
    engine.close()


def test_a_canceled_run_gives_its_turn_to_the_next(engine: Engine) -> None:
    engine.coordinator._process_mode = lambda *_: "oldest_first"
    first = engine.submit(job("build", "true", stage="build"), job("deploy", "true", resource_group="production"))
    second = engine.submit(job("deploy", "true", resource_group="production"))
    assert take(engine).spec.name == "build", "the older run's deployment has not come to its turn yet"
    assert engine.coordinator.acquire(RUNNER) is None
    engine.coordinator.cancel(first, "ana")
    assert take(engine).run.id == second


# -- manual jobs ------------------------------------------------------------------------------------------


def test_a_manual_job_gets_the_variables_it_is_started_with_also_after_a_restart(engine: Engine) -> None:
    run_id = engine.submit(job("demo", "true", when="manual", values={"WHO": "nobody", "KEEP": "kept"}))
    engine.coordinator.play(run_id, "demo", "ana", (Variable(key="WHO", value="ana", raw=True),))
    engine.restart()
    values = {one.key: one.value for one in take(engine).variables}
    assert values["WHO"] == "ana"
    assert values["KEEP"] == "kept"


# -- triggers ---------------------------------------------------------------------------------------------


def bridge(**more: Any) -> JobSpec:
    return job("child", trigger=Trigger(include=({"local": "child.yml"},), **more))


def states(coordinator: Coordinator, run_id: str) -> dict[str, State]:
    return {name: one.state for name, one in by_name(coordinator.run(run_id)).items()}


def test_a_trigger_runs_without_a_runner_until_it_is_finished(engine: Engine) -> None:
    run_id = engine.submit(bridge(), job("after", "true", stage="deploy"))
    assert engine.coordinator.acquire(RUNNER) is None
    run: Run = engine.coordinator.run(run_id)
    assert states(engine.coordinator, run_id) == {"child": State.RUNNING, "after": State.CREATED}
    engine.coordinator.finish(by_name(run)["child"].id, JobResult(state=State.SUCCESS))
    assert states(engine.coordinator, run_id) == {"child": State.SUCCESS, "after": State.PENDING}


def test_a_running_trigger_survives_a_restart(engine: Engine) -> None:
    run_id = engine.submit(bridge())
    engine.restart()
    assert states(engine.coordinator, run_id) == {"child": State.RUNNING}
    engine.coordinator.finish(engine.coordinator.run(run_id).jobs[0].id, JobResult(state=State.SUCCESS))
    assert engine.coordinator.run(run_id).state is State.SUCCESS


def test_a_trigger_ends_at_once_when_its_run_is_canceled(engine: Engine) -> None:
    run_id = engine.submit(bridge())
    engine.coordinator.cancel(run_id, "ana")
    assert engine.coordinator.run(run_id).state is State.CANCELED
    engine.restart()
    assert engine.coordinator.run(run_id).state is State.CANCELED


def test_a_failed_trigger_job_cancels_the_rest_where_the_workflow_says_so(engine: Engine) -> None:
    run_id = engine.submit(bridge(), job("long", "true"))
    progress = engine.coordinator._runs.open(run_id)
    progress.board._stop_on_failure = True
    engine.coordinator.finish(
        engine.coordinator.run(run_id).jobs[0].id, JobResult(state=State.FAILED, failure_reason="unknown_failure")
    )
    assert states(engine.coordinator, run_id) == {"child": State.FAILED, "long": State.CANCELED}
