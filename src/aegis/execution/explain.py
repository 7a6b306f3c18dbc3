"""Why a job failed: well-known causes with their mends, found in the job's facts and the end of its log. Pure.

Each rule quotes the lines that made it speak. Where none fits, nothing is said: a guess would cost more than it helps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from aegis.core.types import JobRun, State
from aegis.execution.trace import readable

_QUOTE: Final = 240
_QUOTES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A likely cause. `evidence` quotes log lines or facts; `confidence` is between 0 and 1."""

    code: str
    message: str
    hint: str
    evidence: tuple[str, ...]
    confidence: float


@dataclass(frozen=True, slots=True)
class _Rule:
    """A pattern of a log line. `message` and `hint` may use the pattern's named groups."""

    code: str
    pattern: re.Pattern[str]
    message: str
    hint: str
    confidence: float


def _rule(code: str, pattern: str, message: str, hint: str, confidence: float) -> _Rule:
    return _Rule(code, re.compile(pattern), message, hint, confidence)


_RULES: Final = (
    _rule(
        "module-missing",
        r"ModuleNotFoundError: No module named '(?P<name>[\w.]+)'",
        "Python found no module {name}",
        "add the distribution that holds {name} to the project's dependencies and renew the lock",
        0.9,
    ),
    _rule(
        "command-missing",
        r"(?:line \d+: |\bsh: (?:\d+: )?)(?P<name>[\w./+-]+): (?:command )?not found",
        "the command {name} is not on the job's PATH",
        "install {name} in the job, or on the runner among its tool paths",
        0.9,
    ),
    _rule(
        "coverage-low",
        r"(?:Coverage failure|Required test coverage of|total of) .*?(?P<name>\d+(?:\.\d+)?)\s*%?.*",
        "the coverage is lower than required",
        "write tests for the lines that the report lists as missing",
        0.8,
    ),
    _rule(
        "test-collection",
        r"^ERROR collecting (?P<name>\S+)|^ERROR (?P<other>\S+\.py)\b",
        "pytest could not load a test file",
        "run pytest on that file alone: it fails when it is imported",
        0.75,
    ),
    _rule(
        "test-failed",
        r"^FAILED (?P<name>\S+)",
        "a test failed: {name}",
        "run it alone: pytest {name}",
        0.85,
    ),
    _rule(
        "no-tests",
        r"^(?:=+ )?no tests ran|collected 0 items",
        "pytest found no tests",
        "name the files test_*.py, and check testpaths",
        0.7,
    ),
    _rule(
        "hash-mismatch",
        r"(?:THESE PACKAGES DO NOT MATCH THE HASHES|Hash mismatch for `?(?P<name>[\w.-]+))",
        "a downloaded package is not the one that the lock names",
        "renew the lock if the change was meant; otherwise do not trust that index",
        0.95,
    ),
    _rule(
        "no-matching-version",
        r"(?:No matching distribution found for|No solution found when resolving)\s*(?P<name>[^\s;]*)",
        "no version of a dependency fits",
        "loosen its version range, or check that the index holds it for this Python",
        0.85,
    ),
    _rule(
        "package-missing",
        r"(?P<name>[\w.-]+) was not found in the package registry",
        "no index that the job asks holds {name}",
        "publish {name} first, or name the index that holds it (UV_DEFAULT_INDEX, PIP_INDEX_URL)",
        0.92,
    ),
    _rule(
        "network",
        r"(?P<name>Temporary failure in name resolution|Could not resolve host|Connection refused|Connection timed out"
        r"|Network is unreachable|Read timed out)",
        "a connection failed: {name}",
        "try again; if it stays, check the address and the proxy settings of the runner",
        0.7,
    ),
    _rule(
        "certificate",
        r"(?P<name>CERTIFICATE_VERIFY_FAILED|certificate verify failed|unable to get local issuer certificate)",
        "a server's certificate is not trusted",
        "give the runner your CA bundle (SSL_CERT_FILE, PIP_CERT)",
        0.85,
    ),
    _rule(
        "disk-full",
        r"(?P<name>No space left on device)",
        "the disk is full",
        "free space on the runner; old caches and artifacts go with `retention`",
        0.95,
    ),
    _rule(
        "out-of-memory",
        r"(?P<name>MemoryError|Cannot allocate memory|std::bad_alloc|JavaScript heap out of memory)",
        "the job needed more memory than it may use",
        "raise the runner's memory limit for jobs, or let the job do less at once",
        0.85,
    ),
    _rule(
        "permission",
        r"(?P<name>\S+: Permission denied|Read-only file system.*)",
        "the job may not write or run what it tried to: {name}",
        "write below $CI_PROJECT_DIR, $HOME or $TMPDIR; make scripts executable with `git update-index --chmod=+x`",
        0.6,
    ),
    _rule(
        "syntax-error",
        r"^(?P<name>SyntaxError: .*|.*: syntax error near unexpected token.*)",
        "a program does not parse: {name}",
        "correct it; the lines before this one in the log show where",
        0.85,
    ),
    _rule(
        "denied-by-registry",
        r"(?P<name>(?:401|403) (?:Client Error|Unauthorized|Forbidden)|denied: .*|authentication required)",
        "a server refused the job's credentials",
        "a job may push to quarantine of its own project only; check the address and the job's token",
        0.7,
    ),
    _rule(
        "merge-markers",
        r"(?P<name>^<<<<<<< .*)",
        "a file holds unresolved conflict markers",
        "resolve the conflict and commit again",
        0.8,
    ),
)


def causes_of(job: JobRun, tail: bytes) -> tuple[Cause, ...]:
    """The likely causes of a failed job, most likely first; none where the job did not fail or nothing fits."""
    if job.state is not State.FAILED:
        return ()
    found = [*_by_reason(job), *_by_log(readable(tail))]
    return tuple(sorted(found, key=lambda cause: -cause.confidence))


def _by_log(text: str) -> Iterator[Cause]:
    lines = text.split("\n")
    for rule in _RULES:
        hits = [(line, match) for line in lines if (match := rule.pattern.search(line))]
        if hits:
            # The last one is what the job ended with; earlier ones may have been lived with.
            groups = {name: value or "" for name, value in hits[-1][1].groupdict().items()}
            yield Cause(
                code=rule.code,
                message=rule.message.format(**groups),
                hint=rule.hint.format(**groups),
                evidence=_quotes([line for line, _ in hits]),
                confidence=rule.confidence,
            )


def _quotes(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line.strip()[:_QUOTE] for line in dict.fromkeys(lines[-_QUOTES:]))


_KILLED: Final = (
    "the script was killed (exit code 137)",
    "it may have used too much memory: let it do less at once, or raise the limit",
)
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


def _by_reason(job: JobRun) -> Iterator[Cause]:
    known = _REASONS.get(job.failure_reason or "")
    if known is not None:
        code, message, hint = known
        text = message(job)
        yield Cause(code=code, message=text, hint=hint, evidence=(f"{job.failure_reason}: {text}",), confidence=0.97)
    elif job.exit_code == 137:
        yield Cause(code="killed", message=_KILLED[0], hint=_KILLED[1], evidence=("exit code 137",), confidence=0.6)
