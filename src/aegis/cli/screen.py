"""What a terminal shows of a run while it goes on: which lines, for the room that there is. Pure.

Jobs that run have a line each and the last lines of their logs below it; what does not fit is counted, never cut off without a
word. The last line is always the sum. Lines are given with the symbol in whose colour they may be shown, and fit the width.
"""

from __future__ import annotations

from collections.abc import Sequence

from aegis.cli.columns import cut, padded, width
from aegis.cli.output import SYMBOLS
from aegis.core.values import dataclass

MANY = 40
"""From so many jobs on, what went well is counted only."""
_LOG_ROWS = 6
_FOCUS_ROWS = 30
_BAR = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """A job that runs: seconds since it began, its usual seconds (None: not known), and the end of its log, cleaned."""

    name: str
    state: str
    seconds: float
    usual: float | None = None
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """The whole. `left` are the seconds that are still expected, None where that is not known."""

    jobs: int
    done: int
    failed: int
    seconds: float
    left: float | None = None
    at_least: bool = False
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line without colour that fits, and the symbol whose colour it may have (empty: none, `│`: faint)."""

    text: str
    symbol: str = ""


def frame(
    going: Sequence[Going], whole: Sum, *, columns: int, rows: int, focus: frozenset[str] = frozenset()
) -> list[Row]:
    """The lines of the moving part, at most `rows` of them, each at most `columns` wide."""
    last = Row(cut(summary(whole, len(going)), columns))
    room = rows - 1
    if room <= 0 or not going:
        return [last]
    shown = sorted(going, key=lambda one: one.name not in focus)
    more: list[Row] = []
    if len(shown) > room:
        hidden = len(shown) - (room - 1)
        shown = shown[: room - 1]
        more = [Row(cut(f"  … and {hidden} more running", columns))]
    spare = room - len(shown) - len(more)
    name_width = min(max((width(one.name) for one in shown), default=0), max(8, columns // 3))
    lines: list[Row] = []
    for position, one in enumerate(shown):
        symbol = SYMBOLS.get(one.state, "·")
        head = f"{symbol} {one.state} {padded(one.name, name_width)}  {_progress(one)}"
        lines.append(Row(cut(head.rstrip(), columns), symbol))
        alone = bool(focus) and one.name in focus
        if focus and not alone:
            continue
        share = spare // max(1, len(shown) - position) if not alone else spare
        taken = one.log[-min(share, _FOCUS_ROWS if alone or len(shown) == 1 else _LOG_ROWS) :] if share > 0 else ()
        lines += [Row(cut(f"  │ {line}", columns), "│") for line in taken]
        spare -= len(taken)
    return [*lines, *more, last]


def _progress(one: Going) -> str:
    text = spoken(one.seconds)
    if one.usual is None:
        return text
    part = min(1.0, one.seconds / one.usual) if one.usual > 0 else 1.0
    full = round(part * _BAR)
    return f"{'█' * full}{'░' * (_BAR - full)} {text} of about {spoken(one.usual)}"


def spoken(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def summary(whole: Sum, running: int) -> str:
    """The counts in one line."""
    parts = [f"{whole.done}/{whole.jobs} jobs"]
    if whole.failed:
        parts.append(f"{SYMBOLS['failed']} {whole.failed} failed")
    if running:
        parts.append(f"{SYMBOLS['running']} {running} running")
    parts.append(spoken(whole.seconds))
    if whole.left is not None and whole.done < whole.jobs:
        parts.append(f"{'at least' if whole.at_least else 'about'} {spoken(whole.left)} left")
    return " · ".join(parts) + (f" · {whole.notice}" if whole.notice else "")


def remaining(waiting: Sequence[float | None], going: Sequence[Going], parallel: int) -> tuple[float | None, bool]:
    """The seconds that are left: of work over the jobs at once, never less than the longest job; whether that is a lower bound.

    `waiting` are the usual seconds of jobs to come. None where nothing is known of any.
    """
    known = [one for one in waiting if one is not None] + [
        max(0.0, one.usual - one.seconds) for one in going if one.usual is not None
    ]
    unknown = len(waiting) + len(going) - len(known)
    if not known:
        return None, False
    return max(sum(known) / max(1, parallel), *known), unknown > 0
