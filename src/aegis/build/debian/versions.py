"""Compares Debian versions (Debian policy 5.6.12) and reads dependencies (7.1): pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Final

_ONE: Final = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]*)(?::\w+)?\s*(?:\((?P<relation><<|<=|=|>=|>>)\s*(?P<version>[^)\s]+)\s*\))?"
)


@dataclass(frozen=True, slots=True)
class Relation:
    """One alternative of a dependency: a package's name, and a bound where there is one (`>=`, `2.36`)."""

    name: str
    relation: str = ""
    version: str = ""

    def allows(self, version: str) -> bool:
        """Whether a version satisfies the bound."""
        if not self.relation:
            return True
        order = compare(version, self.version)
        return {
            "<<": order < 0, "<=": order <= 0, "=": order == 0, ">=": order >= 0, ">>": order > 0,
        }[self.relation]  # fmt: skip


def relations(text: str) -> tuple[tuple[Relation, ...], ...]:
    """A `Depends` field: all of these, of each any. What cannot be read (build profiles) is left out."""
    found = []
    for group in text.replace("\n", " ").split(","):
        alternatives = tuple(
            Relation(match["name"], match["relation"] or "", match["version"] or "")
            for part in group.split("|")
            if (match := _ONE.match(part.strip()))
        )
        if alternatives:
            found.append(alternatives)
    return tuple(found)


def compare(one: str, other: str) -> int:
    """Below, at or above zero as `one` is older than, equal to or newer than `other`."""
    left, right = _split(one), _split(other)
    if left[0] != right[0]:
        return left[0] - right[0]
    return _part(left[1], right[1]) or _part(left[2], right[2])


newest_last = cmp_to_key(compare)
"""A sort key for versions."""


def _split(version: str) -> tuple[int, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon or not epoch.isdigit():
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return int(epoch), upstream if dash else rest, revision if dash else ""


def _part(one: str, other: str) -> int:
    left, right = re.findall(r"\d+|\D+", one), re.findall(r"\d+|\D+", other)
    left = left if not left or not left[0].isdigit() else ["", *left]
    right = right if not right or not right[0].isdigit() else ["", *right]
    for index in range(max(len(left), len(right))):
        a, b = (side[index] if index < len(side) else "" for side in (left, right))
        order = (int(a or "0") - int(b or "0")) if index % 2 else _letters(a, b)
        if order:
            return order
    return 0


def _letters(one: str, other: str) -> int:
    for index in range(max(len(one), len(other))):
        a, b = (_weight(side[index : index + 1]) for side in (one, other))
        if a != b:
            return a - b
    return 0


def _weight(sign: str) -> int:
    """`~` sorts before the end, letters before everything else."""
    if sign == "~":
        return -1
    if not sign:
        return 0
    return ord(sign) if sign.isalpha() else ord(sign) + 256
