"""YAML bytes to nodes that know their place, as Ruby's Psych reads them for GitLab.

Decides: encoding, scalars' types (YAML 1.1 as Psych resolves it: `yes`, `010`, `1:30`), anchors, aliases, merge keys,
`!reference`, duplicate keys, and the bounds (file size, depth, size after aliases). Does not know any keyword.
Builds its own tree from libyaml's events, iteratively, so that no input can exhaust the stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from aegis.core.errors import Where
from aegis.pipeline.diagnostics import Report, Unreadable

Plain: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what is read.

    `nodes` counts one file's tree after aliases are followed, `whole` the configuration's after includes, `extends` and
    references; `variables` counts them over all jobs.
    """

    bytes: int = 1024 * 1024
    depth: int = 100
    nodes: int = 400_000
    whole: int = 1_000_000
    includes: int = 150
    jobs: int = 10_000
    variables: int = 3_000_000


@dataclass(frozen=True, slots=True)
class Scalar:
    """A string, number, boolean or null. `text` is what stands in the file; `quoted` whether it cannot be anything but text."""

    value: Plain
    text: str
    file: str
    line: int
    column: int

    @property
    def where(self) -> Where:
        """Its place."""
        return Where(self.file, self.line, self.column)


@dataclass(frozen=True, slots=True)
class Seq:
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


@dataclass(frozen=True, slots=True)
class Map:
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
        node = self.get(key)
        return node is not None and not (isinstance(node, Scalar) and node.value is None)


Node: TypeAlias = Scalar | Seq | Map

_TRUE: Final = frozenset({"yes", "true", "on"})
_FALSE: Final = frozenset({"no", "false", "off"})
_INTEGER: Final = re.compile(
    r"[-+]?0[0-7_,]+|[-+]?(?:0|[1-9](?:[0-9]|,[0-9]|_[0-9])*)|[-+]?0[xX][0-9a-fA-F_,]+|[-+]?0[bB][01_,]+"
)
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9][0-9_,]*)?\.[0-9]*(?:[eE][+-][0-9]+)?")
_SEXAGESIMAL: Final = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9]){1,2}")
_DATE: Final = re.compile(r"\d{4}-(?:1[012]|0\d|\d)-(?:[12]\d|3[01]|0\d|\d)")
_TIME: Final = re.compile(
    r"-?\d{4}-\d{1,2}-\d{1,2}(?:[Tt]|\s+)\d{1,2}:\d\d:\d\d(?:\.\d*)?(?:\s*(?:Z|[-+]\d{1,2}:?(?:\d\d)?))?"
)
_STANDARD: Final = "tag:yaml.org,2002:"
_STARTS_NUMBER: Final = frozenset("0123456789+-.")
_DIGITS_MAX: Final = 400


