"""The plain part of YAML, read line by line: block mappings and lists, scalars and flow collections of one line, literals.

Builds the same tree as `aegis.pipeline.events` in a third of the time and without loading libyaml. It knows only what it is
certain of: anything else (tags, text over several lines, escapes, tabs, what is not YAML at all) is `NotPlain`, and the
other reader decides. Property tests hold that both answer alike.
"""

from __future__ import annotations

import re
from functools import lru_cache
from sys import intern
from typing import Final

from aegis.pipeline.diagnostics import Report, Unreadable
from aegis.pipeline.document import Limits, Map, Node, Plain, Scalar, Seq, mapping, resolve
from aegis.pipeline.patterns import Rare


class NotPlain(Exception):
    """This file needs libyaml."""


_MARK: Final = re.compile(r"^(?:---|\.\.\.)", re.MULTILINE)
_KEY: Final = re.compile(
    r"""([\w.$/<][\w./$()@+=~%*,<>|!?^&;-]*(?:[ ]+[\w./$()@+=~%*,<>|!?^&;\[\]{}-]+)*|"[^"\\]*"|'[^']*')[ ]*:(?:[ ]+|$)""",
)
_START: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_$./\\(~+^;=<)")
_END: Final = r"(?:[ ]+#.*|[ ]*)$"
_DOUBLE: Final = re.compile(r'"([^"\\]*)"' + _END)
_SINGLE: Final = Rare(r"'((?:[^']|'')*)'" + _END)
_LITERAL: Final = Rare(r"\|(-?)" + _END)
_ANCHOR: Final = Rare(r"&([A-Za-z0-9_-]+)(?:[ ]+|$)")
_ALIAS: Final = Rare(r"\*([A-Za-z0-9_-]+)" + _END)
_BLANK: Final = re.compile(_END)
_FLOW: Final = re.compile(
    r"""[ ]*(?:(?P<plain>[A-Za-z0-9_$./][\w./$()+=~-]*(?:[ ]+[\w./$()+=~-]+)*)|"(?P<double>[^"\\]*)"|'(?P<single>[^']*)'"""
    r"""|(?P<alias>\*[A-Za-z0-9_-]+)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<reference>!reference[ ]+(?=\[)))[ ]*"""
)
_REFERENCE: Final = Rare(r"!reference[ ]+(?=\[)")
_LONGEST_KEY: Final = 900
_STARTS_OTHER: Final = frozenset("0123456789.\"'~")
"""What a key begins with that is not simply the text that it is; short words may be booleans or nothing."""
_make: Final = tuple.__new__


def read(text: str, file: str, report: Report, limits: Limits, lines: tuple[int, ...] = ()) -> Node | None:
    """The tree, None when the text is empty; `NotPlain` where libyaml has to decide. `lines` maps lines to the file's."""
    if not text.replace("\n", "").isprintable() or _MARK.search(text):
        raise NotPlain  # what libyaml refuses, counts as a line end or has to say something about; several documents
    noted = Report()
    try:
        root = _Reader(text, file, noted, limits, lines).document()
    except Unreadable as error:
        raise NotPlain from error
    for one in noted.warnings:
        report.warn(one.code, one.message, one.where, one.hint)
    return root


