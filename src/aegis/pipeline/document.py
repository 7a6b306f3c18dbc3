"""Nodes of a pipeline file that know their place, and how Ruby's Psych reads scalars and merges mappings for GitLab.

Decides: scalars' types (YAML 1.1 as Psych resolves it: `yes`, `010`, `1:30`), merge keys, duplicate keys, and the bounds.
Nodes are named tuples: a large file has hundreds of thousands of them, and frozen dataclasses take three times as long to
make. Does not read text (that is `aegis.pipeline.reader`) and does not know any keyword.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from aegis.core.errors import Where
from aegis.pipeline.diagnostics import Report, Unreadable
from aegis.pipeline.patterns import Rare

Plain: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what is read.

    `nodes` counts one file's tree after aliases are followed, `whole` the configuration's after includes, `extends` and
    references; `variables` counts them over all jobs.
    """

    bytes: int = 8 * 1024 * 1024
    depth: int = 100
    nodes: int = 1_000_000
    whole: int = 4_000_000
    includes: int = 150
    jobs: int = 20_000
    variables: int = 3_000_000


class Scalar(NamedTuple):
    """A string, number, boolean or null. `text` is what stands in the file."""

    value: Plain
    text: str
    file: str
    line: int
    column: int

    @property
    def where(self) -> Where:
        """Its place."""
        return Where(self.file, self.line, self.column)


class Seq(NamedTuple):
    """A list. `reference` marks `!reference [...]`, resolved later by `aegis.pipeline.references`."""

    items: tuple[Node, ...]
    file: str
    line: int
    column: int
    reference: bool = False

    @property
    def where(self) -> Where:
        """Its place."""
        return Where(self.file, self.line, self.column)


class Map(NamedTuple):
    """A mapping by the text of its keys, in the file's order; `entries` holds the key's node beside the value."""

    entries: dict[str, tuple[Scalar, Node]]
    file: str
    line: int
    column: int

    @property
    def where(self) -> Where:
        """Its place."""
        return Where(self.file, self.line, self.column)

    def get(self, key: str) -> Node | None:
        """The value under `key`; None where there is none (an explicit null is a `Scalar`)."""
        found = self.entries.get(key)
        return found[1] if found is not None else None

    def key(self, key: str) -> Scalar | None:
        """The key's own node, for its place."""
        found = self.entries.get(key)
        return found[0] if found is not None else None

    def items(self) -> Iterator[tuple[str, Node]]:
        """Keys and values in order."""
        for name, (_, node) in self.entries.items():
            yield name, node

    def has(self, key: str) -> bool:
        """Whether the key is there with something other than null."""
        found = self.entries.get(key)
        return found is not None and not (isinstance(found[1], Scalar) and found[1].value is None)


Node: TypeAlias = Scalar | Seq | Map

_TRUE: Final = frozenset({"yes", "true", "on"})
_FALSE: Final = frozenset({"no", "false", "off"})
_INTEGER: Final = re.compile(
    r"[-+]?0[0-7_,]+|[-+]?(?:0|[1-9](?:[0-9]|,[0-9]|_[0-9])*)|[-+]?0[xX][0-9a-fA-F_,]+|[-+]?0[bB][01_,]+"
)
_FLOAT: Final = Rare(r"[-+]?(?:[0-9][0-9_,]*)?\.[0-9]*(?:[eE][+-][0-9]+)?")
_SEXAGESIMAL: Final = Rare(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9]){1,2}")
_DATE: Final = Rare(r"\d{4}-(?:1[012]|0\d|\d)-(?:[12]\d|3[01]|0\d|\d)")
_TIME: Final = Rare(
    r"-?\d{4}-\d{1,2}-\d{1,2}(?:[Tt]|\s+)\d{1,2}:\d\d:\d\d(?:\.\d*)?(?:\s*(?:Z|[-+]\d{1,2}:?(?:\d\d)?))?"
)
_STARTS_NUMBER: Final = frozenset("0123456789+-.")
_DIGITS_MAX: Final = 400


def resolve(text: str) -> Plain:
    """The value of an unquoted scalar as Psych sees it. `ValueError` for dates and times, which GitLab refuses."""
    if not text:
        return None
    first = text[0]
    if first not in _STARTS_NUMBER:
        if len(text) > 5:
            return text
        low = text.lower()
        if low in _TRUE:
            return True
        if low in _FALSE:
            return False
        return None if low in {"null", "~"} else text
    return _number(text)


