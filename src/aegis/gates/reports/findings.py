"""Reports that list findings: GitLab's code quality and security reports (schema 15), and SARIF 2.1.0.

Tools name severities differently; they become GitLab's six here. What severity blocks is the policy's matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from aegis.core.types import Finding, Severity
from aegis.gates.reports.reading import Diagnostic, at, items, json, number, place, text

PACKAGE_NOT_LOOKED_UP: Final = "package-not-looked-up"
"""The rule under which a dependency scan reports a package it could say nothing about."""
ADVISORY_UNREADABLE: Final = "advisory-unreadable"
"""The rule under which a dependency scan reports an advisory it could not read."""

_QUALITY: Final = MappingProxyType(
    {
        "blocker": Severity.CRITICAL,
        "critical": Severity.HIGH,
        "major": Severity.MEDIUM,
        "minor": Severity.LOW,
        "info": Severity.INFO,
    }
)
_SARIF: Final = MappingProxyType(
    {"error": Severity.HIGH, "warning": Severity.MEDIUM, "note": Severity.LOW, "none": Severity.INFO}
)
_SECURITY_SCANS: Final = frozenset({"dependency_scanning", "secret_detection", "sast", "container_scanning"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingsReport:
    """What a scan found. `complete` is false when the scanner itself says that it did not finish."""

    scan: str
    findings: tuple[Finding, ...]
    complete: bool = True
    scanned: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)


def read_code_quality(data: bytes) -> tuple[FindingsReport | None, tuple[Diagnostic, ...]]:
    """GitLab's code quality report (Code Climate's form), as `ruff check --output-format gitlab` writes it."""
    document, problems = json(data)
    if problems:
        return None, problems
    if not isinstance(document, list):
        return None, (Diagnostic(code="report-kind", message="expected a JSON list of code quality findings"),)
    findings: list[Finding] = []
    bad = 0
    for entry in document:
        if not isinstance(entry, dict) or not text(entry.get("description")):
            bad += 1
            continue
        findings.append(_quality(entry))
    return FindingsReport(scan="code_quality", findings=tuple(findings), complete=not bad), _passed_over(bad)


def read_security(data: bytes) -> tuple[FindingsReport | None, tuple[Diagnostic, ...]]:
    """GitLab's dependency-scanning, secret-detection, SAST and container reports, schema 15."""
    document, problems = json(data)
    if problems:
        return None, problems
    scan = text(at(document, "scan", "type"))
    if scan not in _SECURITY_SCANS:
        return None, (
            Diagnostic(code="report-kind", message="expected a GitLab security report with a known `scan.type`"),
        )
    if not isinstance(at(document, "vulnerabilities"), list):
        return None, (Diagnostic(code="report-kind", message="the report has no list of `vulnerabilities`"),)
    entries = items(document["vulnerabilities"])
    findings = tuple(_security(entry, scan) for entry in entries if isinstance(entry, dict))
    bad = len(entries) - len(findings)
    files = items(at(document, "dependency_files"))
    options = {text(at(option, "name")): text(at(option, "value")) for option in items(at(document, "scan", "options"))}
    report = FindingsReport(
        scan=scan,
        findings=findings,
        complete=at(document, "scan", "status") == "success" and not bad,
        scanned=sum(len(items(at(file, "dependencies"))) for file in files) if files else None,
        options=options,
    )
    return report, _passed_over(bad)


def read_sarif(data: bytes) -> tuple[FindingsReport | None, tuple[Diagnostic, ...]]:
    """SARIF 2.1.0 (OASIS): every result that is neither suppressed nor marked as absent."""
    document, problems = json(data)
    if problems:
        return None, problems
    if not isinstance(at(document, "runs"), list):
        return None, (Diagnostic(code="report-kind", message="expected SARIF with a list of `runs`"),)
    findings: list[Finding] = []
    bad = 0
    finished = True
    for run in document["runs"]:
        rules = _rules(run)
        tool = text(at(run, "tool", "driver", "name"), 100) or "sarif"
        finished = finished and all(
            at(one, "executionSuccessful") is not False for one in items(at(run, "invocations"))
        )
        for result in items(at(run, "results")):
            if not isinstance(result, dict):
                bad += 1
            elif not items(result.get("suppressions")) and result.get("baselineState") != "absent":
                findings.append(_sarif(result, rules, tool))
    return FindingsReport(scan="sarif", findings=tuple(findings), complete=finished and not bad), _passed_over(bad)


