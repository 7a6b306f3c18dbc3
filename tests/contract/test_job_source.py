"""What every source of jobs has to do for its runners."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aegis.core.errors import Conflict, NotFound
from aegis.core.types import State
from aegis.execution.options import CoordinatorOptions
from aegis.execution.runners import JobResult, JobSource, Runner, Signal
from support.clock import FakeClock
from support.execution import TOKEN, Engine, by_name, job

RUNNER = Runner(name="one", isolation="namespaces")
PASSED = JobResult(state=State.SUCCESS, exit_code=0)


class JobSourceContract:
    """Inherited for each source. `source` is under test; `engine` submits and looks."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def engine(self, tmp_path: Path, clock: FakeClock) -> Iterator[Engine]:
        made = Engine(tmp_path, clock=clock, options=CoordinatorOptions(lease_seconds=30))
        yield made
        made.close()

    @pytest.fixture
    def source(self, engine: Engine) -> JobSource:
        return engine.coordinator

    def test_a_job_comes_with_all_it_needs(self, engine: Engine, source: JobSource) -> None:
        engine.submit(job("a", "true", values={"X": "1"}))
        given = source.acquire(RUNNER)
        assert given is not None
        assert (given.spec.name, given.job.state, given.job.runner, given.token) == ("a", State.RUNNING, "one", TOKEN)
        assert [one.key for one in given.variables] == ["TRACEPARENT", "X"]
        assert given.run.commit == engine.commit
        assert source.acquire(RUNNER) is None

    def test_many_runners_never_get_the_same_job(self, engine: Engine, source: JobSource) -> None:
        engine.submit(*[job(f"j{number}", "true") for number in range(30)])
        with ThreadPoolExecutor(8) as threads:
            given = list(threads.map(lambda _: source.acquire(RUNNER), range(40)))
        names = [one.spec.name for one in given if one is not None]
        assert len(names) == len(set(names)) == 30

    def test_assignment_is_durable_before_it_is_answered(self, engine: Engine, source: JobSource) -> None:
        run_id = engine.submit(job("a", "true"))
        source.acquire(RUNNER)
        assert engine.ledger.subject(f"run/{run_id}")[-1].type == "dev.cdevents.taskrun.started"

    def test_waiting_ends_when_a_job_appears(self, engine: Engine, source: JobSource) -> None:
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(source.acquire, RUNNER, timeout=1e6)
            engine.submit(job("a", "true"))
            given = waiting.result(10)
        assert given is not None

    def test_waiting_ends_when_it_is_woken(self, source: JobSource) -> None:
        woken = threading.Event()

        def wait() -> object:
            try:
                return source.acquire(RUNNER, timeout=1e6)
            finally:
                woken.set()

        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(wait)
            while not woken.wait(0.01):
                source.wake()
            assert waiting.result(10) is None

    def test_tags_decide_which_runner_may_take_a_job(self, engine: Engine, source: JobSource) -> None:
        engine.submit(job("gpu", "true", tags=("gpu",)), job("any", "true"))
        plain = source.acquire(Runner(name="plain", isolation="namespaces", tags=()))
        assert plain is not None
        assert plain.spec.name == "any"
        special = source.acquire(Runner(name="special", isolation="namespaces", tags=("gpu", "x")))
        assert special is not None
        assert special.spec.name == "gpu"

    def test_a_trace_grows_by_offsets_and_takes_repetitions(self, engine: Engine, source: JobSource) -> None:
        engine.submit(job("a", "true"))
        given = source.acquire(RUNNER)
        assert given is not None
        assert source.trace(given.job.id, 0, b"hello ").size == 6
        assert source.trace(given.job.id, 0, b"hello world").size == 11
        with pytest.raises(Conflict):
            source.trace(given.job.id, 20, b"gap")
        assert source.trace(given.job.id, 11, b"!").signal is Signal.CONTINUE
        source.finish(given.job.id, PASSED)
        assert source.trace(given.job.id, 12, b"late").signal is Signal.ABORT
        assert engine.traces.read(given.job.id, 0, 100) == b"hello world!"

    def test_finishing_twice_with_the_same_result_is_one_finish(self, engine: Engine, source: JobSource) -> None:
        run_id = engine.submit(job("a", "true"))
        given = source.acquire(RUNNER)
        assert given is not None
        source.finish(given.job.id, PASSED)
        count = len(engine.ledger.subject(f"run/{run_id}"))
        source.finish(given.job.id, PASSED)
        assert len(engine.ledger.subject(f"run/{run_id}")) == count
        with pytest.raises(Conflict):
            source.finish(given.job.id, JobResult(state=State.FAILED, exit_code=1))
        with pytest.raises(NotFound):
            source.finish("01unknown", PASSED)

    def test_a_canceled_run_tells_its_runners_and_stays_canceled(self, engine: Engine, source: JobSource) -> None:
        run_id = engine.submit(job("a", "true"), job("b", "true", stage="deploy"))
        given = source.acquire(RUNNER)
        assert given is not None
        engine.coordinator.cancel(run_id, "dev", "no need")
        assert source.update(given.job.id) is Signal.CANCEL
        source.finish(given.job.id, PASSED)
        run = engine.coordinator.run(run_id)
        assert {one.state for one in run.jobs} == {State.CANCELED}
        assert run.state is State.CANCELED
        assert source.update(given.job.id) is Signal.ABORT

    def test_a_remote_runner_that_falls_silent_loses_its_job_which_is_tried_once_more(
        self, engine: Engine, source: JobSource, clock: FakeClock
    ) -> None:
        fleet = Runner(name="fleet", isolation="container", resumable=True)
        engine.submit(job("a", "true"))
        given = source.acquire(fleet)
        assert given is not None
        clock.advance(119)
        assert source.update(given.job.id) is Signal.CONTINUE
        clock.advance(121)
        again = source.acquire(fleet)
        assert again is not None
        assert (again.spec.name, again.job.attempt) == ("a", 2)
        assert source.update(given.job.id) is Signal.ABORT
        with pytest.raises(Conflict):
            source.finish(given.job.id, PASSED)

    def test_every_job_that_becomes_pending_is_told(self, engine: Engine, source: JobSource) -> None:
        before = source.offered()
        assert source.offered(before, timeout=0.0) == before
        with ThreadPoolExecutor(1) as threads:
            heard = threads.submit(source.offered, before, 30.0)
            engine.submit(job("a", "true"), job("b", "true"))
            assert heard.result(30) > before

    def test_a_runner_gets_only_what_it_takes(self, engine: Engine, source: JobSource) -> None:
        engine.submit(job("a", "true"))
        picky = Runner(name="picky", isolation="container", untagged=False)
        assert source.acquire(picky) is None
        assert source.acquire(Runner(name="foreign", isolation="container", admits=lambda _run, _spec: False)) is None
        assert source.acquire(RUNNER) is not None

    def test_a_silent_lease_ends_and_the_job_is_tried_once_more(
        self, engine: Engine, source: JobSource, clock: FakeClock
    ) -> None:
        run_id = engine.submit(job("a", "true"))
        first = source.acquire(RUNNER)
        assert first is not None
        clock.advance(20)
        assert source.update(first.job.id) is Signal.CONTINUE
        clock.advance(29)
        engine.coordinator.tick()
        assert source.update(first.job.id) is Signal.CONTINUE
        clock.advance(31)
        second = source.acquire(RUNNER)
        assert second is not None
        assert (second.job.attempt, second.job.id != first.job.id) == (2, True)
        assert source.update(first.job.id) is Signal.ABORT
        with pytest.raises(Conflict):
            source.finish(first.job.id, PASSED)
        clock.advance(31)
        engine.coordinator.tick()
        one = by_name(engine.coordinator.run(run_id))["a"]
        assert (one.state, one.failure_reason, one.attempt) == (State.FAILED, "runner_system_failure", 2)

    def test_a_resource_group_is_held_by_one_job_at_a_time(self, engine: Engine, source: JobSource) -> None:
        first_run = engine.submit(job("deploy", "true", resource_group="production"))
        second_run = engine.submit(job("deploy", "true", resource_group="production"))
        first = source.acquire(RUNNER)
        assert first is not None
        assert first.run.id == first_run
        assert source.acquire(RUNNER) is None
        assert engine.coordinator.run(second_run).jobs[0].state is State.WAITING_FOR_RESOURCE
        source.finish(first.job.id, PASSED)
        second = source.acquire(RUNNER)
        assert second is not None
        assert second.run.id == second_run


class TestCoordinator(JobSourceContract):
    """The coordinator itself."""

    def test_a_server_that_requires_isolation_refuses_other_runners(self, tmp_path: Path) -> None:
        made = Engine(tmp_path, options=CoordinatorOptions(require_isolation=True))
        made.submit(job("a", "true"))
        with pytest.raises(Conflict, match="does not isolate"):
            made.coordinator.acquire(Runner(name="bare", isolation="process"))
        assert made.coordinator.acquire(RUNNER) is not None
        made.close()
