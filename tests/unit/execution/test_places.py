"""Environments of jobs: their state from what happened, their stop jobs, their time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis.core.errors import Conflict, NotFound
from aegis.core.plan import JobEnvironment
from aegis.core.types import State
from aegis.daemon.auto_stop import AutoStop
from aegis.daemon.loops import Reporter
from aegis.delivery import commands as ask
from aegis.delivery.dispatch import HANDLERS, SYSTEM, Asking
from aegis.delivery.flow import follow
from aegis.delivery.handlers import load
from aegis.delivery.options import Options, ProjectOptions
from aegis.delivery.place_book import PlaceBook
from aegis.execution.places import PlaceState
from aegis.execution.runners import JobResult, Runner
from support.clock import FakeClock
from support.execution import PROJECT, Engine, by_name, job

RUNNER = Runner(name="one", isolation="namespaces")
ASKING = Asking(actor=SYSTEM)
MAIN = "refs/heads/main"
load()


def deploying(auto_stop_in: int | None = None, on_stop: str | None = "stop") -> tuple[Any, Any]:
    place = JobEnvironment(name="review/a", on_stop=on_stop, url="https://a.example", auto_stop_in=auto_stop_in)
    ending = JobEnvironment(name="review/a", action="stop")
    return (
        job("deploy", "true", environment=place),
        job("stop", "true", environment=ending, when="manual", allow_failure=True, stage="deploy"),
    )


class _World:
    """An engine with one project, whose branch exists until it is deleted."""

    def __init__(self, root: Path) -> None:
        self.clock = FakeClock()
        self.engine = Engine(root, clock=self.clock)
        self.branches = {MAIN: "0" * 39 + "1"}
        self.places = PlaceBook(self.engine.ledger, threading.Lock())
        self.options = Options(projects={PROJECT: ProjectOptions(name=PROJECT, kind="service")})
        self.context = cast(
            "Any",
            SimpleNamespace(
                engine=self.engine.coordinator, ledger=self.engine.ledger, clock=self.clock, places=self.places,
                options=self.options, authorise=lambda *_, **__: None,
                append=lambda *drafts: self.engine.ledger.append(drafts)[-1].seq,
                repository=lambda _: SimpleNamespace(refs=lambda _: self.branches),
            ),
        )  # fmt: skip
        self.auto_stop = AutoStop(self.context, cast("Any", self), Reporter())
        self.asked = 0

    def run(self, command: Any, asking: Asking) -> Any:
        self.asked += 1
        return HANDLERS[type(command)](self.context, command, asking)

    def work(self, state: State = State.SUCCESS) -> str:
        """Carry out the job that is next; its name."""
        taken = self.engine.coordinator.acquire(RUNNER)
        assert taken is not None
        reason = "script_failure" if state is State.FAILED else ""
        self.engine.coordinator.finish(taken.job.id, JobResult(state=state, failure_reason=reason, exit_code=0))
        return taken.job.name

    def flow(self) -> int:
        """Carry out all that follows from the last event of an environment; how many commands that were."""
        records = self.engine.ledger.read(after=0, limit=1000)
        last = next(one for one in reversed(records) if one.type == "aegis.environment.used")
        commands = follow(last)
        for command in commands:
            self.run(command, ASKING)
        return len(commands)

    def state(self) -> PlaceState:
        return self.places.get(PROJECT, "review/a").state

    def stop(self) -> None:
        self.run(ask.StopEnvironment(project=PROJECT, environment="review/a"), ASKING)

    def delete(self) -> None:
        self.branches.clear()
        self.run(ask.StopAbandoned(project=PROJECT, ref=MAIN), ASKING)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[_World]:
    made = _World(tmp_path)
    yield made
    made.engine.close()


def test_an_environment_is_known_from_the_job_that_deployed_it(world: _World) -> None:
    run = world.engine.submit(*deploying(auto_stop_in=3600))
    with pytest.raises(NotFound, match="review/a"):
        world.places.get(PROJECT, "review/a")
    world.work()
    place = world.places.get(PROJECT, "review/a")
    assert (place.state, place.run, place.job, place.on_stop) == (PlaceState.AVAILABLE, run, "deploy", "stop")
    assert place.deployed_at == world.clock.now()
    assert place.stops_at is not None
    assert (place.stops_at - world.clock.now()).total_seconds() == 3600
    assert world.places.of("other/project") == ()


def test_when_its_branch_is_deleted_its_stop_job_runs_once(world: _World) -> None:
    run = world.engine.submit(*deploying())
    world.work()
    world.run(ask.StopAbandoned(project=PROJECT, ref=MAIN), ASKING)
    assert world.state() is PlaceState.AVAILABLE, "the branch is there"
    world.delete()
    world.delete()
    assert world.state() is PlaceState.STOPPING
    assert world.places.get(PROJECT, "review/a").reason == "main was deleted"
    assert world.work() == "stop"
    assert world.state() is PlaceState.STOPPED
    world.delete()
    assert by_name(world.engine.coordinator.run(run))["stop"].attempt == 1
    assert world.engine.coordinator.acquire(RUNNER) is None
    with pytest.raises(Conflict, match="stopped already"):
        world.stop()


def test_a_deployment_that_ends_after_its_branch_is_stopped_as_well(world: _World) -> None:
    world.engine.submit(*deploying())
    world.delete()
    world.work()
    assert world.state() is PlaceState.AVAILABLE
    assert world.flow() == 1
    assert world.state() is PlaceState.STOPPING
    assert world.work() == "stop"
    assert world.flow() == 0


def test_without_a_stop_job_it_is_stopped_at_once(world: _World) -> None:
    world.engine.submit(deploying(on_stop=None)[0])
    world.work()
    world.stop()
    assert world.state() is PlaceState.STOPPED


def test_a_stop_job_that_fails_leaves_it_available_and_can_be_tried_again(world: _World) -> None:
    world.engine.submit(*deploying(auto_stop_in=60))
    world.work()
    world.stop()
    world.work(State.FAILED)
    place = world.places.get(PROJECT, "review/a")
    assert (place.state, place.reason, place.stops_at) == (PlaceState.AVAILABLE, "stop did not pass", None)
    world.stop()
    world.work()
    assert world.state() is PlaceState.STOPPED


def test_what_a_failed_deployment_left_is_stopped_too(world: _World) -> None:
    deploy, stop = deploying()
    stop = job("stop", "true", environment=stop.environment, when="manual", needs=())
    world.engine.submit(deploy, stop)
    world.work(State.FAILED)
    assert world.places.get(PROJECT, "review/a").deployed_at is None
    world.delete()
    assert world.work() == "stop"
    assert world.state() is PlaceState.STOPPED


def test_a_stop_job_that_cannot_start_is_said_and_changes_nothing(world: _World) -> None:
    world.engine.submit(*deploying())
    world.work(State.FAILED)
    with pytest.raises(Conflict, match="skipped"):
        world.stop()
    assert world.state() is PlaceState.AVAILABLE


def test_time_stops_it_once_and_a_new_deployment_begins_anew(world: _World) -> None:
    world.engine.submit(*deploying(auto_stop_in=60))
    world.work()
    world.clock.advance(59)
    world.auto_stop.round()
    assert world.state() is PlaceState.AVAILABLE
    world.engine.submit(*deploying(auto_stop_in=60))
    world.work()
    world.clock.advance(59)
    world.auto_stop.round()
    assert world.state() is PlaceState.AVAILABLE, "deployed again, its time began again"
    world.clock.advance(1)
    for _ in range(3):
        world.auto_stop.round()
    assert world.asked == 2, "once for its time, and once at the start for its branch"
    assert world.work() == "stop"
    assert world.state() is PlaceState.STOPPED
    world.clock.advance(3600)
    world.auto_stop.round()
    assert world.asked == 2


def test_time_tries_what_cannot_be_stopped_once_and_says_it(world: _World, capsys: pytest.CaptureFixture[str]) -> None:
    world.engine.submit(*deploying(auto_stop_in=60))
    world.work(State.FAILED)
    world.clock.advance(61)
    for _ in range(3):
        world.auto_stop.round()
    assert world.asked == 2
    assert "skipped" in capsys.readouterr().err


def test_what_lost_its_branch_while_no_server_looked_is_stopped_at_the_start(world: _World) -> None:
    world.engine.submit(*deploying())
    world.work()
    world.branches.clear()
    world.auto_stop.round()
    assert world.state() is PlaceState.STOPPING


def test_all_of_it_survives_a_restart(world: _World) -> None:
    world.engine.submit(*deploying(auto_stop_in=60))
    world.work()
    world.stop()
    world.engine.restart()
    assert PlaceBook(world.engine.ledger, threading.Lock()).get(PROJECT, "review/a").state is PlaceState.STOPPING
