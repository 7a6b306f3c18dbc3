"""Tells people on standard error how a local run goes: on a terminal by lines that are redrawn, elsewhere by lines that stay.

It looks at what changed and at the new bytes of logs, draws at most ten times a second, and leaves the terminal alone while
somebody has a shell in it. What a frame looks like is decided in `screen`, what of a log is shown in `folded`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import field
from typing import TYPE_CHECKING, Final

from aegis.cli import output
from aegis.cli.columns import padded, width
from aegis.cli.folded import FoldedLog
from aegis.cli.screen import MANY, Going, Row, Sum, frame, remaining, summary
from aegis.core.values import dataclass

if TYPE_CHECKING:
    from aegis.bootstrap.history import Usual
    from aegis.bootstrap.run import LocalRun
    from aegis.core.plan import Plan
    from aegis.core.types import JobRun, Run

QUIET_SECONDS: Final = 10.0
_DRAW_SECONDS: Final = 0.1
_ESTIMATE_SECONDS: Final = 1.5
_PIECE: Final = 1024 * 1024
_GLANCE: Final = 32 * 1024
"""How much of a log is looked at for its last lines."""
_KEPT: Final = 30
_NAME: Final = 20
_UNTOLD: Final = frozenset({"created", "pending", "preparing", "waiting_for_resource", "canceling", "scheduled"})
_TO_COME: Final = frozenset({"created", "pending", "waiting_for_resource"})
_HOW: Final = {
    "namespaces": "isolated by namespaces",
    "docker": "in containers of docker",
    "podman": "in containers of podman",
    "process": "NOT isolated from this machine",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a run is to be told. `logs` is `live`, `grouped` or `none`; `follow` names the jobs whose logs are wanted."""

    live: bool
    quiet: bool = False
    logs: str = "live"
    follow: frozenset[str] = frozenset()
    parallel: int = 1


@dataclass(slots=True)
class _Log:
    """How far a job's log has been read."""

    job: JobRun
    begun: float
    reader: FoldedLog = field(default_factory=FoldedLog)
    offset: int = 0
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))