def _quality(entry: dict[str, Any]) -> Finding:
    line = number(at(entry, "location", "positions", "begin", "line"))
    column = at(entry, "location", "positions", "begin", "column")
    if line is None:
        line = number(at(entry, "location", "lines", "begin"))
    return Finding(
        tool="code quality",
        rule=text(entry.get("check_name"), 200),
        severity=_QUALITY.get(text(entry.get("severity")), Severity.UNKNOWN),
        message=text(entry.get("description")),
        where=place(text(at(entry, "location", "path"), 1000), line, column),
        fingerprint=text(entry.get("fingerprint"), 200),
    )


def _security(entry: dict[str, Any], scan: str) -> Finding:
    identifiers = [text(at(one, "value"), 200) for one in items(entry.get("identifiers"))]
    fixed = tuple(text(at(one, "value"), 100) for one in items(at(entry, "details", "fixed_versions", "items")))
    file = text(at(entry, "location", "file"), 1000)
    message = text(entry.get("name")) or text(entry.get("message")) or text(entry.get("description"))
    return Finding(
        tool=scan,
        rule=next((one for one in identifiers if one), ""),
        severity=severity(text(entry.get("severity"))),
        message=message or "no description",
        mend=text(entry.get("solution")),
        where=place(file, at(entry, "location", "start_line")),
        package=text(at(entry, "location", "dependency", "package", "name"), 200),
        installed=text(at(entry, "location", "dependency", "version"), 200),
        fixed_in=tuple(version for version in fixed if version),
        fingerprint=text(entry.get("id"), 200),
    )


def _rules(run: Any) -> dict[str, dict[str, Any]]:
    rules = items(at(run, "tool", "driver", "rules"))
    return {text(rule.get("id")): rule for rule in rules if isinstance(rule, dict)}


def _sarif(result: dict[str, Any], rules: dict[str, dict[str, Any]], tool: str) -> Finding:
    rule_id = text(result.get("ruleId") or at(result, "rule", "id"), 200)
    rule = rules.get(rule_id, {})
    level = text(result.get("level")) or text(at(rule, "defaultConfiguration", "level")) or "warning"
    location = at(result, "locations", 0, "physicalLocation")
    return Finding(
        tool=tool,
        rule=rule_id,
        severity=_rated(at(rule, "properties", "security-severity")) or _SARIF.get(level, Severity.UNKNOWN),
        message=text(at(result, "message", "text")) or rule_id or "no message",
        mend=text(at(rule, "help", "text")),
        where=place(
            text(at(location, "artifactLocation", "uri"), 1000).removeprefix("file://"),
            at(location, "region", "startLine"),
            at(location, "region", "startColumn"),
        ),
    )


def _rated(value: Any) -> Severity | None:
    """The level of a CVSS score, by the qualitative scale of CVSS 3.1, section 5."""
    try:
        score = float(text(value, 20))
    except ValueError:
        return None
    for floor, level in ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MEDIUM), (0.1, Severity.LOW)):
        if score >= floor:
            return level
    return Severity.INFO if score >= 0 else None


def severity(word: str) -> Severity:
    """GitLab's severity for a word of whatever case; UNKNOWN where it is none."""
    try:
        return Severity(word.lower())
    except ValueError:
        return Severity.UNKNOWN


def _passed_over(bad: int) -> tuple[Diagnostic, ...]:
    if not bad:
        return ()
    return (Diagnostic(code="report-entries", message=f"{bad} entries are not findings; the report is not complete"),)
