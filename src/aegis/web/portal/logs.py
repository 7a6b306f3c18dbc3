"""A job's log as numbered lines of markup: colours kept, control sequences and GitLab's section marks dropped.

Pure: bytes in, lines out. A line is what a terminal would show of it (the part after the last carriage return);
a very long one is cut and says so, because a browser lays out 10 MB on one line only once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

LONGEST: Final = 4000
_SECTION: Final = re.compile(r"section_(?:start|end):\d+:[^\r\n]*?(?:\r|$)")
_ESCAPE: Final = re.compile(r"\x1b\[([0-9;]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_TROUBLE: Final = re.compile(r"\b(error|errors|failed|failure|fatal|traceback|exception|denied)\b", re.IGNORECASE)
_SHOWN: Final = frozenset([1, 2, *range(31, 37), *range(90, 97)])


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its number from 1, its text without marks, and its markup."""

    number: int
    text: str
    markup: Markup


def lines(data: bytes, *, first: int = 1, complete: bool) -> tuple[tuple[Line, ...], int]:
    """The whole lines of `data`, and how many of its bytes they took.

    Bytes after the last line's end are kept for the next call unless the log is `complete`.
    """
    used = len(data) if complete else data.rfind(b"\n") + 1
    text = data[:used].decode("utf-8", "replace")
    if not text:
        return (), used
    raw = text.removesuffix("\n").split("\n")
    return tuple(_line(first + index, one) for index, one in enumerate(raw)), used


def _line(number: int, raw: str) -> Line:
    seen = _SECTION.sub("", raw).rstrip("\r").rsplit("\r", 1)[-1]
    over = len(seen) - LONGEST
    if over > 0:
        seen = f"{seen[:LONGEST]}\x1b[0m … (+{over})"
    markup, text = _coloured(seen)
    return Line(number, text, markup)


def _coloured(raw: str) -> tuple[Markup, str]:
    parts: list[Markup] = []
    plain: list[str] = []
    classes: tuple[int, ...] = ()
    at = 0
    for found in [*_ESCAPE.finditer(raw), None]:
        piece = _CONTROL.sub("", raw[at : found.start() if found else len(raw)])
        if piece:
            plain.append(piece)
            names = " ".join(f"a{code}" for code in classes)
            parts.append(Markup('<span class="{}">{}</span>').format(names, piece) if names else escape(piece))
        if found:
            at = found.end()
            if found[1] is not None:
                classes = _codes(classes, found[1])
    return Markup("").join(parts), "".join(plain)


def _codes(before: tuple[int, ...], parameters: str) -> tuple[int, ...]:
    given = [int(one) for one in parameters.split(";")[:8] if one] or [0]
    kept = set(before)
    for code in given:
        if code == 0:
            kept.clear()
        elif code == 39:
            kept = {one for one in kept if one < 30}
        elif code in _SHOWN:
            kept = {one for one in kept if (one < 30) != (code < 30) or code < 30} | {code}
    return tuple(sorted(kept))


def decisive(found: Sequence[Line], evidence: Sequence[str]) -> int | None:
    """The number of the line that matters: the first that holds a quoted piece of evidence, else the first trouble."""
    quotes = [quote.strip() for one in evidence for quote in one.splitlines() if len(quote.strip()) > 3]
    for quote in quotes:
        for line in found:
            if quote in line.text:
                return line.number
    return next((line.number for line in found if _TROUBLE.search(line.text)), None)
