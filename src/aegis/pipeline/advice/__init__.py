"""Static advice on a valid pipeline: named rules, each of which a comment can allow. Changes nothing about validity.

Every rule is one function over the configuration, linear in its size, and says what it saw, why it matters and the mend.
Only what the project itself wrote is advised on. `docs/advice.md` lists the rules and is held to this table by a test.
"""

from __future__ import annotations

from typing import Final

from aegis.pipeline.advice import keeping, running, trust
from aegis.pipeline.advice.allowance import Allowances
from aegis.pipeline.advice.subject import Rule, Subject
from aegis.pipeline.diagnostics import Diagnostic

__all__ = ["PREFIX", "RULES", "Rule", "Subject", "advise"]

PREFIX: Final = "advice-"
RULES: Final[tuple[Rule, ...]] = (*running.RULES, *keeping.RULES, *trust.RULES)


def advise(subject: Subject) -> tuple[Diagnostic, ...]:
    """All advice that is not allowed by a comment, in the order of files and lines."""
    allowances = Allowances(lambda file: _text(subject, file))
    found: list[Diagnostic] = []
    for rule in RULES:
        for one in rule.find(subject):
            job = subject.configuration.jobs.get(one.job)
            if not allowances.allow(rule.name, one.where, job.key.where if job is not None else None):
                found.append(Diagnostic(code=PREFIX + rule.name, message=one.message, hint=one.hint, where=one.where))
    return tuple(sorted(found, key=_place))


def _place(one: Diagnostic) -> tuple[str, int, int]:
    return (one.where.file, one.where.line, one.where.column) if one.where is not None else ("", 0, 0)


def _text(subject: Subject, file: str) -> str | None:
    data = subject.context.files.read(file)
    return data.decode("utf-8", "replace") if data is not None else None
