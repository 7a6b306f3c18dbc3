"""When schedules are due, and that each moment starts a pipeline once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis.core.errors import NotFound, UserError
from aegis.daemon.loops import Reporter
from aegis.daemon.schedules import Schedules
from aegis.delivery.options import Options, ProjectOptions, ScheduleOptions
from aegis.execution.cron import parse
from support.clock import FakeClock

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "now", "last"),
    [
        ("* * * * *", "UTC", "2026-03-01T10:05:30", "2026-03-01T10:05:00"),
        ("0 4 * * *", "UTC", "2026-03-01T03:59:59", "2026-02-28T04:00:00"),
        ("*/15 8-9 * * *", "UTC", "2026-03-01T12:00:00", "2026-03-01T09:45:00"),
        ("0 0 1 * *", "UTC", "2026-03-15T00:00:00", "2026-03-01T00:00:00"),
        ("0 0 29 feb *", "UTC", "2026-03-15T00:00:00", "2024-02-29T00:00:00"),
        ("30 6 * * mon-fri", "UTC", "2026-03-01T12:00:00", "2026-02-27T06:30:00"),  # the 1st was a Sunday
        ("0 0 * * 7", "UTC", "2026-03-03T00:00:00", "2026-03-01T00:00:00"),
        ("0 0 13 * 5", "UTC", "2026-03-14T00:00:00", "2026-03-13T00:00:00"),  # the 13th, or any Friday
        ("0 0 13 * 5", "UTC", "2026-03-12T00:00:00", "2026-03-06T00:00:00"),
        ("0 9 * * *", "Asia/Seoul", "2026-03-01T00:30:00", "2026-03-01T00:00:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T12:00:00", "2026-03-28T01:30:00"),  # the hour that was left out
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T12:00:00", "2026-10-25T00:30:00"),  # the hour that came twice
        ("@daily", "UTC", "2026-03-01T10:00:00", "2026-03-01T00:00:00"),
        ("5,35 */6 1-7 */2 *", "UTC", "2026-03-09T00:00:00", "2026-03-07T18:35:00"),
    ],
)
def test_the_last_moment_of_a_schedule(cron: str, zone: str, now: str, last: str) -> None:
    assert parse(cron, zone).last(at(now), after=LONG_AGO) == at(last)


def test_a_day_that_never_comes_has_no_moment() -> None:
    assert parse("0 0 31 2 *").last(at("2026-03-01T00:00:00"), after=LONG_AGO) is None


def test_moments_that_were_seen_do_not_count_again() -> None:
    assert parse("0 4 * * *").last(at("2026-03-01T05:00:00"), after=at("2026-03-01T04:00:00")) is None


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "* * 0 * *", "a * * * *", "*/0 * * * *", "5-1 * * * *"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse(text)


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(UserError, match="Mars"):
        parse("* * * * *", "Mars/Crater")


class _World:
    """A declaration with one schedule, and what was asked for."""

    def __init__(self, cron: str, **more: Any) -> None:
        self.clock = FakeClock()
        self.asked: list[datetime] = []
        self.fails = False
        schedules = {"nightly": ScheduleOptions(cron=cron, branch="main", **more)}
        project = ProjectOptions(name="team/web", kind="service", schedules=schedules)
        self.options = Options(projects={"team/web": project})
        context = cast("Any", SimpleNamespace(clock=self.clock, options=self.options))
        self.loop = Schedules(context, cast("Any", self), Reporter())

    def run(self, command: Any, _asking: Any) -> None:
        self.asked.append(command.due)
        if self.fails:
            raise NotFound("no-such-branch", "gone")


def test_each_moment_starts_one_pipeline() -> None:
    world = _World("* * * * *")
    for _ in range(130):
        world.loop.round()
        world.clock.advance(1)
    assert len(world.asked) == len(set(world.asked))
    assert len(world.asked) in {3, 4}
    assert {one.second for one in world.asked} == {0}


def test_a_moment_missed_lately_is_made_up_for_once_and_an_old_one_is_not() -> None:
    late = _World("* * * * *")
    late.loop.round()
    assert len(late.asked) == 1
    hour = (late.clock.now() - timedelta(hours=1)).hour
    old = _World(f"0 {hour} * * *") if late.clock.now().minute >= 16 else _World(f"0 {(hour - 1) % 24} * * *")
    old.loop.round()
    assert old.asked == []


def test_an_inactive_schedule_starts_nothing() -> None:
    world = _World("* * * * *", active=False)
    world.loop.round()
    assert world.asked == []


def test_a_schedule_that_cannot_start_waits_for_its_next_moment(capsys: pytest.CaptureFixture[str]) -> None:
    world = _World("* * * * *")
    world.fails = True
    world.loop.round()
    world.loop.round()
    assert len(world.asked) == 1
    assert "gone" in capsys.readouterr().err
