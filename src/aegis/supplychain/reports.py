"""What the scans found as GitLab's security reports (dependency scanning and secret detection, schema 15).

The same input gives the same bytes, times apart: GitLab's schema wants to know when a scan began and ended. No secret
is in them, only what is left of one after redaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from aegis.core import codec
from aegis.core.types import Severity
from aegis.supplychain.leaks import Leak
from aegis.supplychain.packages import Package
from aegis.supplychain.scan import NOT_LOOKED_UP, UNREADABLE, DependencyScan, Vulnerability

SCHEMA_VERSION: Final = "15.2.1"
NEWEST: Final = "advisories-newest"
"""The scan option that says when the youngest advisory was last changed."""

_NO_COMMIT: Final = "0000000"


def dependency_report(scan: DependencyScan, *, started: datetime, ended: datetime, version: str) -> bytes:
    """GitLab's dependency-scanning report; `version` is that of Aegis."""
    options: list[dict[str, Any]] = [
        {"name": NEWEST, "value": scan.newest.isoformat() if scan.newest else "unknown", "source": "other"},
        {"name": "advisories", "value": scan.advisories, "source": "other"},
    ]
    document = {
        "version": SCHEMA_VERSION,
        "scan": _scan("dependency_scanning", started, ended, version, options),
        "vulnerabilities": [_vulnerability(one) for one in scan.vulnerabilities],
        "dependency_files": _files(scan.packages),
        "remediations": [],
    }
    return codec.encode(document)


def secret_report(
    leaks: tuple[Leak, ...], *, started: datetime, ended: datetime, version: str, notes: tuple[str, ...] = ()
) -> bytes:
    """GitLab's secret-detection report of the leaks that no marker allows; `notes` become the scan's messages."""
    scan = _scan("secret_detection", started, ended, version, [])
    if notes:
        scan["messages"] = [{"level": "warn", "value": note} for note in notes]
    document = {
        "version": SCHEMA_VERSION,
        "scan": scan,
        "vulnerabilities": [_leak(one) for one in leaks if not one.allowed],
        "remediations": [],
    }
    return codec.encode(document)


def _scan(kind: str, started: datetime, ended: datetime, version: str, options: list[dict[str, Any]]) -> dict[str, Any]:
    tool = {"id": "aegis", "name": "Aegis", "version": version, "vendor": {"name": "Aegis"}}
    scan: dict[str, Any] = {
        "analyzer": tool,
        "scanner": tool,
        "type": kind,
        "start_time": _time(started),
        "end_time": _time(ended),
        "status": "success",
    }
    return scan | ({"options": options} if options else {})


def _vulnerability(one: Vulnerability) -> dict[str, Any]:
    finding = one.finding
    title = f"{finding.package}: {finding.message}" if finding.package not in finding.message else finding.message
    entry: dict[str, Any] = {
        "id": finding.fingerprint,
        "name": title[:255],
        "description": (one.details or finding.message)[:10_000],
        "severity": _word(finding.severity),
        "solution": finding.mend,
        "identifiers": [_identifier(name) for name in one.names],
        "links": [{"url": url} for url in one.references if url.startswith(("https://", "http://"))],
        "location": {
            "file": one.package.file or "unknown",
            "start_line": one.package.line,
            "dependency": _dependency(one.package),
        },
    }
    details: dict[str, Any] = {}
    if finding.fixed_in:
        items = [{"type": "text", "name": "version", "value": version} for version in finding.fixed_in]
        details["fixed_versions"] = {"type": "list", "name": "Fixed versions", "items": items}
    if one.rating:
        details["rating"] = {"type": "text", "name": "Rating", "value": one.rating}
    return entry | ({"details": details} if details else {})


def _identifier(name: str) -> dict[str, str]:
    kind = "aegis_rule" if name in {NOT_LOOKED_UP, UNREADABLE} else name.partition("-")[0].lower() or "osv"
    return {"type": kind, "name": name, "value": name}


def _files(packages: tuple[Package, ...]) -> list[dict[str, Any]]:
    files: dict[str, list[Package]] = {}
    for package in packages:
        files.setdefault(package.file or "unknown", []).append(package)
    return [
        {"path": path, "package_manager": "pip", "dependencies": [_dependency(package) for package in mine]}
        for path, mine in sorted(files.items())
    ]


def _dependency(package: Package) -> Mapping[str, Any]:
    return {"package": {"name": package.name}, "version": package.version or "unknown"}


def _leak(leak: Leak) -> dict[str, Any]:
    return {
        "id": leak.fingerprint,
        "category": "secret_detection",
        "name": leak.title,
        "description": f"{leak.title} in {leak.path}: {leak.redacted}",
        "severity": _word(leak.severity),
        "solution": leak.mend,
        "raw_source_code_extract": leak.redacted,
        "identifiers": [{"type": "aegis_rule", "name": leak.title, "value": leak.rule}],
        "location": {
            "file": leak.path,
            "start_line": leak.line,
            "end_line": leak.line,
            "commit": {"sha": leak.commit or _NO_COMMIT},
        },
    }


def _word(severity: Severity) -> str:
    return severity.value.capitalize()


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
