"""Which rules speak at a line, for logs of thousands of lines: one automaton passes over all patterns first. Pure.

RE2 sees every pattern but the few with look-arounds in one pass; Python's own expressions then confirm and catch names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count
from typing import Any, Final

from aegis.execution.explain.cause import Rule

_NAME: Final = re.compile(r"\(\?P<name>")
_LOOKAROUND: Final = re.compile(r"\(\?<?[!=]")


class Sieve:
    """The rules in one automaton."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        import re2  # noqa: PLC0415 - only who explains a failure needs it

        self._patterns = [(rule, pattern) for rule in rules for pattern in rule.patterns]
        self._always: list[int] = []
        self._numbers: list[int] = []
        options = re2.Options()
        options.log_errors = False
        self._set: Any = re2.Set.SearchSet(options)
        for number, (_, pattern) in enumerate(self._patterns):
            if _LOOKAROUND.search(pattern):
                self._always.append(number)
            else:
                self._set.Add(_NAME.sub("(", pattern))
                self._numbers.append(number)
        self._set.Compile()

    def hits(self, line: str) -> Iterator[tuple[Rule, re.Match[str]]]:
        """Each rule that speaks at a line, once, with what it caught."""
        near = sorted((*(self._numbers[one] for one in self._set.Match(line) or ()), *self._always))
        seen: set[int] = set()
        for number in near:
            rule, pattern = self._patterns[number]
            if id(rule) not in seen and (found := _compiled(pattern).search(line)) is not None:
                seen.add(id(rule))
                yield rule, found


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern when it is first needed. `name` may stand in each of its branches."""
    number = count(1)
    return re.compile(_NAME.sub(lambda _: f"(?P<name{next(number)}>", pattern))