class Show:
    """Progress of one run. `usual` knows how long jobs take as a rule; it is asked when the run is not a short one.

    `held` holds back what could interrupt a drawing.
    """

    def __init__(
        self,
        plan: Plan,
        wish: Wish,
        usual: Usual,
        held: AbstractContextManager[None] | None = None,
    ) -> None:
        self._wish = wish
        self._times = usual
        self._count = len(plan.jobs)
        """How many jobs are known; child pipelines bring more."""
        self._unasked = frozenset(job.name for job in plan.jobs if job.when in {"manual", "on_failure"})
        self._prefix = min(_NAME, max((width(job.name) for job in plan.jobs), default=0))
        self._told: dict[str, tuple[int, str]] = {}
        self._seen: dict[str, JobRun] = {}
        self._logs: dict[str, _Log] = {}
        self._made: LocalRun | None = None
        self._screen = Screen(sys.stderr.fileno(), held) if wish.live else None
        self._started = self._spoken = time.monotonic()
        self._looked = 0.0
        self.notice = ""
        """What is said beside the sum: that it is being stopped."""

    @property
    def usual(self) -> Mapping[str, float]:
        """The usual seconds of jobs, once the run has gone on for a while."""
        return self._times.found

    @property
    def live(self) -> bool:
        """Whether lines are redrawn."""
        return self._screen is not None

    def begin(self, made: LocalRun) -> None:
        """Say what is about to happen, and how jobs are kept apart."""
        self._made = made
        how = _HOW.get(made.executor.isolation, made.executor.isolation)
        jobs = "1 job" if self._count == 1 else f"{self._count} jobs"
        self.line(f"run {made.id}: {jobs}, {how}")

    def see(self, state: Run) -> None:
        """What happened since the last time."""
        self._count = len(state.jobs)
        lines: list[str] = []
        for job in state.jobs:
            if self._seen.get(job.name) is not job:
                self._seen[job.name] = job
                self._job(job, lines)
        now = time.monotonic()
        if now - self._looked >= _DRAW_SECONDS:
            self._looked = now
            for log in list(self._logs.values()):
                self._read(log, lines)
            self._estimate(now)
            if self._screen is not None:
                self._draw(lines, state, now)
                return
        if lines and self._screen is not None:
            self._screen.keep(lines)  # written with the next drawing: not one for every job
        elif lines:
            self._put(lines)
        elif self._screen is None and now - self._spoken >= QUIET_SECONDS:
            self.line(self._sum_line(state, now))

    def line(self, text: str) -> None:
        """A line that stays."""
        self._put([text])

    def end(self, state: Run) -> None:
        """Nothing is redrawn any more."""
        self._looked = 0.0
        self.see(state)
        if self._screen is not None:
            self._screen.clear()

    # -- jobs -----------------------------------------------------------------------------------------------------

    def _job(self, job: JobRun, lines: list[str]) -> None:
        word = job.state.value
        before = self._told.get(job.name)
        if before == (job.attempt, word) or word in _UNTOLD:
            return
        if job.attempt > 1 and (before is None or before[0] < job.attempt):
            lines.append(
                f"{output.state('warn', sys.stderr)} {job.name}: attempt {job.attempt - 1} failed, tried again"
            )
        self._told[job.name] = (job.attempt, word)
        held = self._logs.get(job.name)
        if held is not None and held.job.id != job.id:
            self._close(held, lines)
        if job.started_at is not None and job.name not in self._logs and not self._wish.quiet:
            self._logs[job.name] = _Log(job, time.monotonic())
        if word == "running":
            again = f" (attempt {job.attempt})" if job.attempt > 1 else ""
            if self._screen is None:
                lines.append(f"{output.state(word, sys.stderr)} {job.name}{again}")
            return
        if job.name in self._logs:
            self._close(self._logs[job.name], lines)
        if self._screen is not None and self._count > MANY and word != "failed":
            return
        took = f"  {job.run_seconds:.1f} s" if job.started_at and job.finished_at and job.run_seconds else ""
        why = f"  {job.message}" if job.message and word == "failed" else ""
        lines.append(f"{output.state(word, sys.stderr)} {job.name}{took}{why}{proof(job)}")

    # -- logs -----------------------------------------------------------------------------------------------------

    def _wanted(self, name: str) -> bool:
        return not self._wish.follow or any(_is(name, one) for one in self._wish.follow)

    def _read(self, log: _Log, lines: list[str]) -> None:
        """Take in what a log has got since."""
        if self._made is None:
            return
        if self._screen is not None:
            end = self._made.log_size(log.job)
            if end - log.offset > _GLANCE:
                # Only its end is seen: a job may write faster than anybody reads.
                log.offset, log.reader = end - _GLANCE, FoldedLog()
        elif self._wish.logs != "live" or not self._wanted(log.job.name):
            return
        self._take(log, lines)

    def _take(self, log: _Log, lines: list[str]) -> None:
        if self._made is None:
            return
        while piece := self._made.log_piece(log.job, log.offset, _PIECE):
            log.offset += len(piece)
            self._give(log, log.reader.feed(piece), lines)

    def _close(self, log: _Log, lines: list[str]) -> None:
        del self._logs[log.job.name]
        if self._screen is not None or self._wish.logs == "none" or not self._wanted(log.job.name):
            return
        self._take(log, lines)
        self._give(log, log.reader.close(), lines)

    def _give(self, log: _Log, found: list[str], lines: list[str]) -> None:
        if self._screen is not None:
            log.last.extend(found)
            return
        name = padded(log.job.name, self._prefix)
        lines += [f"{name} │ {one}" for one in found]

    # -- the sum --------------------------------------------------------------------------------------------------

    def _estimate(self, now: float) -> None:
        """Ask for the usual times, beside the run: short ones need none, and the ledger is read for it."""
        if not self._wish.quiet and now - self._started >= _ESTIMATE_SECONDS:
            self._times.ask()

    def _going(self, now: float) -> list[Going]:
        return [
            Going(
                name=name,
                state=self._seen[name].state.value,
                seconds=now - log.begun,
                usual=self._usual_for(name),
                log=self._tail(log),
            )
            for name, log in self._logs.items()
        ]

    def _tail(self, log: _Log) -> tuple[str, ...]:
        if self._wish.logs == "none":
            return ()
        begun = log.reader.unfinished
        return (*log.last, begun) if begun else tuple(log.last)

    def _usual_for(self, name: str) -> float | None:
        from aegis.pipeline.forecast import base_name

        return self.usual.get(name, self.usual.get(base_name(name))) if self.usual else None

    def _sum(self, state: Run, going: list[Going], now: float) -> Sum:
        done = failed = 0
        waiting: list[float | None] = []
        for job in state.jobs:
            word = job.state.value
            done += job.state.finished or word == "manual"
            failed += word == "failed"
            if self.usual and word in _TO_COME and job.name not in self._unasked:
                waiting.append(self._usual_for(job.name))
        left, at_least = remaining(waiting, going, self._wish.parallel) if self.usual else (None, False)
        return Sum(
            jobs=self._count, done=done, failed=failed, seconds=now - self._started, left=left, at_least=at_least,
            notice=self.notice,
        )  # fmt: skip

    def _sum_line(self, state: Run, now: float) -> str:
        going = self._going(now)
        names = [one.name for one in going]
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        return f"{summary(self._sum(state, going, now), len(going))}: {', '.join(names[:6]) or 'nothing runs'}{more}"

    # -- the terminal ---------------------------------------------------------------------------------------------

    def _draw(self, lines: list[str], state: Run, now: float) -> None:
        if self._screen is None:
            return
        going = self._going(now)
        columns, rows = self._screen.size()
        focus = frozenset(one.name for one in going if self._wish.follow and self._wanted(one.name))
        whole = self._sum(state, going, now)
        made = frame(going, whole, columns=columns - 1, rows=rows - 1, focus=focus)
        self._give_terminal(lines, made, columns)

    def _put(self, lines: list[str]) -> None:
        if self._wish.quiet:
            return
        self._spoken = time.monotonic()
        if self._screen is None:
            sys.stderr.write("".join(f"{one}\n" for one in lines))
            sys.stderr.flush()
        else:
            self._give_terminal(lines, None, 0)

    def _give_terminal(self, lines: list[str], rows: list[Row] | None, columns: int) -> None:
        """Write, unless somebody has a shell there; then it waits until that has ended."""
        if self._screen is None:
            return
        self._screen.keep(lines)
        terminal = self._made.terminal if self._made is not None else None
        if terminal is None:
            self._screen.draw(rows, columns)
        elif terminal.acquire(blocking=False):
            try:
                if self._made is not None and self._made.attended != self._screen.attended:
                    self._screen.attended = self._made.attended
                    self._screen.forget()
                self._screen.draw(rows, columns)
            finally:
                terminal.release()


