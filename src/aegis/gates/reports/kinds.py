"""The kinds of evidence a gate judges, and which reader belongs to a report.

A kind is what the policy asks for; a report is recognised by its content, never by its file name.
"""

from __future__ import annotations

from typing import Final

from aegis.gates.reports.coverage import CoverageReport, read_cobertura
from aegis.gates.reports.findings import FindingsReport, read_code_quality, read_sarif, read_security
from aegis.gates.reports.junit import SuiteReport, read_junit
from aegis.gates.reports.reading import Diagnostic, at, json, xml

TESTS: Final = "tests"
COVERAGE: Final = "coverage"
QUALITY: Final = "quality"
DEPENDENCIES: Final = "dependencies"
SECRETS: Final = "secrets"
KINDS: Final = (SECRETS, DEPENDENCIES, TESTS, COVERAGE, QUALITY)
"""All kinds, in the order in which a reader should hear of them."""

Report = SuiteReport | CoverageReport | FindingsReport

_SCANS: Final = {
    "dependency_scanning": DEPENDENCIES,
    "container_scanning": DEPENDENCIES,
    "secret_detection": SECRETS,
    "sast": QUALITY,
}


def detect(data: bytes) -> str | None:
    """The kind of evidence that a report's content is, or None."""
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start == b"<":
        root, _ = xml(data)
        name = root.tag.rpartition("}")[2] if root is not None and isinstance(root.tag, str) else ""
        return {"testsuites": TESTS, "testsuite": TESTS, "coverage": COVERAGE}.get(name)
    document, problems = json(data)
    if problems:
        return None
    if isinstance(document, list):
        return QUALITY
    if isinstance(at(document, "runs"), list):
        return QUALITY
    scan = at(document, "scan", "type")
    return _SCANS.get(scan) if isinstance(scan, str) else None


def read(kind: str, data: bytes) -> tuple[Report | None, tuple[Diagnostic, ...]]:
    """The report of that kind, or None with what is wrong."""
    if kind == TESTS:
        return read_junit(data)
    if kind == COVERAGE:
        return read_cobertura(data)
    if kind == QUALITY:
        return _quality(data)
    if kind in {DEPENDENCIES, SECRETS}:
        report, problems = read_security(data)
        if report is not None and _SCANS.get(report.scan) != kind:
            return None, (
                Diagnostic(code="report-kind", message=f"expected a report about {kind}, found a {report.scan} report"),
            )
        return report, problems
    return None, (
        Diagnostic(code="report-kind", message=f"{kind!r} is no kind of evidence; known: {', '.join(KINDS)}"),
    )


def _quality(data: bytes) -> tuple[FindingsReport | None, tuple[Diagnostic, ...]]:
    document, problems = json(data)
    if problems:
        return None, problems
    if isinstance(document, list):
        return read_code_quality(data)
    if isinstance(at(document, "runs"), list):
        return read_sarif(data)
    return read_security(data)
