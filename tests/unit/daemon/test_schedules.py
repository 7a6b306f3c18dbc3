"""Schedules while the wall clock jumps: nothing is skipped for longer than the jump lasts, nothing starts twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from aegis.core.errors import Conflict
from aegis.daemon.loops import Reporter
from aegis.daemon.schedules import Schedules
from support.clock import FakeClock


class Started:
    """A dispatcher that starts each moment once, as the handler does."""

    def __init__(self) -> None:
        self.moments: list[datetime] = []

    def run(self, command: Any, _asking: object) -> None:
        if command.due in self.moments:
            raise Conflict("started", "this moment was started")
        self.moments.append(command.due)


class Clock(FakeClock):
    """A clock that is set."""

    def set(self, by: timedelta) -> None:
        self._now += by


def at(hour: int, day: int = 5) -> datetime:
    return datetime(2026, 1, day, hour, tzinfo=UTC)


def world(start: datetime) -> tuple[Clock, Started, Schedules]:
    clock, started = Clock(start), Started()
    schedule = SimpleNamespace(cron="0 * * * *", zone="UTC", active=True)
    project = SimpleNamespace(name="team/web", schedules={"hourly": schedule})
    context: Any = SimpleNamespace(clock=clock, options=SimpleNamespace(projects={"team/web": project}))
    schedules = Schedules(context, started, Reporter())  # type: ignore[arg-type]
    schedules.round()
    return clock, started, schedules


def hours(clock: Clock, schedules: Schedules, count: int) -> None:
    """Time passes, and the loop looks."""
    for _ in range(count * 6):
        clock.advance(600)
        schedules.round()


def test_each_moment_starts_once() -> None:
    clock, started, schedules = world(at(9) + timedelta(minutes=30))
    hours(clock, schedules, 3)
    assert started.moments == [at(10), at(11), at(12)]


def test_a_clock_that_is_set_back_repeats_no_moment_and_goes_on() -> None:
    clock, started, schedules = world(at(9) + timedelta(minutes=30))
    hours(clock, schedules, 1)
    clock.set(-timedelta(hours=1))
    hours(clock, schedules, 3)
    assert started.moments == [at(10), at(11), at(12)]


def test_a_clock_that_is_set_a_day_ahead_and_back_leaves_no_day_out() -> None:
    clock, started, schedules = world(at(9) + timedelta(minutes=30))
    clock.set(timedelta(days=1))
    schedules.round()
    assert started.moments == [at(9, day=6)], "the last of those that were jumped over, not each"
    clock.set(-timedelta(days=1))
    hours(clock, schedules, 3)
    assert started.moments[1:] == [at(10), at(11), at(12)]
