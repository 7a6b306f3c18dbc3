"""A job's growing log as lines to show: GitLab's sections are folded to a heading, controls of terminals are taken out. Pure.

The script's own section and that of `after_script` are transparent: their lines are the point. What the runner does around
them, and sections that a script makes itself, become one line each, with how many lines they hold and how long they took.
A section that never closes gives its lines when the log ends: that is where something broke.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from aegis.cli.columns import plain

OPEN: Final = frozenset({"step_script", "after_script", "pre_get_sources_script"})
_KEPT: Final = 20
"""How many of the last lines of a folded section are kept, in case that it never closes."""
_MARK: Final = re.compile(
    r"section_(?P<what>start|end):(?P<at>\d+):(?P<name>[A-Za-z0-9_.\-]+)(?:\[[^\]\r\n]*\])?\r(?:\x1b\[0K)?"
)


@dataclass(slots=True)
class _Section:
    name: str
    begun: int
    heading: str = ""
    lines: int = 0
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))


class FoldedLog:
    """Takes the bytes of one log in order and gives lines. Not thread-safe."""

    def __init__(self, *, fold: bool = True) -> None:
        self._fold = fold
        self._rest = b""
        self._open: list[_Section] = []

    @property
    def unfinished(self) -> str:
        """The line that has begun and not ended: a prompt, a bar of progress."""
        return "" if self._open else plain(_MARK.sub("", self._rest[-4096:].decode("utf-8", "replace")))

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        found: list[str] = []
        for line in whole:
            self._line(line.decode("utf-8", "replace"), found)
        return found

    def close(self) -> list[str]:
        """What is left when the log has ended."""
        found: list[str] = []
        if self._rest:
            self._line(self._rest.decode("utf-8", "replace"), found)
            self._rest = b""
        for section in self._open:
            found += [f"▾ {section.heading or section.name} (did not end)", *section.last]
        self._open.clear()
        return found

    def _line(self, text: str, found: list[str]) -> None:
        if "section_" not in text:
            self._put(plain(text), found)
            return
        rest = 0
        marked = False
        for mark in _MARK.finditer(text):
            self._text(text[rest : mark.start()], found)
            rest, marked = mark.end(), True
            if mark["what"] == "start":
                self._begin(mark["name"], int(mark["at"]))
            else:
                self._end(mark["name"], int(mark["at"]), found)
        if marked:
            self._text(text[rest:], found)
        else:
            self._put(plain(text), found)

    def _text(self, text: str, found: list[str]) -> None:
        """A part of a line beside a mark: without marks around it, an empty one was no line."""
        shown = plain(text)
        if not shown:
            return
        section = self._open[-1] if self._open else None
        if section is not None and not section.heading and not section.lines:
            section.heading = shown
            return
        self._put(shown, found)

    def _put(self, line: str, found: list[str]) -> None:
        if self._open:
            outer = self._open[0]
            outer.lines += 1
            outer.last.append(line)
        else:
            found.append(line)

    def _begin(self, name: str, at: int) -> None:
        if self._fold and name not in OPEN:
            self._open.append(_Section(name, at))

    def _end(self, name: str, at: int, found: list[str]) -> None:
        place = next((index for index, one in enumerate(self._open) if one.name == name), None)
        if place is None:
            return
        section = self._open[place]
        del self._open[place:]
        if self._open or not (section.lines or section.heading):
            return
        if not section.lines:
            found.append(section.heading)
            return
        took = f", {at - section.begun} s" if at > section.begun else ""
        count = "1 line" if section.lines == 1 else f"{section.lines} lines"
        found.append(f"▸ {section.heading or section.name} ({count}{took})")
