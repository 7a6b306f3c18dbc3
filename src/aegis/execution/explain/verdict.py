"""Why a job failed: known causes with their mends, weighed by where in the log they speak. Pure.

A rule counts in full where the command that failed wrote the line; what an earlier command wrote, what the log itself says
was lived with, and what stood in the log of a good run as well counts for little. Where nothing is left above
`ABSTAIN`, nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Final

from aegis.core.types import JobRun, State
from aegis.execution.explain.cause import ABSTAIN, Cause, Rule
from aegis.execution.explain.log import Line, bare, lines_of, template
from aegis.execution.explain.rules_code import RULES as CODE
from aegis.execution.explain.rules_dependencies import RULES as DEPENDENCIES
from aegis.execution.explain.rules_machine import RULES as MACHINE
from aegis.execution.explain.rules_outside import RULES as OUTSIDE
from aegis.execution.explain.sieve import Sieve

RULES: Final[tuple[Rule, ...]] = (*MACHINE, *OUTSIDE, *DEPENDENCIES, *CODE)
_QUOTE: Final = 240
_QUOTES: Final = 3
_EARLIER: Final = 0.4
_LIVED_WITH: Final = 0.5
_QUOTED: Final = 0.4
_OF_TESTS: Final = frozenset(
    {"test-failed", "test-error", "test-collection", "test-timeout", "coverage-low", "uncaught-exception"}
)
_IN_GOOD: Final = 0.3
_OTHER_CODE: Final = 0.85
_BEGINNING: Final = 0.08
"""How much less a line at the beginning of a command's output counts than one at its end."""
_YIELDS: Final[Mapping[str, frozenset[str]]] = {
    "coverage-low": frozenset({"test-failed"}),
    "crash": frozenset({"out-of-memory"}),
    "package-missing": frozenset({"network-policy"}),
    "no-matching-version": frozenset({"network-policy"}),
    "denied-by-registry": frozenset({"network-policy"}),
    "connection-refused": frozenset({"network-policy", "service-not-ready"}),
    "server-error": frozenset({"service-not-ready"}),
    "network": frozenset({"service-not-ready"}),
    "test-collection": frozenset({"module-missing", "import-error", "syntax-error", "merge-markers"}),
}
"""What follows from another cause where both are seen."""
_FOLLOWING: Final = 0.85
_GENERAL: Final = "uncaught-exception"
"""Said of a line only where nothing more exact is."""


def causes_of(job: JobRun, tail: bytes, good: bytes = b"") -> tuple[Cause, ...]:
    """The likely causes of a failed job, most likely first; none where the job did not fail or nothing fits.

    `good` is the log of the same job when it last succeeded: lines that stood there too are no cause.
    """
    if job.state is not State.FAILED:
        return ()
    familiar = frozenset(template(one.text) for one in lines_of(good)) if good else frozenset()
    found = [*_by_reason(job), *_by_log(job, lines_of(tail), familiar)]
    kept: dict[str, Cause] = {}
    for cause in sorted(found, key=lambda one: -one.confidence):
        told = cause.code == _GENERAL and any(cause.evidence[-1] in other.evidence for other in kept.values())
        if cause.confidence >= ABSTAIN and not told:
            kept.setdefault(cause.code, cause)
    return tuple(sorted((_following(one, kept) for one in kept.values()), key=lambda one: -one.confidence))


def _following(cause: Cause, kept: Mapping[str, Cause]) -> Cause:
    if _YIELDS.get(cause.code, frozenset()) & kept.keys():
        return replace(cause, confidence=round(cause.confidence * _FOLLOWING, 3))
    return cause


def new_lines(tail: bytes, good: bytes, limit: int = 5) -> tuple[str, ...]:
    """Lines of the failed command whose like does not stand in the good run's log: what to look at first."""
    familiar = frozenset(template(one.text) for one in lines_of(good))
    fresh = [one.text.strip()[:_QUOTE] for one in lines_of(tail) if one.last and template(one.text) not in familiar]
    return tuple(dict.fromkeys(fresh[-limit:]))


def _by_log(job: JobRun, lines: Sequence[Line], familiar: frozenset[str]) -> Iterator[Cause]:
    heard: dict[int, list[tuple[float, Line, re.Match[str]]]] = {}
    rules = {id(one): one for one in RULES}
    for line in lines:
        found: dict[int, re.Match[str]] = {}
        for text in dict.fromkeys((bare(line.text), line.text)):
            for one, match in _sieve().hits(text):
                found.setdefault(id(one), match)
        for number, match in found.items():
            heard.setdefault(number, []).append((_weight(line, rules[number], familiar), line, match))
    for number, hits in heard.items():
        yield _cause(job, rules[number], hits)


