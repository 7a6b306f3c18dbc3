"""Reads the Prometheus text format: names, labels, numbers; lines that are none are passed over.

Decides: the syntax alone (Prometheus, "Exposition formats", text-based format 0.0.4). What a metric means is its
reader's business. Tolerant, because a scraped program may expose more than its reader knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_LINE: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*")
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"\s*,?\s*')
_ESCAPE: Final = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One sample of one series."""

    name: str
    labels: Mapping[str, str]
    value: float


def points(text: str, prefix: str = "") -> Iterator[Point]:
    """The samples whose name begins with `prefix`, in the order of the text."""
    for line in text.splitlines():
        if not line.startswith(prefix) or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        yield Point(name=match[1], labels=_labels(match[2] or ""), value=value)


def _labels(text: str) -> dict[str, str]:
    return {one[1]: _ESCAPE.sub(_unescape, one[2]) for one in _LABEL.finditer(text)}


def _unescape(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
