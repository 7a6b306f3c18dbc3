"""What is wrong with a pipeline file, said in one form, and collected so that a reader sees all of it at once.

Decides nothing about the language; it only keeps errors apart from warnings and suggests the name that was meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field

from aegis.core.errors import UserError, Where
from aegis.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding: a stable kebab-case code, what was seen and expected, a mend to copy, and the place."""

    code: str
    message: str
    hint: str = ""
    where: Where | None = None


class Unreadable(UserError):
    """A file that cannot be read any further: the one way a reader gives up early."""

    def diagnostic(self) -> Diagnostic:
        """The same as a diagnostic."""
        return Diagnostic(code=self.code, message=self.message, hint=self.hint, where=self.where)


@dataclass(slots=True)
class Report:
    """Collects diagnostics. The same sentence about the same place is kept once."""

    errors: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)
    _seen: set[tuple[str, str, Where | None]] = field(default_factory=set)

    def error(self, code: str, message: str, where: Where | None, hint: str = "") -> None:
        """Something that GitLab would refuse, or that cannot be honoured."""
        self._add(self.errors, code, message, where, hint)

    def warn(self, code: str, message: str, where: Where | None, hint: str = "") -> None:
        """Something that works but is probably not what was meant."""
        self._add(self.warnings, code, message, where, hint)

    def _add(self, into: list[Diagnostic], code: str, message: str, where: Where | None, hint: str) -> None:
        if (code, message, where) not in self._seen:
            self._seen.add((code, message, where))
            into.append(Diagnostic(code=code, message=message, hint=hint, where=where))


def meant(name: str, known: Iterable[str]) -> str:
    """`did you mean …?` with the nearest known name, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - only needed once something is wrong

    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else ""
