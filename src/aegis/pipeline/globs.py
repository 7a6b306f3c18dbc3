"""Path patterns as Ruby's `File.fnmatch?` reads them with PATHNAME, DOTMATCH and EXTGLOB. Pure.

`*` and `?` stop at `/`; `**/` stands for any number of directories; `{a,b}` are alternatives; `[a-z]` and `[!a]` are
sets; a trailing `**` is an ordinary `*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_ALTERNATIVES_MAX = 1000


def matches(pattern: str, path: str) -> bool:
    """Whether the whole path fits the pattern."""
    return _compiled(pattern).fullmatch(path) is not None


def any_match(patterns: Iterable[str], paths: Iterable[str]) -> str | None:
    """The first path that fits one of the patterns."""
    compiled = [_compiled(pattern) for pattern in patterns]
    for path in paths:
        if any(one.fullmatch(path) for one in compiled):
            return path
    return None


def is_literal(pattern: str) -> bool:
    """Whether the pattern names exactly one path."""
    return not any(sign in pattern for sign in "*?[{")


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    options = _alternatives(pattern)
    return re.compile("|".join(f"(?:{_translated(one)})" for one in options), re.DOTALL)


def _alternatives(pattern: str) -> list[str]:
    """Braces expanded, outermost first; an unclosed brace is literal."""
    done: list[str] = []
    todo = [pattern]
    while todo:
        one = todo.pop(0)
        split = _braces(one)
        if split is None or len(todo) + len(done) > _ALTERNATIVES_MAX:
            done.append(one)
            continue
        before, options, after = split
        todo[0:0] = [before + option + after for option in options]
    return done


def _braces(pattern: str) -> tuple[str, list[str], str] | None:
    start = pattern.find("{")
    if start < 0:
        return None
    depth, last, options = 0, start + 1, []
    for index in range(start, len(pattern)):
        sign = pattern[index]
        if sign == "{":
            depth += 1
        elif sign == "}":
            depth -= 1
            if depth == 0:
                options.append(pattern[last:index])
                return pattern[:start], options, pattern[index + 1 :]
        elif sign == "," and depth == 1:
            options.append(pattern[last:index])
            last = index + 1
    return None


def _translated(pattern: str) -> str:
    out: list[str] = []
    index = 0
    while index < len(pattern):
        sign = pattern[index]
        at_start = index == 0 or pattern[index - 1] == "/"
        if at_start and pattern.startswith("**/", index):
            out.append("(?:[^/]+/)*")
            index += 3
            continue
        if sign == "*":
            while index + 1 < len(pattern) and pattern[index + 1] == "*":
                index += 1
            out.append("[^/]*")
        elif sign == "?":
            out.append("[^/]")
        elif sign == "[":
            end = pattern.find("]", index + 2)
            if end < 0:
                out.append(re.escape(sign))
            else:
                out.append(_set(pattern[index + 1 : end]))
                index = end
        elif sign == "\\" and index + 1 < len(pattern):
            index += 1
            out.append(re.escape(pattern[index]))
        else:
            out.append(re.escape(sign))
        index += 1
    return "".join(out)


def _set(body: str) -> str:
    negated = body[0] in "!^"
    body = body[1:] if negated else body
    parts: list[str] = []
    index = 0
    while index < len(body):
        if index + 2 < len(body) and body[index + 1] == "-":
            low, high = body[index], body[index + 2]
            if low <= high:
                parts.append(f"{re.escape(low)}-{re.escape(high)}")
            index += 3
        else:
            parts.append(re.escape(body[index]))
            index += 1
    if not parts:
        return "[^/]" if negated else r"(?!)"
    inside = "".join(parts)
    return f"(?![/])[^{inside}]" if negated else f"(?![/])[{inside}]"
