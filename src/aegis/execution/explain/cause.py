"""What an explanation is made of: causes, and the rules that find one in a line of a log. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

ABSTAIN: Final = 0.5
"""Below this confidence nothing is said: a guess would cost more than it helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A likely cause. `evidence` quotes log lines or differences; `confidence` is between 0 and 1."""

    code: str
    message: str
    hint: str
    evidence: tuple[str, ...]
    confidence: float


@dataclass(frozen=True, slots=True)
class Rule:
    """Patterns of a log line, any of which speaks for `code`. `{name}` in `message` and `hint` is what they caught.

    `codes` are exit codes with which the rule speaks at full strength; empty: any.
    """

    code: str
    patterns: tuple[str, ...]
    message: str
    hint: str
    confidence: float
    codes: frozenset[int] = field(default_factory=frozenset)


def rule(
    code: str, message: str, hint: str, *patterns: str, confidence: float = 0.9, codes: tuple[int, ...] = ()
) -> Rule:
    """A row of a table of rules."""
    return Rule(code, patterns, message, hint, confidence, frozenset(codes))
