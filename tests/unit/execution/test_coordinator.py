"""Runs over the ledger: what is written, what people may do, what survives a crash."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from aegis.core import codec
from aegis.core.errors import Conflict, ExternalError, NotFound, UserError
from aegis.core.events import Draft, JobFinished, JobStarted, Record
from aegis.core.plan import Need, Plan, Retry, Variable
from aegis.core.tracing import traceparent
from aegis.core.types import Run, State, StoredFile
from aegis.execution.options import CoordinatorOptions
from aegis.execution.runners import Assignment, JobResult, Runner, Signal
from support.clock import FakeClock
from support.execution import Engine, by_name, job

RUNNER = Runner(name="one", isolation="namespaces")
PASSED = JobResult(state=State.SUCCESS, exit_code=0)
FAILED = JobResult(state=State.FAILED, exit_code=1, failure_reason="script_failure")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def engine(tmp_path: Path, clock: FakeClock) -> Iterator[Engine]:
    made = Engine(tmp_path, clock=clock, options=CoordinatorOptions(lease_seconds=30))
    yield made
    made.close()


def take(engine: Engine, name: str | None = None, runner: Runner = RUNNER) -> Assignment:
    given = engine.coordinator.acquire(runner)
    assert given is not None
    assert name is None or given.spec.name == name
    return given


def states(run: Run) -> dict[str, str]:
    return {one.name: one.state.value for one in run.jobs}


def test_the_plan_is_kept_by_its_digest(engine: Engine) -> None:
    run_id = engine.submit(job("a", "true"))
    run = engine.coordinator.run(run_id)
    kept = codec.decode(engine.blobs.get(run.plan), Plan)
    assert kept == engine.coordinator.plan(run_id)
    assert [one.name for one in kept.jobs] == ["a"]


def test_an_empty_plan_and_a_second_run_of_the_same_id_are_refused(engine: Engine) -> None:
    with pytest.raises(UserError, match="no job"):
        engine.submit()
    engine.submit(job("a", "true"))
    engine.runs -= 1
    with pytest.raises(Conflict):
        engine.submit(job("a", "true"))


def test_jobs_follow_one_another_and_the_end_is_written_with_the_last(engine: Engine) -> None:
    run_id = engine.submit(
        job("build", "true", stage="build"), job("test", "true"), job("deploy", "true", stage="deploy")
    )
    for name in ("build", "test", "deploy"):
        assert engine.coordinator.acquire(RUNNER, timeout=0) is not None
        waiting = engine.coordinator.run(run_id)
        running = [one for one in waiting.jobs if one.state is State.RUNNING]
        assert [one.name for one in running] == [name]
        engine.coordinator.finish(running[0].id, PASSED)
    run = engine.coordinator.run(run_id)
    assert run.state is State.SUCCESS
    assert run.finished_at is not None
    records = engine.ledger.subject(f"run/{run_id}")
    assert records[-1].type == "dev.cdevents.pipelinerun.finished"
    assert [record.type for record in records].count("dev.cdevents.pipelinerun.finished") == 1


def test_the_longest_chain_is_begun_first(engine: Engine) -> None:
    engine.submit(
        job("short", "true", stage="build"),
        job("long", "true", stage="build"),
        job("after", "true", needs=(Need(job="long"),)),
    )
    assert take(engine).spec.name == "long"


def test_a_retry_by_policy_is_a_new_attempt_and_shows_in_the_ledger(engine: Engine) -> None:
    run_id = engine.submit(job("flaky", "true", retry=Retry(max=2, when=("script_failure",))))
    for attempt in (1, 2):
        given = take(engine)
        assert given.job.attempt == attempt
        engine.coordinator.finish(given.job.id, FAILED)
    engine.coordinator.finish(take(engine).job.id, PASSED)
    run = engine.coordinator.run(run_id)
    assert (run.state, run.jobs[0].attempt) == (State.SUCCESS, 3)
    ended = [record.data for record in engine.ledger.subject(f"run/{run_id}") if isinstance(record.data, JobFinished)]
    assert [one.will_retry for one in ended] == [True, True, False]
    assert [one.attempt for one in engine.coordinator.attempts(run_id, "flaky")] == [1, 2, 3]


def test_a_person_retries_a_failed_job_and_what_it_skipped_goes_on(engine: Engine) -> None:
    run_id = engine.submit(job("test", "true"), job("deploy", "true", stage="deploy"))
    engine.coordinator.finish(take(engine, "test").job.id, FAILED)
    assert states(engine.coordinator.run(run_id)) == {"test": "failed", "deploy": "skipped"}
    run = engine.coordinator.retry(run_id, "test", "dev")
    assert (run.state, run.finished_at) == (State.PENDING, None)
    engine.coordinator.finish(take(engine, "test").job.id, PASSED)
    engine.coordinator.finish(take(engine, "deploy").job.id, PASSED)
    assert engine.coordinator.run(run_id).state is State.SUCCESS
    with pytest.raises(Conflict):
        engine.coordinator.play(run_id, "deploy", "dev")
    with pytest.raises(NotFound):
        engine.coordinator.retry(run_id, "nothing", "dev")
    with pytest.raises(NotFound):
        engine.coordinator.run("01unknown")


def test_a_canceled_run_is_retried_whole_and_in_order(engine: Engine) -> None:
    run_id = engine.submit(
        job("deploy", "true", stage="deploy"), job("scan", "true"), job("test", "true"), job("build", "true", stage="build"),
        job("smoke", "true", stage="deploy", needs=(Need(job="deploy"),)),
    )  # fmt: skip
    engine.coordinator.finish(take(engine, "build").job.id, PASSED)
    engine.coordinator.finish(take(engine).job.id, FAILED)
    engine.coordinator.cancel(run_id, "dev")
    assert engine.coordinator.run(run_id).state.finished
    assert {"scan", "test"} <= set(engine.coordinator.retry_failed(run_id, "dev"))
    before = states(engine.coordinator.run(run_id))
    assert before == {
        "build": "success", "scan": "pending", "test": "pending", "deploy": "created", "smoke": "created",
    }  # fmt: skip
    engine.coordinator.recover()
    assert states(engine.coordinator.run(run_id)) == before
    for _ in ("scan", "test"):
        engine.coordinator.finish(take(engine).job.id, PASSED)
    for name in ("deploy", "smoke"):
        engine.coordinator.finish(take(engine, name).job.id, PASSED)
    assert engine.coordinator.run(run_id).state is State.SUCCESS
    assert engine.coordinator.retry_failed(run_id, "dev") == ()


def test_a_manual_job_waits_for_a_person(engine: Engine) -> None:
    run_id = engine.submit(job("gate", "true", when="manual"), job("deploy", "true", stage="deploy"))
    assert engine.coordinator.run(run_id).state is State.MANUAL
    assert engine.coordinator.acquire(RUNNER) is None
    engine.coordinator.play(run_id, "gate", "dev")
    engine.coordinator.finish(take(engine, "gate").job.id, PASSED)
    engine.coordinator.finish(take(engine, "deploy").job.id, PASSED)
    assert engine.coordinator.run(run_id).state is State.SUCCESS


def test_a_delayed_job_starts_when_its_time_has_come(engine: Engine, clock: FakeClock) -> None:
    run_id = engine.submit(job("later", "true", when="delayed", start_in=600))
    assert engine.coordinator.run(run_id).state is State.SCHEDULED
    clock.advance(599)
    assert engine.coordinator.acquire(RUNNER) is None
    clock.advance(1)
    assert take(engine).spec.name == "later"


def test_a_manual_job_can_be_canceled_alone(engine: Engine) -> None:
    run_id = engine.submit(job("a", "true"), job("b", "true"))
    given = take(engine, "a")
    engine.coordinator.cancel_job(run_id, "b", "dev")
    engine.coordinator.cancel_job(run_id, "a", "dev")
    assert states(engine.coordinator.run(run_id)) == {"a": "canceling", "b": "canceled"}
    engine.coordinator.finish(given.job.id, FAILED)
    assert engine.coordinator.run(run_id).state is State.CANCELED


def test_exit_codes_decide_whether_a_failure_is_allowed(engine: Engine) -> None:
    run_id = engine.submit(job("a", "true", allow_failure_exit_codes=(1,)))
    engine.coordinator.finish(take(engine).job.id, FAILED)
    run = engine.coordinator.run(run_id)
    assert (run.state, run.jobs[0].state, run.jobs[0].allow_failure) == (State.SUCCESS, State.FAILED, True)


def test_dotenv_reports_and_archives_reach_later_jobs(engine: Engine) -> None:
    engine.submit(
        job("build", "true", stage="build"),
        job("other", "true", stage="build"),
        job("test", "true", values={"X": "plan"}),
        job("lone", "true", needs=(Need(job="build", artifacts=False),)),
        job("chosen", "true", stage="deploy", dependencies=("other",)),
    )
    for name, value in (("build", "1"), ("other", "2")):
        given = take(engine, name)
        digest = engine.blobs.put(f"X={value}\nFROM_{name}=yes\n".encode())
        files = (
            StoredFile(name="build.env", kind="dotenv", digest=digest, size=1),
            StoredFile(name="a.zip", kind="archive", digest=digest, size=1),
        )
        engine.coordinator.finish(given.job.id, JobResult(state=State.SUCCESS, exit_code=0, files=files))
    seen = {}
    while (given := engine.coordinator.acquire(RUNNER)) is not None:
        values = {one.key: one.value for one in given.variables if one.key != "TRACEPARENT"}
        seen[given.spec.name] = (values, [one.job for one in given.dependencies])
        engine.coordinator.finish(given.job.id, PASSED)
    assert seen["test"] == ({"X": "2", "FROM_build": "yes", "FROM_other": "yes"}, ["build", "other"])
    assert seen["lone"] == ({}, [])
    assert seen["chosen"] == ({"X": "2", "FROM_other": "yes"}, ["other"])


def test_secrets_are_resolved_at_the_start_and_never_in_the_plan(tmp_path: Path) -> None:
    value = "value-" + "of-the-secret"
    made = Engine(tmp_path, resolve=lambda _run, _spec, reference: f"{value}:{reference}")
    run_id = made.submit(job("a", "true", variables=(Variable(key="S", value="", secret="vault/x"),)))
    given = take(made)
    joins, *own = given.variables
    assert joins.value == traceparent(run_id, given.job.id)
    assert own == [Variable(key="S", value=f"{value}:vault/x", secret="vault/x", masked=True, raw=True)]
    assert value.encode() not in made.blobs.get(made.coordinator.run(run_id).plan)
    made.close()


def test_a_secret_that_does_not_resolve_keeps_the_job_from_running(engine: Engine) -> None:
    engine.submit(job("a", "true", variables=(Variable(key="S", value="", secret="vault/x"),)))
    assert "vault/x" in take(engine).resolve_failure


# -- after a crash ---------------------------------------------------------------------------------------------


def test_after_a_crash_a_running_job_fails_and_is_tried_again_visibly(engine: Engine) -> None:
    run_id = engine.submit(job("a", "true"), job("b", "true"))
    lost = take(engine)
    engine.coordinator.trace(lost.job.id, 0, b"so far\n")
    open_runs = engine.restart()
    assert [one.id for one in open_runs] == [run_id]
    job_now = by_name(engine.coordinator.run(run_id))[lost.spec.name]
    assert (job_now.attempt, job_now.state) == (2, State.PENDING)
    first = engine.coordinator.attempts(run_id, lost.spec.name)[0]
    assert (first.failure_reason, first.message) == (
        "runner_system_failure",
        "the server stopped while this job was running",
    )
    assert first.trace is not None
    assert engine.blobs.get(first.trace.digest) == b"so far\n"
    assert engine.coordinator.update(lost.job.id) is Signal.ABORT
    for _ in range(2):
        engine.coordinator.finish(take(engine).job.id, PASSED)
    assert engine.coordinator.run(run_id).state is State.SUCCESS
    started = [one.data for one in engine.ledger.subject(f"run/{run_id}") if isinstance(one.data, JobStarted)]
    assert sorted((one.job.name, one.job.attempt) for one in started) == [("a", 1), ("a", 2), ("b", 1)]


def test_a_remote_runners_job_outlives_a_restart_of_the_server(engine: Engine) -> None:
    run_id = engine.submit(job("a", "true"))
    given = take(engine, runner=Runner(name="fleet", isolation="container", resumable=True))
    engine.restart()
    assert engine.coordinator.update(given.job.id) is Signal.CONTINUE
    engine.coordinator.finish(given.job.id, PASSED)
    assert engine.coordinator.run(run_id).state is State.SUCCESS


def test_finished_runs_are_read_back_as_they_were(engine: Engine) -> None:
    run_id = engine.submit(job("a", "true", retry=Retry(max=1)), job("b", "true", stage="deploy", when="on_failure"))
    engine.coordinator.finish(take(engine, "a").job.id, FAILED)
    engine.coordinator.finish(take(engine, "a").job.id, FAILED)
    engine.coordinator.finish(take(engine, "b").job.id, PASSED)
    before = engine.coordinator.run(run_id)
    assert engine.restart() == ()
    assert engine.coordinator.run(run_id) == before


def test_a_lost_queue_store_only_makes_recovery_read_more(engine: Engine) -> None:
    for _ in range(3):
        engine.submit(job("a", "true"))
    engine.coordinator.finish(take(engine).job.id, PASSED)
    engine.close()
    for file in (engine.root / "data").glob("queue.db*"):
        file.unlink()
    engine.open()
    assert len(engine.coordinator.recover()) == 2


def test_a_canceled_job_that_was_lost_is_canceled_not_tried_again(engine: Engine) -> None:
    run_id = engine.submit(job("a", "true"))
    take(engine)
    engine.coordinator.cancel(run_id, "dev")
    assert engine.restart() == ()
    assert engine.coordinator.run(run_id).state is State.CANCELED


class FailingLedger:
    """A ledger whose appends fail as `schedule` says: `before` writes nothing, `after` writes and then fails."""

    def __init__(self, inner: Any, schedule: Iterator[str]) -> None:
        self._inner = inner
        self._schedule = schedule

    def append(self, events: Sequence[Draft], *, expect: Mapping[str, int] | None = None) -> tuple[Record, ...]:
        fault = next(self._schedule, "")
        if fault == "before":
            raise ExternalError("disk", "the disk is full")
        records: tuple[Record, ...] = self._inner.append(events, expect=expect)
        if fault == "after":
            raise ExternalError("disk", "the answer was lost")
        return records

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_fails_no_job_runs_twice_unnoticed_and_the_run_ends(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    made = Engine(tmp_path, clock=FakeClock())
    run_id = made.submit(
        job("a", "true", stage="build"),
        job("b", "true", stage="build", retry=Retry(max=2)),
        job("c", "true", needs=(Need(job="a"),)),
        job("d", "true", stage="deploy"),
    )

    def break_it() -> None:
        faults = (chance.choice(["", "", "", "before", "after"]) for _ in iter(int, 1))
        made.coordinator._ledger = FailingLedger(made.ledger, faults)  # type: ignore[assignment]

    break_it()
    begun: list[str] = []
    for _ in range(200):
        if chance.random() < 0.1:
            made.restart()
            break_it()
        try:
            given = made.coordinator.acquire(RUNNER)
            if given is not None:
                begun.append(given.job.id)
                made.coordinator.finish(given.job.id, PASSED)
        except (ExternalError, Conflict):
            continue
        finally:
            made.clock.advance(40)  # type: ignore[attr-defined]
    made.restart()
    while (given := made.coordinator.acquire(RUNNER)) is not None:
        begun.append(given.job.id)
        made.coordinator.finish(given.job.id, PASSED)
    assert made.coordinator.run(run_id).state.finished
    assert len(begun) == len(set(begun)), "an attempt was handed out twice"
    records = [record.data for record in made.ledger.subject(f"run/{run_id}")]
    started = [one.job.id for one in records if isinstance(one, JobStarted)]
    ended = [one.job.id for one in records if isinstance(one, JobFinished)]
    assert set(begun) <= set(started), "a job ran that the ledger does not know of"
    assert len(started) == len(set(started))
    assert sorted(started) == sorted(ended)
    made.close()
