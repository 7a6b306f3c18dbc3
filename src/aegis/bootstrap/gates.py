"""Puts together what `aegis gate check` needs: report files and a policy file become claims and a policy.

Only what can be known of a file on a disk is judged: no job, template or isolation stands behind it, so those
parts of a policy are set aside here, in the open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from aegis.core.errors import NotFound, UserError, Where
from aegis.core.types import Outcome, Reason
from aegis.gates import judge as judging
from aegis.gates.policy import GatePolicy, digest, from_document
from aegis.gates.reports import KINDS, MAXIMUM_SIZE, detect


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the gates say about local files. `evidence` maps each file to the kind it was taken for."""

    outcome: Outcome
    reasons: tuple[Reason, ...]
    evidence: Mapping[str, str]
    policy_digest: str


def check_reports(
    paths: tuple[str, ...],
    *,
    policy_file: str | None = None,
    coverage_minimum: float | None = None,
    changed: tuple[str, ...] = (),
    target: str = "main",
    require_all: bool = False,
) -> Judged:
    """Judge report files. Without `require_all` only the kinds that were given are judged."""
    policy = read_policy(Path(policy_file)) if policy_file else GatePolicy()
    if coverage_minimum is not None:
        policy = replace(policy, coverage_minimum=coverage_minimum)
    if not require_all:
        policy = replace(policy, required={})
    policy = replace(policy, isolation_required=False, foreign_jobs=Outcome.PASS)
    claims = tuple(_claim(Path(path)) for path in paths)
    context = judging.Context(target=target, changed_paths=changed, now=datetime.now(UTC))
    outcome, reasons = judging.judge(policy, claims, context)
    return Judged(
        outcome=outcome,
        reasons=reasons,
        evidence={claim.name: claim.kind for claim in claims},
        policy_digest=digest(policy),
    )


def read_policy(path: Path) -> GatePolicy:
    """The policy in a file: a declaration with `gates:`, or a mapping of gates alone."""
    try:
        document = yaml.load(_read(path), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = Where(str(path), mark.line + 1, mark.column + 1) if mark else Where(str(path))
        raise UserError("policy-yaml", f"not readable as YAML: {error.problem}", where=where) from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError("policy-yaml", f"not readable as YAML: {error}", where=Where(str(path))) from error
    if isinstance(document, Mapping) and "gates" in document:
        document = document["gates"]
    elif isinstance(document, Mapping) and "version" in document:
        document = {}
    return from_document(document if document is not None else {}, str(path))


def _claim(path: Path) -> judging.Claim:
    data = _read(path)
    kind = detect(data)
    if kind is None:
        kind = _by_name(path.name)
    if kind is None:
        raise UserError(
            "report-unknown",
            f"{path} is no report that the gates know",
            hint=f"known kinds: {', '.join(KINDS)} (JUnit, Cobertura, GitLab's JSON reports, SARIF)",
            where=Where(str(path)),
        )
    return judging.Claim(kind=kind, report=data, name=str(path))


def _by_name(name: str) -> str | None:
    """The kind that a file's name promises, so that an empty or broken report blocks under its own gate."""
    lowered = name.lower()
    marks = (
        ("junit", "tests"), ("coverage", "coverage"), ("quality", "quality"), ("sarif", "quality"),
        ("dependency", "dependencies"), ("secret", "secrets"),
    )  # fmt: skip
    return next((kind for mark, kind in marks if mark in lowered), None)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAXIMUM_SIZE + 1)
    except FileNotFoundError:
        raise NotFound("file-missing", f"{path} does not exist", hint="name report files that the jobs left") from None
    except OSError as error:
        raise UserError("file-unreadable", f"{path}: {error.strerror}", where=Where(str(path))) from error