def decoded(data: bytes, file: str, limits: Limits) -> str:
    """The text of a file; `Unreadable` with the place when it is too large or not UTF-8."""
    if len(data) > limits.bytes:
        raise Unreadable(
            "file-too-large",
            f"{file} has {len(data)} bytes; at most {limits.bytes} are read",
            hint="split it with `include`",
            where=Where(file),
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        raise Unreadable(
            "not-utf-8",
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            hint="save the file as UTF-8",
            where=Where(file, line, column),
        ) from error


def parse(text: str, file: str, report: Report, limits: Limits, lines: tuple[int, ...] = ()) -> Node | None:
    """The first document's tree, None when it is empty. `lines` maps each line of `text` to the file's (1-based).

    Raises `Unreadable` for anything that is not YAML or exceeds `limits`.
    """
    import yaml  # noqa: PLC0415 - a tenth of a second that `aegis --help` need not pay

    loader = getattr(yaml, "CLoader", yaml.Loader)
    composer = _Composer(file, report, limits, lines)
    try:
        for event in yaml.parse(text, Loader=loader):
            composer.take(event)
            if composer.done:
                break
    except yaml.reader.ReaderError as error:
        before = text[: error.position] if isinstance(error.position, int) else ""
        where = Where(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise Unreadable("invalid-yaml", f"{error.reason}", where=where) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = composer.place(mark.line, mark.column) if mark else Where(file)
        context = f" ({error.context})" if error.context else ""
        raise Unreadable(
            "invalid-yaml",
            f"not valid YAML: {error.problem or 'syntax error'}{context}",
            hint=_yaml_hint(error.problem or ""),
            where=where,
        ) from error
    except yaml.YAMLError as error:
        raise Unreadable("invalid-yaml", f"not valid YAML: {error}", where=Where(file)) from error
    return composer.root


def _yaml_hint(problem: str) -> str:
    if "mapping values are not allowed" in problem:
        return "quote a value that holds `: `"
    if "found character '\\t'" in problem or "tab" in problem:
        return "indent with spaces, not tabs"
    if "cannot start any token" in problem:
        return "quote a value that begins with a special character"
    return ""


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


@dataclass(slots=True)
class _Frame:
    """A collection being built; `weight` and `height` measure it after aliases."""

    kind: str
    line: int
    column: int
    anchor: str | None
    items: list[Any]
    reference: bool = False
    weight: int = 1
    height: int = 0


class _Composer:
    """Takes events one by one and keeps the tree."""

    def __init__(self, file: str, report: Report, limits: Limits, lines: tuple[int, ...]) -> None:
        self.file = file
        self.report = report
        self.limits = limits
        self.lines = lines
        self.root: Node | None = None
        self.done = False
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Node, int, int] | None] = {}
        self.weight = 0

    def place(self, line: int, column: int) -> Where:
        """A place in the original file from libyaml's 0-based mark."""
        return Where(self.file, self._line(line), column + 1)

    def _line(self, line: int) -> int:
        return self.lines[min(line, len(self.lines) - 1)] if self.lines else line + 1

    def take(self, event: Any) -> None:
        """The next event."""
        kind = type(event).__name__
        if kind == "ScalarEvent":
            self._scalar(event)
        elif kind == "AliasEvent":
            self._alias(event)
        elif kind in {"SequenceStartEvent", "MappingStartEvent"}:
            self._start(event, "seq" if kind[0] == "S" else "map")
        elif kind in {"SequenceEndEvent", "MappingEndEvent"}:
            self._end()
        elif kind == "DocumentEndEvent":
            self.done = True

    def _start(self, event: Any, kind: str) -> None:
        mark = event.start_mark
        if len(self.stack) >= self.limits.depth:
            raise self._unreadable("too-deep", f"nested deeper than {self.limits.depth} levels", mark)
        reference = False
        if event.tag is not None:
            reference = kind == "seq" and event.tag == "!reference"
            if not reference and event.tag not in {"!", f"{_STANDARD}{kind}"}:
                raise self._unreadable("unknown-tag", f"unknown tag {event.tag}", mark, "only `!reference` is known")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.stack.append(_Frame(kind, self._line(mark.line), mark.column + 1, event.anchor, [], reference))

    def _end(self) -> None:
        frame = self.stack.pop()
        node: Node
        if frame.kind == "seq":
            node = Seq(tuple(frame.items), self.file, frame.line, frame.column, frame.reference)
        else:
            node = self._mapping(frame)
        self._place(node, frame.anchor, frame.weight, frame.height + 1)

    def _scalar(self, event: Any) -> None:
        mark = event.start_mark
        text: str = event.value
        value: Plain = text
        tag = event.tag
        if tag is None or tag == "!":
            if event.implicit[0] and tag is None:
                try:
                    value = resolve(text)
                except ValueError:
                    raise self._unreadable(
                        "date", f"{text} is a date, which GitLab refuses", mark, f'quote it: "{text}"'
                    ) from None
        elif tag.startswith(_STANDARD) and tag[len(_STANDARD) :] in {"str", "int", "float", "bool", "null"}:
            value = text if tag.endswith("str") else _safe_resolve(text)
        else:
            raise self._unreadable("unknown-tag", f"unknown tag {tag}", mark, "only `!reference [job, key]` is known")
        node = Scalar(value, text, self.file, self._line(mark.line), mark.column + 1)
        self._place(node, event.anchor, 1, 0)

    def _alias(self, event: Any) -> None:
        mark = event.start_mark
        if event.anchor not in self.anchors:
            raise self._unreadable("unknown-alias", f"no anchor `&{event.anchor}` stands before this alias", mark)
        found = self.anchors[event.anchor]
        if found is None:
            raise self._unreadable("recursive-alias", f"`*{event.anchor}` contains itself", mark)
        node, weight, height = found
        if len(self.stack) + height > self.limits.depth:
            raise self._unreadable("too-deep", f"nested deeper than {self.limits.depth} levels through aliases", mark)
        self._place(node, None, weight, height)

    def _place(self, node: Node, anchor: str | None, weight: int, height: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = (node, weight, height)
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        frame.items.append(node)
        frame.weight += weight
        frame.height = max(frame.height, height)
        if frame.weight > self.limits.nodes:
            raise Unreadable(
                "too-big",
                f"more than {self.limits.nodes} nodes once aliases are followed",
                hint="use `extends` instead of nested anchors",
                where=node.where,
            )

    def _mapping(self, frame: _Frame) -> Map:
        entries: dict[str, tuple[Scalar, Node]] = {}
        items = frame.items
        merged: set[str] = set()
        for index in range(0, len(items) - 1, 2):
            key, value = items[index], items[index + 1]
            if not isinstance(key, Scalar):
                raise Unreadable("complex-key", "a key must be text", where=key.where)
            if key.text == "<<" and key.value == "<<":
                self._merge(entries, merged, key, value)
                continue
            if key.text in entries and key.text not in merged:
                self.report.warn(
                    "duplicate-key",
                    f"`{key.text}` stands twice in the same mapping; the last one counts",
                    key.where,
                    f"remove the one in line {entries[key.text][0].line}",
                )
            merged.discard(key.text)
            entries[key.text] = (key, value)
        return Map(entries, self.file, frame.line, frame.column)

    def _merge(self, entries: dict[str, tuple[Scalar, Node]], merged: set[str], key: Scalar, value: Node) -> None:
        """Psych's merge: a later key wins, so `<<` after a key overrides it; in a list the first mapping wins."""
        maps = [value] if isinstance(value, Map) else list(reversed(value.items)) if isinstance(value, Seq) else []
        if not maps and not isinstance(value, Seq):
            raise Unreadable("merge-key", "`<<` needs a mapping or a list of mappings", where=key.where)
        for one in maps:
            if not isinstance(one, Map):
                raise Unreadable("merge-key", "`<<` needs a mapping or a list of mappings", where=one.where)
            for name, pair in one.entries.items():
                if name in entries and name not in merged:
                    self.report.warn(
                        "merge-overrides",
                        f"`<<` stands after `{name}` and overrides it, as GitLab reads it",
                        key.where,
                        f"write `<<` before `{name}`",
                    )
                entries[name] = pair
                merged.add(name)

    def _unreadable(self, code: str, message: str, mark: Any, hint: str = "") -> Unreadable:
        return Unreadable(code, message, hint=hint, where=self.place(mark.line, mark.column))


def _safe_resolve(text: str) -> Plain:
    try:
        return resolve(text)
    except ValueError:
        return text


def weight(node: Node, known: dict[int, int]) -> int:
    """How many nodes a tree has, shared ones counted each time. `known` holds what was measured, by identity."""
    if isinstance(node, Scalar):
        return 1
    found = known.get(id(node))
    if found is None:
        children = node.items if isinstance(node, Seq) else tuple(value for _, value in node.items())
        found = known[id(node)] = 1 + sum(weight(child, known) for child in children)
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
