"""When a schedule is due: the five fields of cron, as GitLab reads them, in a time zone. Pure.

It answers the last moment at or before another. Whether something is started then is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aegis.core.errors import UserError

_ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS: Final = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS: Final = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_BOUNDS: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_LOOK_BACK_DAYS: Final = 366 * 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A schedule that was read. Where both days are restricted, either of them makes a day fit, as in cron."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    zone: ZoneInfo

    def last(self, now: datetime, *, after: datetime) -> datetime | None:
        """The latest moment in (`after`, `now`] that fits, in UTC; None where there is none.

        An hour that a clock change leaves out has no moments; one that comes twice counts once, the first time.
        """
        local = now.astimezone(self.zone)
        day = local.date()
        first = max(after.astimezone(self.zone).date(), day - timedelta(days=_LOOK_BACK_DAYS))
        while day >= first:
            if self._fits(day):
                found = self._within(day, now)
                if found is not None:
                    return found if found > after else None
            day -= timedelta(days=1)
        return None

    def _within(self, day: date, now: datetime) -> datetime | None:
        for hour in reversed(self.hours):
            for minute in reversed(self.minutes):
                moment = datetime.combine(day, time(hour, minute), self.zone).astimezone(UTC)
                back = moment.astimezone(self.zone)
                if moment <= now and (back.hour, back.minute) == (hour, minute):
                    return moment
        return None

    def _fits(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        monthly, weekly = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return monthly and weekly
        return monthly or weekly


def parse(text: str, zone: str = "UTC") -> Cron:
    """The schedule that `text` means; `UserError` where it is none."""
    try:
        where = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UserError(
            "no-time-zone", f"there is no time zone {zone!r}", hint="write one like Europe/Berlin"
        ) from error
    fields = _ALIASES.get(text.strip().lower(), text).split()
    if len(fields) != 5:
        raise _wrong(text, "it has not five fields")
    sets = [_field(text, one, number) for number, one in enumerate(fields)]
    weekdays = frozenset(one % 7 for one in sets[4])
    return Cron(
        minutes=tuple(sorted(sets[0])),
        hours=tuple(sorted(sets[1])),
        days=frozenset(sets[2]),
        months=frozenset(sets[3]),
        weekdays=weekdays,
        any_day=fields[2].startswith("*"),
        any_weekday=fields[4].startswith("*"),
        zone=where,
    )


def _field(whole: str, text: str, number: int) -> set[int]:
    low, high = _BOUNDS[number]
    found: set[int] = set()
    for part in text.lower().split(","):
        span, _, step = part.partition("/")
        if step and not (step.isdigit() and int(step)):
            raise _wrong(whole, f"{step!r} is no step")
        if span == "*":
            first, last = low, min(high, 6) if number == 4 else high
        else:
            begin, dash, end = span.partition("-")
            first = _number(whole, begin, number)
            last = _number(whole, end, number) if dash else (high if step else first)
        if not low <= first <= last <= high:
            raise _wrong(whole, f"{part!r} is not within {low} and {high}")
        found.update(range(first, last + 1, int(step or 1)))
    return found


def _number(whole: str, text: str, number: int) -> int:
    names = {3: _MONTHS, 4: _DAYS}.get(number, [])
    if text in names:
        return names.index(text) + (number == 3)
    if not text.isdigit():
        raise _wrong(whole, f"{text!r} is no number")
    return int(text)


def _wrong(text: str, why: str) -> UserError:
    return UserError(
        "cron", f"{text!r} is no schedule: {why}", hint='write minute hour day month weekday: "0 4 * * 1-5"'
    )