def _number(text: str) -> Plain:
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text) and text.lstrip("+-") != ".":
        return _float(text)
    if _SEXAGESIMAL.fullmatch(text) and len(text) < _DIGITS_MAX:
        parts = text.replace("_", "").split(":")
        return sum(int(part) * (3600, 60, 1)[index] for index, part in enumerate(parts))
    low = text.lower()
    if low in {".inf", "+.inf"}:
        return float("inf")
    if low == "-.inf":
        return float("-inf")
    if low == ".nan":
        return float("nan")
    if _DATE.fullmatch(text) or _TIME.fullmatch(text):
        raise ValueError(text)
    return text


def _float(text: str) -> Plain:
    digits = text.replace(",", "").replace("_", "")
    try:
        return float(digits)
    except ValueError:
        return text


def _integer(text: str) -> Plain:
    digits = text.replace(",", "").replace("_", "")
    if len(digits) > _DIGITS_MAX:
        return text
    sign, body = (-1, digits[1:]) if digits[0] == "-" else (1, digits.lstrip("+"))
    try:
        if body[:2] in {"0x", "0X"}:
            return sign * int(body, 16)
        if body[:2] in {"0b", "0B"}:
            return sign * int(body, 2)
        if len(body) > 1 and body[0] == "0":
            return sign * int(body, 8)
        return sign * int(body)
    except ValueError:
        return text


def mapping(pairs: list[tuple[Scalar, Node]], report: Report, *, file: str, line: int, column: int) -> Map:
    """A mapping of keys and values in the file's order. The last of two equal keys counts, with a warning."""
    entries: dict[str, tuple[Scalar, Node]] = {}
    merged: set[str] = set()
    for pair in pairs:
        key, value = pair
        text = key.text
        if text == "<<" and key.value == "<<":
            _merge(entries, merged, key, value, report)
            continue
        if text in entries and text not in merged:
            report.warn(
                "duplicate-key",
                f"`{text}` stands twice in the same mapping; the last one counts",
                key.where,
                f"remove the one in line {entries[text][0].line}",
            )
        merged.discard(text)
        entries[text] = pair
    return Map(entries, file, line, column)


def _merge(entries: dict[str, tuple[Scalar, Node]], merged: set[str], key: Scalar, value: Node, report: Report) -> None:
    """Psych's merge: a later key wins, so `<<` after a key overrides it; in a list the first mapping wins."""
    maps = [value] if isinstance(value, Map) else list(reversed(value.items)) if isinstance(value, Seq) else []
    if not maps and not isinstance(value, Seq):
        raise Unreadable("merge-key", "`<<` needs a mapping or a list of mappings", where=key.where)
    for one in maps:
        if not isinstance(one, Map):
            raise Unreadable("merge-key", "`<<` needs a mapping or a list of mappings", where=one.where)
        for name, pair in one.entries.items():
            if name in entries and name not in merged:
                report.warn(
                    "merge-overrides",
                    f"`<<` stands after `{name}` and overrides it, as GitLab reads it",
                    key.where,
                    f"write `<<` before `{name}`",
                )
            entries[name] = pair
            merged.add(name)


def weight(node: Node, known: dict[int, int]) -> int:
    """How many nodes a tree has, shared ones counted each time. `known` holds what was measured, by identity."""
    if isinstance(node, Scalar):
        return 1
    found = known.get(id(node))
    if found is None:
        found = 1
        for child in node.items if isinstance(node, Seq) else node.entries.values():
            value: Any = child if isinstance(node, Seq) else child[1]
            found += 1 if isinstance(value, Scalar) else weight(value, known)
        known[id(node)] = found
    return found


def plain(node: Node) -> Any:
    """The node as dicts, lists and values, for showing."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Seq):
        return [plain(item) for item in node.items]
    return {name: plain(value) for name, value in node.items()}


def kind_of(node: Node) -> str:
    """What a node is, in words."""
    if isinstance(node, Seq):
        return "a list"
    if isinstance(node, Map):
        return "a mapping"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return f"the boolean `{node.text}`"
    if isinstance(node.value, int | float):
        return f"the number `{node.text}`"
    return f"`{node.text[:40]}`"