def _is(name: str, wanted: str) -> bool:
    """Whether a job is meant: by its name, or as an instance of a parallel one."""
    return name == wanted or name.startswith((f"{wanted} ", f"{wanted}: "))


class Screen:
    """The lower lines of a terminal that are drawn again and again, below lines that stay. Single-threaded."""

    def __init__(self, descriptor: int, held: AbstractContextManager[None] | None = None) -> None:
        self._descriptor = descriptor
        self._held = held or contextlib.nullcontext()
        self._coloured = output.coloured(sys.stderr)
        self._drawn: list[Row] = []
        self._columns = 0
        self._kept: list[str] = []
        self.attended = 0

    def size(self) -> tuple[int, int]:
        """Columns and rows as they are now."""
        try:
            found = os.get_terminal_size(self._descriptor)
        except OSError:
            found = os.terminal_size((0, 0))
        return found.columns or 80, found.lines or 24

    def keep(self, lines: list[str]) -> None:
        """Lines that stay, to be written with the next drawing."""
        self._kept += lines

    def draw(self, rows: list[Row] | None, columns: int) -> None:
        """Write the lines that stay, then the moving ones; `rows` None: those of before."""
        if rows is None:
            rows, columns = self._drawn, self._columns
        if rows == self._drawn and not self._kept:
            return
        text = self._up(columns)
        text += "".join(f"{line}\x1b[K\n" for line in self._kept)
        text += "\n".join(f"{self._shown(row)}\x1b[K" for row in rows) + "\x1b[J"
        with self._held:
            self._kept, self._drawn, self._columns = [], rows, columns
            sys.stderr.write(text)
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the moving lines away."""
        if self._drawn or self._kept:
            self.draw([], self._columns)

    def forget(self) -> None:
        """Something else wrote: what was drawn stays where it is."""
        self._drawn = []

    def _up(self, columns: int) -> str:
        """To the beginning of what was drawn; where the terminal became narrower, its lines are wrapped now."""
        if not self._drawn:
            return ""
        narrow = max(1, columns)
        rows = (
            sum(max(1, -(-width(row.text) // narrow)) for row in self._drawn)
            if columns < self._columns
            else len(self._drawn)
        )
        return "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "")

    def _shown(self, row: Row) -> str:
        if not self._coloured or not row.symbol:
            return row.text
        if row.symbol == "│":
            return f"\x1b[2m{row.text}\x1b[0m"
        symbol, word, rest = (*row.text.split(" ", 2), "", "")[:3]
        return f"{output.tinted(row.symbol, f'{symbol} {word}')} {rest}"


def proof(job: JobRun) -> str:
    """Where the result of a job comes from that was not worked, or how it differs from what was proven."""
    if job.reused_from:
        return f"  reused from {job.reused_from}"
    verified = job.reuse.verified if job.reuse is not None else ""
    if verified in ("", "same"):
        return "  verified: same" if verified else ""
    return f"  not reproducible: {verified}"
