"""Where in a pipeline file a position is, from the lines alone. Works while the file is no valid YAML: somebody types.

Reads indentation, list dashes, `key:` and the brackets of a few lines; not a parser. Columns count characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_KEY: Final = re.compile(
    r"""(?P<indent>[ ]*(?:-[ ]+)*)(?P<key>"[^"]*"|'[^']*'|[^\s#'"\[\]{},&*!|>%@`-][^#\n]*?)[ ]*:(?=\s|$)"""
)
_WORD: Final = re.compile(r"[^\s,\[\]{}\"'#:]+(?::[^\s,\[\]{}\"'#:]+)*")
_VARIABLE: Final = re.compile(r"\$\{?(\w*)\}?", re.ASCII)
_REACH: Final = 400
"""How many lines upwards a parent is looked for: of a longer job only its last part is known."""
_FLOW_REACH: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A position as what is being written there.

    `path` are the keys above it, outermost first; `key` the one whose value is being written, None where a key is.

    `word` is the word around the position (`begin` its column), `before` the part of it before. `reference` are the words
    of a `!reference` list before the position, `variable` the name after a `$`, empty right after it.
    """

    path: tuple[str, ...]
    key: str | None
    word: str
    before: str
    begin: int
    reference: tuple[str, ...] | None = None
    variable: str | None = None

    @property
    def job(self) -> str:
        """The top-level name the position is in; empty at the top."""
        return self.inner_path[0] if self.inner_path else ""

    @property
    def inner_path(self) -> tuple[str, ...]:
        """All keys down to the position, the one whose value is written included."""
        return self.path if self.key is None else (*self.path, self.key)


def at(lines: Sequence[str], line: int, column: int) -> Cursor:
    """The cursor at a 0-based line and column."""
    text = lines[line].rstrip("\r\n") if line < len(lines) else ""
    column = min(column, len(text))
    start = _flow_start(lines, line, column)
    path, key = _block(lines, line if start is None else start, column if start is None else None)
    if start is not None:
        path, key = _flow(lines, start, line, column, (*path, key) if key is not None else path)
    begin, word = _word(text, column)
    return Cursor(
        path=path, key=key, word=word, before=text[begin:column], begin=begin,
        reference=_reference(text[:column]), variable=_variable(text, column),
    )  # fmt: skip


def key_of(text: str) -> tuple[int, str] | None:
    """The key that a line begins with (after dashes) and its column; None where there is none."""
    match = _KEY.match(text)
    return (match.start("key"), _bare(match["key"])) if match is not None else None


def _block(lines: Sequence[str], line: int, column: int | None) -> tuple[tuple[str, ...], str | None]:
    """The keys above a line and the key of the value at `column` (None: at its end), by indentation."""
    text = lines[line].rstrip("\r\n") if line < len(lines) else ""
    match = _KEY.match(text)
    if match is not None:
        parents = _parents(lines, line, len(match["indent"]), dash=_dash(text))
        inside = column is None or column >= match.end()
        return parents, _bare(match["key"]) if inside else None
    stripped = text.lstrip(" ")
    indent = len(text) - len(stripped)
    if stripped.startswith("-"):
        item = indent + 1 + (len(stripped[1:]) - len(stripped[1:].lstrip(" ")))
        above = _parents(lines, line, max(item, indent + 1), dash=indent)
        # An item that may become a value or the first key of a mapping: both are asked for with the list's key.
        return above[:-1], above[-1] if above else None
    return _parents(lines, line, indent if stripped else min(indent, column or 0), dash=None), None


def _parents(lines: Sequence[str], line: int, indent: int, *, dash: int | None) -> tuple[str, ...]:
    """The keys that a key at column `indent` lies under. `dash` is the column of its own item's dash, if it has one."""
    found: list[str] = []
    below, item = indent, dash
    for number in range(line - 1, max(-1, line - _REACH), -1):
        if below <= 0 and item is None:
            break
        match = _KEY.match(lines[number])
        if match is None:
            if item is None and _dash(lines[number]) is not None and (_dash(lines[number]) or 0) < below:
                item = _dash(lines[number])
            continue
        at_key, at_dash = len(match["indent"]), _dash(lines[number])
        if item is not None:
            # Within an item: its list's key stands at the dash's column or left of it, and is no sibling item.
            if at_dash is None and at_key <= item:
                found.append(_bare(match["key"]))
                below, item = at_key, None
            elif at_dash is not None and at_dash < item:
                if at_key <= item:
                    found.append(_bare(match["key"]))
                    below = at_key
                item = at_dash
        elif at_key < below:
            found.append(_bare(match["key"]))
            below, item = at_key, at_dash
        elif at_dash is not None and at_dash < below == at_key:
            item = at_dash  # the first key of the same item
    found.reverse()
    return tuple(found)


def _dash(text: str) -> int | None:
    stripped = text.lstrip(" ")
    return len(text) - len(stripped) if stripped.startswith("- ") or stripped.rstrip() == "-" else None


def _flow_start(lines: Sequence[str], line: int, column: int) -> int | None:
    """The line in which the bracket that is still open at the position was opened; None where none is."""
    depth = 0
    here = lines[line] if line < len(lines) else ""
    own = len(here) - len(here.lstrip(" ")) if here.strip() else column
    for number in range(line, max(-1, line - _FLOW_REACH), -1):
        text = lines[number] if number < len(lines) else ""
        text = text[:column] if number == line else text
        depth += _opened(text)
        begins = _KEY.match(text)
        if depth > 0:
            # What continues a bracket is indented further than the key it belongs to: else the bracket was never closed.
            outside = number != line and begins is not None and own <= len(begins["indent"])
            return None if outside else number
        if number != line and begins is not None and "{" not in begins.group():
            return None
    return None


def _opened(text: str) -> int:
    bare = re.sub(r"\"[^\"]*\"|'[^']*'|\$\[\[.*?\]\]|\s#.*$|\$\{\w+\}", "", text)
    return bare.count("[") + bare.count("{") - bare.count("]") - bare.count("}")


def _flow(
    lines: Sequence[str], start: int, line: int, column: int, above: tuple[str, ...]
) -> tuple[tuple[str, ...], str | None]:
    """The keys down to a position within brackets, and the key of the value there."""
    first = lines[start]
    match = _KEY.match(first)
    begin = match.end() if match is not None and "{" not in match.group() and "[" not in match.group() else 0
    parts = [*lines[start:line], lines[line][:column]] if line > start else [first[:column]]
    text = "\n".join([parts[0][begin:], *parts[1:]])
    stack: list[list[str | None]] = []
    token = ""
    quote = ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
            token += letter
        elif letter in "\"'":
            quote, token = letter, token + letter
        elif letter in "[{":
            stack.append([letter, None])
            token = ""
        elif letter in "]}" and stack:
            stack.pop()
            token = ""
        elif letter == "," and stack:
            stack[-1][1] = None
            token = ""
        elif letter == ":" and stack and stack[-1][0] == "{" and stack[-1][1] is None:
            stack[-1][1], token = _bare(token), ""
        else:
            token += letter
    keys = (*above, *(key for _, key in stack if key is not None))
    if not stack or (stack[-1][0] == "{" and stack[-1][1] is None) or not keys:
        return keys, None
    return keys[:-1], keys[-1]


def _bare(key: str) -> str:
    key = key.strip()
    return key[1:-1] if len(key) > 1 and key[0] in "\"'" and key[-1] == key[0] else key


def _word(text: str, column: int) -> tuple[int, str]:
    """The word around a column with its first column."""
    for match in _WORD.finditer(text):
        if match.start() <= column <= match.end():
            return match.start(), match.group()
    return column, ""


def _variable(text: str, column: int) -> str | None:
    for match in _VARIABLE.finditer(text):
        if match.start() < column <= match.end():
            return match.group(1)
    return None


def _reference(head: str) -> tuple[str, ...] | None:
    at_tag = head.rfind("!reference")
    rest = head[at_tag + len("!reference") :].lstrip() if at_tag >= 0 else ""
    if not rest.startswith("[") or "]" in rest:
        return None
    return tuple(part.strip().strip("\"'") for part in rest[1:].split(",")[:-1])
