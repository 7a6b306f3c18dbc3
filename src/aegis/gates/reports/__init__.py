"""Readers of the reports that jobs leave: `bytes -> (value, diagnostics)`, pure, and never an exception.

What is read here was written by a job, so it is hostile until proven otherwise: sizes are bounded, XML entities are
refused, numbers are checked. A value of None means that the report says nothing that could be judged. Whether what it
says is good enough is decided in `aegis.gates.judge`.
"""

from __future__ import annotations

from aegis.gates.reports.coverage import CoverageReport, FileCoverage, line_ranges, merge_coverage, read_cobertura
from aegis.gates.reports.findings import (
    ADVISORY_UNREADABLE,
    PACKAGE_NOT_LOOKED_UP,
    FindingsReport,
    read_code_quality,
    read_sarif,
    read_security,
)
from aegis.gates.reports.junit import FailedTest, SuiteReport, merge_suites, read_junit
from aegis.gates.reports.kinds import COVERAGE, DEPENDENCIES, KINDS, QUALITY, SECRETS, TESTS, detect, read
from aegis.gates.reports.reading import MAXIMUM_SIZE, Diagnostic

__all__ = [
    "ADVISORY_UNREADABLE",
    "COVERAGE",
    "DEPENDENCIES",
    "KINDS",
    "MAXIMUM_SIZE",
    "PACKAGE_NOT_LOOKED_UP",
    "QUALITY",
    "SECRETS",
    "TESTS",
    "CoverageReport",
    "Diagnostic",
    "FailedTest",
    "FileCoverage",
    "FindingsReport",
    "SuiteReport",
    "detect",
    "line_ranges",
    "merge_coverage",
    "merge_suites",
    "read",
    "read_cobertura",
    "read_code_quality",
    "read_junit",
    "read_sarif",
    "read_security",
]