class _Reader:
    """One reading. `at` is the line (0-based) and `column` where its content begins, -1 past the end."""

    def __init__(self, text: str, file: str, report: Report, limits: Limits, numbers: tuple[int, ...]) -> None:
        self.lines = text.split("\n")
        self.count = len(self.lines)
        self.file = file
        self.report = report
        self.limits = limits
        self.numbers = numbers
        self.at = -1
        self.line = ""
        self.column = -1
        self.depth = 0
        self.left = limits.nodes
        self.anchors: dict[str, tuple[Node, int, int]] = {}

    def document(self) -> Node | None:
        """The whole text."""
        self.advance()
        if self.column < 0:
            return None
        root = self.block(self.column, -1)
        if self.column >= 0:
            raise NotPlain
        return root

    def advance(self) -> None:
        """Go to the next line that is neither blank nor a comment."""
        at, lines, count = self.at + 1, self.lines, self.count
        while at < count:
            line = lines[at]
            rest = line.lstrip(" ")
            if rest and rest[0] != "#":
                self.at, self.line, self.column = at, line, len(line) - len(rest)
                return
            at += 1
        self.at, self.line, self.column = at, "", -1

    def number(self) -> int:
        """The line's number in the file."""
        return self.numbers[min(self.at, len(self.numbers) - 1)] if self.numbers else self.at + 1

    def block(self, column: int, outer: int) -> Node:
        """What begins at `column` of this line, within a collection at `outer`."""
        line = self.line
        if line[column] == "-" and (column + 1 == len(line) or line[column + 1] == " "):
            return self.sequence(column)
        key = _KEY.match(line, column)
        if key is not None:
            return self.mapping(column, key)
        return self.value(column, outer)

    def enter(self) -> None:
        """One level deeper."""
        self.depth += 1
        if self.depth > self.limits.depth:
            raise NotPlain

    def spend(self, count: int) -> None:
        """Count nodes; a file near the bound is left to the other reader, which measures exactly."""
        self.depth -= 1
        self.left -= count
        if self.left < 0:
            raise NotPlain

    def sequence(self, column: int) -> Seq:
        """A block sequence whose dashes stand at `column`."""
        self.enter()
        number = self.number()
        items: list[Node] = []
        while self.column == column:
            line = self.line
            if line[column] != "-" or (column + 1 < len(line) and line[column + 1] != " "):
                break
            start = column + 1
            length = len(line)
            while start < length and line[start] == " ":
                start += 1
            if start == length or line[start] == "#":
                empty = _make(Scalar, (None, "", self.file, self.number(), column + 2))
                self.advance()
                items.append(self.block(self.column, column) if self.column > column else empty)
            else:
                self.column = start
                items.append(self.block(start, column))
        if self.column > column:
            raise NotPlain
        self.spend(len(items) + 1)
        return Seq(tuple(items), self.file, number, column + 1)

    def mapping(self, column: int, key: re.Match[str] | None) -> Map:
        """A block mapping whose keys stand at `column`; `key` is the first one."""
        self.enter()
        first = number = self.number()
        file, numbers = self.file, self.numbers
        pairs: list[tuple[Scalar, Node]] | None = None  # needed only where keys repeat or are merged
        entries: dict[str, tuple[Scalar, Node]] = {}
        while key is not None:
            written = intern(key.group(1))
            start = key.end()
            line = self.line
            if written[0] in _STARTS_OTHER or len(written) > _LONGEST_KEY or len(written) < 6:
                name = self.key(written, number, column)
            else:
                name = _make(Scalar, (written, written, file, number, column + 1))
            if start == len(line) or line[start] == "#":
                node = self.below(line.index(":", key.end(1)) + 2, column, number)
            elif line[start] in _START and " #" not in line and (plain := line[start:].rstrip(" "))[-1] != ":":
                if ": " in plain:
                    raise NotPlain
                node = _make(Scalar, (_resolved(plain), plain, file, number, start + 1))
                self.advance()
                if self.column > column:
                    raise NotPlain
            elif line[start] == "&":
                node = self.anchored(start, column, dashes=column)
            else:
                node = self.value(start, column)
            text = name.text
            if pairs is None and (text in entries or text == "<<"):
                pairs = list(entries.values())
            entries[text] = pair = (name, node)
            if pairs is not None:
                pairs.append(pair)
            if self.column != column:
                break
            number = self.number() if numbers else self.at + 1
            key = _KEY.match(self.line, column)
        if self.column >= column:
            raise NotPlain
        self.spend(2 * len(pairs or entries) + 1)
        if pairs is None:
            return _make(Map, (entries, file, first, column + 1))
        return mapping(pairs, self.report, file=file, line=first, column=column + 1)

    def key(self, written: str, number: int, column: int) -> Scalar:
        """A key's node."""
        if len(written) > _LONGEST_KEY:
            raise NotPlain
        if written[0] in "\"'":
            text: str = written[1:-1]
            return _make(Scalar, (text, text, self.file, number, column + 1))
        return _make(Scalar, (_resolved(written), written, self.file, number, column + 1))

    def below(self, after: int, column: int, number: int) -> Node:
        """The value of a key that has none on its own line; `after` is the column behind its colon."""
        self.advance()
        if self.column > column:
            return self.block(self.column, column)
        if self.column == column and (self.line[column:] == "-" or self.line.startswith("- ", column)):
            return self.sequence(column)
        return _make(Scalar, (None, "", self.file, number, after))

    def value(self, start: int, outer: int) -> Node:
        """A value that begins at `start` of this line and ends with it, or a literal."""
        line = self.line
        sign = line[start]
        number = self.number()
        if sign in _START or (sign == "-" and line[start + 1 : start + 2] not in {"", " "}) or sign > "\x7f":
            text = line[start:]
            comment = text.find(" #")
            if comment >= 0:
                text = text[:comment]
            text = text.rstrip(" ")
            if ": " in text or text[-1] == ":":
                raise NotPlain
            node: Node = _make(Scalar, (_resolved(text), text, self.file, number, start + 1))
        elif sign in "\"'":
            quoted = (_DOUBLE if sign == '"' else _SINGLE).match(line, start)
            if quoted is None:
                raise NotPlain
            text = quoted.group(1) if sign == '"' else quoted.group(1).replace("''", "'")
            node = _make(Scalar, (text, text, self.file, number, start + 1))
        elif sign == "|":
            return self.literal(start, outer, number)
        elif sign == "&":
            return self.anchored(start, outer)
        elif sign in "[{!*":
            node = self.inline(start)
        else:
            raise NotPlain
        self.advance()
        if self.column > outer:
            raise NotPlain  # text that goes on in the next line
        return node

    def inline(self, start: int) -> Node:
        """A flow collection, a reference or an alias that ends with its line."""
        line = self.line
        if line[start] == "*":
            alias = _ALIAS.match(line, start)
            if alias is None:
                raise NotPlain
            return self.aliased(alias.group(1))
        reference = _REFERENCE.match(line, start) if line[start] == "!" else None
        if line[start] == "!" and reference is None:
            raise NotPlain
        node, end = self.flow(reference.end() if reference is not None else start)
        if _BLANK.match(line, end) is None:
            raise NotPlain
        return _referring(node, start) if reference is not None else node

    def flow(self, start: int) -> tuple[Node, int]:
        """The flow collection that opens at `start`, and where it ends."""
        self.enter()
        line, number, file = self.line, self.number(), self.file
        is_map = line[start] == "{"
        close = "}" if is_map else "]"
        items: list[Node] = []
        pairs: list[tuple[Scalar, Node]] = []
        position = start + 1
        while True:
            token = _FLOW.match(line, position)
            if token is None:
                raise NotPlain
            if token.lastgroup == "close":
                if token["close"] != close:
                    raise NotPlain
                end = token.start("close") + 1
                break
            node, position = self.item(token)
            if is_map:
                if not isinstance(node, Scalar) or line[position : position + 2] != ": ":
                    raise NotPlain
                token = _FLOW.match(line, position + 2)
                if token is None or token.lastgroup == "close":
                    raise NotPlain
                value, position = self.item(token)
                pairs.append((node, value))
            else:
                items.append(node)
            if line[position : position + 1] == ",":
                position += 1
            elif line[position : position + 1] != close:
                raise NotPlain
        self.spend(len(items) + 2 * len(pairs) + 1)
        if is_map:
            return mapping(pairs, self.report, file=file, line=number, column=start + 1), end
        return Seq(tuple(items), file, number, start + 1), end

    def item(self, token: re.Match[str]) -> tuple[Node, int]:
        """One entry of a flow collection, and where what follows it begins."""
        kind = token.lastgroup or ""
        start = token.start(kind)
        if kind == "open":
            node, end = self.flow(start)
        elif kind == "reference":
            whole, end = self.flow(token.end())
            node = _referring(whole, start)
        elif kind == "alias":
            node, end = self.aliased(token[kind][1:]), token.end()
        else:
            text = token[kind]
            value: Plain = text if kind != "plain" else _resolved(text)
            node = _make(Scalar, (value, text, self.file, self.number(), start + (1 if kind == "plain" else 0)))
            end = token.end()
        line = self.line
        while line[end : end + 1] == " ":
            end += 1
        return node, end

    def anchored(self, start: int, outer: int, dashes: int = -1) -> Node:
        """`&name` and what it names. `dashes` is where a list may stand that is not indented under its key."""
        anchor = _ANCHOR.match(self.line, start)
        if anchor is None:
            raise NotPlain
        number, end, spent = self.number(), anchor.end(), self.left
        if end == len(self.line):
            self.advance()
            level = self.column >= 0 and self.column == dashes and self.line[dashes : dashes + 2] in {"-", "- "}
            if not (level or self.column > outer) or self.line[self.column] == "&":
                raise NotPlain
            node = self.sequence(dashes) if level else self.block(self.column, outer)
        elif self.line[end] in "#&*":
            raise NotPlain
        else:
            node = self.value(end, outer)
        node = node._replace(line=number, column=start + 1)
        self.anchors[anchor.group(1)] = (node, max(spent - self.left, 1), _height(node))
        return node

    def aliased(self, name: str) -> Node:
        """What an alias stands for; its size counts again."""
        if name not in self.anchors:
            raise NotPlain
        node, weight, height = self.anchors[name]
        self.left -= weight
        if self.left < 0 or self.depth + height > self.limits.depth:
            raise NotPlain
        return node

    def literal(self, start: int, outer: int, number: int) -> Scalar:
        """A `|` block with one line end, or none for `|-`."""
        sign = _LITERAL.match(self.line, start)
        if sign is None:
            raise NotPlain
        at, lines = self.at + 1, self.lines
        while at < self.count and not lines[at].strip(" "):
            at += 1
        first = lines[at] if at < self.count else ""
        indent = len(first) - len(first.lstrip(" "))
        if indent <= outer or indent == 0 or any(len(line) > indent for line in lines[self.at + 1 : at]):
            raise NotPlain
        found = [""] * (at - self.at - 1)
        while at < self.count - 1:
            line = lines[at]
            if line[:indent].strip(" "):
                break
            found.append(line[indent:])
            at += 1
        else:
            if lines[-1]:
                raise NotPlain  # a last line without an end
        while found and not found[-1]:
            found.pop()
        text = "\n".join(found) + ("" if sign.group(1) else "\n")
        self.at = at - 1
        self.advance()
        if self.column > outer and self.column >= 0:
            raise NotPlain
        return Scalar(text, text, self.file, number, start + 1)


@lru_cache(maxsize=4096)
def _resolved(text: str) -> Plain:
    """The value of an unquoted scalar; most words of a file stand there many times."""
    try:
        return resolve(text)
    except ValueError:
        raise NotPlain from None  # a date, which the other reader tells


def _referring(node: Node, start: int) -> Node:
    if not isinstance(node, Seq):
        raise NotPlain
    return node._replace(column=start + 1, reference=True)


def _height(node: Node) -> int:
    """How many levels a node has; anchored nodes are few."""
    if isinstance(node, Scalar):
        return 0
    inner = node.items if isinstance(node, Seq) else tuple(value for _, value in node.entries.values())
    return 1 + max((_height(one) for one in inner), default=0)
