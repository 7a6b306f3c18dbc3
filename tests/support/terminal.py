"""A terminal for tests: the screen that a person would see after some bytes, and a program run in a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aegis.cli.columns import width

_SEQUENCE = re.compile(r"\x1b\[(?P<numbers>[0-9;?]*)(?P<what>[A-Za-z])")


class Screen:
    """What lines a terminal of `columns` by `rows` has shown: wraps, scrolls, moves up and erases, as programs here use it."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.columns = columns
        self.rows = rows
        self.lines: list[list[str]] = [[]]
        self._row = 0
        self._column = 0

    def feed(self, data: bytes) -> None:
        """Take what a program has written."""
        text = data.decode("utf-8", "replace")
        position = 0
        while position < len(text):
            found = _SEQUENCE.match(text, position)
            if found is not None:
                self._sequence(found["what"], int(found["numbers"] or 0) if found["numbers"].isdigit() else 0)
                position = found.end()
                continue
            self._character(text[position])
            position += 1

    def _character(self, one: str) -> None:
        if one == "\r":
            self._column = 0
        elif one == "\n":
            self._down()
        elif one >= " ":
            if self._column + width(one) > self.columns:
                self._down()
                self._column = 0
            line = self.lines[self._row]
            line += [" "] * (self._column + width(one) - len(line))
            line[self._column] = one
            for more in range(1, width(one)):
                line[self._column + more] = ""
            self._column += width(one)

    def _down(self) -> None:
        self._row += 1
        while self._row >= len(self.lines):
            self.lines.append([])

    def _sequence(self, what: str, number: int) -> None:
        if what == "A":
            top = max(0, len(self.lines) - self.rows)
            self._row = max(top, self._row - max(1, number))
        elif what in {"K", "J"}:
            del self.lines[self._row][self._column :]
            if what == "J":
                del self.lines[self._row + 1 :]

    @property
    def text(self) -> str:
        """Everything that stands there, what has scrolled away included."""
        return "\n".join("".join(line).rstrip() for line in self.lines)


Answer = bytes | Callable[[subprocess.Popen[bytes]], object]


@dataclass(slots=True)
class Session:
    """How a program in a terminal went: its leave code, its bytes, and when each answer was given."""

    code: int
    out: bytes
    moments: list[float] = field(default_factory=list)


def run(
    argv: Sequence[str],
    answers: Sequence[tuple[bytes, Answer]] = (),
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    columns: int = 80,
    rows: int = 24,
    seconds: float = 60,
) -> Session:
    """Run a program in a terminal of its own; each answer is given when its text has appeared after the one before."""
    person, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    process = subprocess.Popen(
        argv, stdin=terminal, stdout=terminal, stderr=terminal, cwd=cwd, start_new_session=True,
        env={**os.environ, "TERM": "xterm", **(env or {})},
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - so that Ctrl-C is a signal; no threads
    )  # fmt: skip
    os.close(terminal)
    session, mark, waiting = Session(0, b""), 0, list(answers)
    begun = time.monotonic()
    try:
        while time.monotonic() - begun < seconds:
            if not select.select([person], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(person, 65536)
            except OSError:
                break
            session.out += data
            while waiting and waiting[0][0] in session.out[mark:]:
                wanted, answer = waiting.pop(0)
                mark = session.out.index(wanted, mark) + len(wanted)
                session.moments.append(time.monotonic() - begun)
                if callable(answer):
                    answer(process)
                else:
                    os.write(person, answer)
        else:
            raise AssertionError(f"it did not end in {seconds} s: {session.out[-2000:]!r}")
        session.code = process.wait(seconds)
    finally:
        os.close(person)
        if process.poll() is None:
            process.kill()
            process.wait()
    return session
