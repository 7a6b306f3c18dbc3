"""Mends that an editor can carry out: what a hint says, as a change of text. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aegis.lsp.cursor import key_of

_MEANT: Final = re.compile(r"did you mean `([^`]+)`\?")
_QUOTE: Final = re.compile(r'quote it: ("(?:[^"\\]|\\.)*")')
_PREFIX: Final = "advice-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A change of one line: `text` instead of the characters from `begin` to `end`. `sure`: it is the one mend."""

    title: str
    line: int
    begin: int
    end: int
    text: str
    sure: bool = True


def extent(text: str, column: int) -> int:
    """Where the thing that begins at a 0-based column ends: a key, a quoted text, or a value without its comment."""
    rest = text[column:]
    if rest[:1] in {'"', "'"}:
        end = rest.find(rest[0], 1)
        return column + end + 1 if end > 0 else len(text)
    key = key_of(rest)
    if key is not None and key[0] == 0:
        return column + len(key[1])
    bare = re.split(r"\s#", rest, maxsplit=1)[0]
    flow = text[:column].count("[") + text[:column].count("{") > text[:column].count("]") + text[:column].count("}")
    if flow:
        bare = re.split(r"[,\]}]", bare, maxsplit=1)[0]
        inner = re.match(r"[\w.-]+(?=:(?:\s|$))", bare)
        bare = inner.group() if inner is not None else bare
    return max(column + len(bare.rstrip()), min(column + 1, len(text)))


def fixes(code: str, hint: str, lines: list[str], line: int, column: int) -> list[Fix]:
    """The mends for a finding at a 0-based position."""
    if line >= len(lines):
        return []
    text = lines[line]
    end = extent(text, column)
    found: list[Fix] = []
    meant = _MEANT.search(hint)
    if meant is not None:
        begin, end = _name(text, column, end)
        found.append(
            Fix(title=f"Replace with `{meant.group(1)}`", line=line, begin=begin, end=end, text=meant.group(1))
        )
    quote = _QUOTE.search(hint)
    if quote is not None:
        found.append(Fix(title=f"Quote it: {quote.group(1)}", line=line, begin=column, end=end, text=quote.group(1)))
    if code == "need-not-in-pipeline" and not text[column:].startswith(("{", "job")):
        name = text[column:end]
        found.append(
            Fix(title="Make the need optional", line=line, begin=column, end=end, text=f"{{job: {name}, optional: true}}")
        )  # fmt: skip
    if code.startswith(_PREFIX):
        rule = code.removeprefix(_PREFIX)
        found.append(
            Fix(title=f"Allow `{rule}` here", line=line, begin=len(text.rstrip()), end=len(text), text=f"  # aegis: allow {rule}", sure=False)
        )  # fmt: skip
    return found


def _name(text: str, column: int, end: int) -> tuple[int, int]:
    """The name itself where the place is that of a mapping `{job: name}` or of `job: name`."""
    match = re.match(r"\{?\s*job:\s*(?P<name>[^,}#]+?)\s*(?:[,}#]|$)", text[column:])
    if match is not None:
        return column + match.start("name"), column + match.end("name")
    quoted = text[column : column + 1] in {'"', "'"}
    return (column + 1, end - 1) if quoted else (column, end)
