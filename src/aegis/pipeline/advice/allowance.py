"""Where a file allows what advice is about: the comment `# aegis: allow RULE, RULE`. Pure.

Such a comment counts for the line it stands in and for the line below it; on or above a job's own line, for the whole
job; in the comment that a file begins with, when an empty line follows, for the whole file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from aegis.core.errors import Where

_COMMENT: Final = re.compile(r"(?:^|\s)#\s*aegis:\s*allow\s+([\w, -]+)")


class Allowances:
    """Answers for the files of one project. `read` gives a file's text, None where there is none."""

    def __init__(self, read: Callable[[str], str | None]) -> None:
        self._read = read
        self._files: dict[str, tuple[frozenset[str], dict[int, frozenset[str]]]] = {}

    def allow(self, rule: str, *places: Where | None) -> bool:
        """Whether a rule is allowed at one of these places."""
        for place in places:
            if place is None:
                continue
            whole, lines = self._of(place.file)
            if rule in whole or rule in lines.get(place.line, ()) or rule in lines.get(place.line - 1, ()):
                return True
        return False

    def _of(self, file: str) -> tuple[frozenset[str], dict[int, frozenset[str]]]:
        known = self._files.get(file)
        if known is None:
            known = self._files[file] = _scan(self._read(file) or "")
        return known


def _scan(text: str) -> tuple[frozenset[str], dict[int, frozenset[str]]]:
    if "aegis:" not in text:
        return frozenset(), {}
    whole: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    lines: dict[int, frozenset[str]] = {}
    head = True
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        alone = bare.startswith("#")
        match = _COMMENT.search(line)
        if match is not None:
            names = frozenset(word.removeprefix("advice-") for word in re.split(r"[,\s]+", match.group(1)) if word)
            # A comment above a job may be followed by further comments.
            lines[number] = names | (lines.get(number - 1, frozenset()) if alone else frozenset())
            waiting |= names if alone else frozenset()
        elif alone and number - 1 in lines:
            lines[number] = lines[number - 1]
        if head and bare in {"", "---"}:
            whole |= waiting
        head = head and (alone or bare in {"", "---"})
    return whole, lines