def _cause(job: JobRun, rule: Rule, hits: Sequence[tuple[float, Line, re.Match[str]]]) -> Cause:
    """What a rule says of the lines at which it spoke."""
    best = max(weight for weight, _, _ in hits)
    # The last of the strongest is what the job ended with.
    line, match = next((line, match) for weight, line, match in reversed(hits) if weight == best)
    name = next((value.strip().rstrip(".") for value in match.groupdict().values() if value), "")
    suits = not rule.codes or job.exit_code is None or job.exit_code in rule.codes
    quoted = [other.text for weight, other, _ in hits if other is not line and weight >= best / 2]
    return Cause(
        code=rule.code,
        message=_filled(rule.message, name),
        hint=_filled(rule.hint, name),
        evidence=_quotes([*quoted, line.text]),
        confidence=round(rule.confidence * best * (1.0 if suits else _OTHER_CODE), 3),
    )


@cache
def _sieve() -> Sieve:
    return Sieve(RULES)


def _weight(line: Line, rule: Rule, familiar: frozenset[str]) -> float:
    weight = (1.0 if line.last else _EARLIER) * (1.0 - _BEGINNING * (1.0 - line.place))
    if line.quoted and rule.code not in _OF_TESTS:
        weight *= _QUOTED
    if line.lived_with:
        weight *= _LIVED_WITH
    if familiar and template(line.text) in familiar:
        weight *= _IN_GOOD
    return weight


def _filled(text: str, name: str) -> str:
    """A sentence with the name in its place, or without it where the log does not say."""
    if name:
        return text.replace("{name}", name[:_QUOTE])
    for gap in (" ({name})", ": {name}", " {name}", "{name}"):
        text = text.replace(gap, "")
    return text


def _quotes(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line.strip()[:_QUOTE] for line in lines[-_QUOTES:]))


_REASONS: Final[dict[str, tuple[str, Callable[[JobRun], str], str]]] = {
    "job_execution_timeout": (
        "timeout",
        lambda job: job.message or "the job ran longer than its timeout",
        "raise `timeout:` of the job, or look for the step that hangs: it is the last one in the log",
    ),
    "stuck_or_timeout_failure": (
        "runner-silent",
        lambda job: job.message or "the job's runner fell silent",
        "retry the job; see whether the runner's machine is alive",
    ),
    "runner_system_failure": (
        "runner",
        lambda job: job.message or "the runner failed",
        "retry the job; it was not its fault. `aegis doctor` looks at the runner",
    ),
    "image_pull_failure": (
        "image",
        lambda job: job.message or "the job's image is not available",
        "run it on a runner with containers, or allow this machine's tools",
    ),
    "unmet_prerequisites": (
        "prerequisite",
        lambda job: job.message or "something the job needs is missing",
        "the message names what is missing",
    ),
}
_CODES: Final[dict[int, tuple[str, str, str, float]]] = {
    137: (
        "out-of-memory",
        "the script was killed (SIGKILL, exit code 137): most often out of memory (OOM)",
        "let it do less at once, or raise the memory limit of the job",
        0.72,
    ),
    124: (
        "timeout",
        "a command was ended at its time: `timeout` leaves exit code 124",
        "look for what hangs: it is the last line before; raise the limit only if the work is honest",
        0.8,
    ),
    139: ("crash", "a program crashed: segmentation fault (SIGSEGV, exit code 139)", "run it under a debugger", 0.85),
    134: ("crash", "a program aborted itself (SIGABRT, exit code 134)", "the lines above say why it did", 0.8),
    127: ("command-missing", "a command was not found (exit code 127)", "install it in the job or its image", 0.6),
    126: ("permission", "a command could not be executed (exit code 126)", "make it executable: chmod +x", 0.6),
}


def _by_reason(job: JobRun) -> Iterator[Cause]:
    known = _REASONS.get(job.failure_reason or "")
    if known is not None:
        code, message, hint = known
        text = message(job)
        yield Cause(code=code, message=text, hint=hint, evidence=(f"{job.failure_reason}: {text}",), confidence=0.97)
    elif job.exit_code in _CODES:
        said, told, mend, confidence = _CODES[job.exit_code]
        yield Cause(code=said, message=told, hint=mend, evidence=(f"exit code {job.exit_code}",), confidence=confidence)


__all__ = ["ABSTAIN", "RULES", "Cause", "causes_of", "new_lines"]
