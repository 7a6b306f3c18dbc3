"""Which mend of a cause can be tried on a copy without harm, and how. Pure.

A trial runs the failed job again on a copy, with commands before its script that change that copy alone. It is not offered
for a job that acts on something outside: one with an environment, secrets, a resource group, or that a person starts.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from aegis.core.plan import JobSpec
from aegis.execution.explain.cause import Cause

_AGAIN: Final = frozenset(
    {"flaky", "network", "name-resolution", "server-error", "rate-limited", "runner", "test-timeout"}
)
_PATH: Final = re.compile(r"(?:^|[\s:])(\.?/?[\w./-]+): (?:line \d+: )?(?:Permission denied|cannot execute)")
_CARRIAGE: Final = re.compile(r"([\w./-]+): .*(?:\\r|\^M|required file not found)")
_FORMATTERS: Final = (
    (re.compile(r"\bruff format\b.*--(?:check|diff)"), re.compile(r" --(?:check|diff)\b")),
    (re.compile(r"\bblack\b.*--(?:check|diff)"), re.compile(r" --(?:check|diff)\b")),
    (re.compile(r"\bisort\b.*--check"), re.compile(r" --(?:check-only|check|diff)\b")),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """A mend to try: `commands` are run in the copy before the job's own; none: the job is only run again."""

    commands: tuple[str, ...]
    told: str


def unsafe(spec: JobSpec) -> str:
    """Why a job is not run for a trial; empty where it may be."""
    if spec.environment is not None:
        return f"it acts on the environment {spec.environment.name}"
    if any(one.masked or one.secret for one in spec.variables):
        return "it gets secrets"
    if spec.resource_group:
        return f"it holds the resource group {spec.resource_group}"
    if spec.when in {"manual", "delayed"}:
        return "a person or a time starts it"
    return ""


def trial(cause: Cause, spec: JobSpec) -> Trial | None:
    """The mend of a cause as something to try; None where only a person can mend it."""
    if cause.code in _AGAIN:
        return Trial((), "running it again")
    commands = tuple(_commands(cause, spec))
    return Trial(commands, f"`{'; '.join(commands)}` first") if commands else None


def mended(spec: JobSpec, tried: Trial) -> JobSpec:
    """The job with the mend before its script."""
    return replace(spec, before_script=(*spec.before_script, *tried.commands))


def _commands(cause: Cause, spec: JobSpec) -> Iterator[str]:
    text = "\n".join(cause.evidence)
    if cause.code == "permission" and (found := _PATH.search(text)) and not found[1].startswith("/"):
        yield f"chmod +x {shlex.quote(found[1])}"
    elif cause.code in {"line-endings", "command-missing"} and (found := _CARRIAGE.search(text)):
        yield f"sed -i 's/\\r$//' {shlex.quote(found[1])}"
    elif cause.code == "format":
        for line in spec.script:
            for check, option in _FORMATTERS:
                if check.search(line):
                    yield option.sub("", line)
    elif cause.code == "lock-outdated" and any(line.startswith("uv ") for line in spec.script):
        yield "uv lock"
