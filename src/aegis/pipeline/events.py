"""libyaml's events to nodes: the reader for whatever `aegis.pipeline.lines` leaves.

Decides tags, anchors, aliases, `!reference` and the bounds of depth and size. Builds its tree iteratively, so that no input
can exhaust the stack. What scalars and mappings mean is decided in `aegis.pipeline.document`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import yaml

from aegis.core.errors import Where
from aegis.pipeline.diagnostics import Report, Unreadable
from aegis.pipeline.document import Limits, Node, Plain, Scalar, Seq, mapping, resolve

_STANDARD: Final = "tag:yaml.org,2002:"


def read(text: str, file: str, report: Report, limits: Limits, lines: tuple[int, ...] = ()) -> Node | None:
    """The first document's tree, None when it is empty; `Unreadable` for anything that is not YAML or exceeds `limits`."""
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
            node = mapping(_pairs(frame.items), self.report, file=self.file, line=frame.line, column=frame.column)
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

    def _unreadable(self, code: str, message: str, mark: Any, hint: str = "") -> Unreadable:
        return Unreadable(code, message, hint=hint, where=self.place(mark.line, mark.column))


def _pairs(items: list[Any]) -> list[tuple[Scalar, Node]]:
    pairs = []
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, Scalar):
            raise Unreadable("complex-key", "a key must be text", where=key.where)
        pairs.append((key, value))
    return pairs


def _safe_resolve(text: str) -> Plain:
    try:
        return resolve(text)
    except ValueError:
        return text
