"""JUnit XML, as pytest, unittest runners and GitLab know it: counts, failing tests, their place.

There is no binding schema; the reader takes what pytest (xunit1 and xunit2), unittest-xml-reporting and Surefire write.
The test cases are counted themselves, and the totals that the suites claim can only make it worse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aegis.core.errors import Where
from aegis.gates.reports.reading import Diagnostic, clean, number, place, text, xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_PLACE: Final = re.compile(r"^(?P<file>[^\s:<>\"']{1,300}):(?P<line>\d{1,7}):", re.MULTILINE)
_TRACE: Final = re.compile(r'File "(?P<file>[^"\n]{1,300})", line (?P<line>\d{1,7})')
_KEPT_FAILURES: Final = 200
_MESSAGE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTest:
    """One test that failed (`failure`) or broke (`error`). `name` is `module.Class::test` where both are known."""

    name: str
    message: str
    kind: str = "failure"
    where: Where | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteReport:
    """What a test run said. `failed` holds the first 200; `failures` and `errors` count all of them."""

    tests: int
    failures: int = 0
    errors: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failed: tuple[FailedTest, ...] = ()

    @property
    def ran(self) -> int:
        """Tests that were carried out."""
        return max(0, self.tests - self.skipped)


def read_junit(data: bytes) -> tuple[SuiteReport | None, tuple[Diagnostic, ...]]:
    """The report, or None with what is wrong. Source: pytest's and Surefire's `TEST-*.xml`."""
    root, problems = xml(data)
    if root is None:
        return None, problems
    if _tag(root) not in {"testsuites", "testsuite"}:
        return None, (
            Diagnostic(code="report-kind", message=f"expected <testsuites> or <testsuite>, found <{_tag(root)[:60]}>"),
        )
    cases = [node for node in root.iter() if _tag(node) == "testcase"]
    counted = _count(cases)
    claimed_failures, claimed_errors = _claimed(root, "failures"), _claimed(root, "errors")
    if claimed_failures + claimed_errors > counted.failures + counted.errors:
        problems = (
            Diagnostic(
                code="report-inconsistent",
                message=(
                    f"the suites claim {claimed_failures} failures and {claimed_errors} errors, "
                    f"the test cases hold {counted.failures} and {counted.errors}; the worse counts"
                ),
            ),
        )
        counted = SuiteReport(
            tests=max(counted.tests, claimed_failures + claimed_errors),
            failures=max(counted.failures, claimed_failures),
            errors=max(counted.errors, claimed_errors),
            skipped=counted.skipped,
            seconds=counted.seconds,
            failed=counted.failed,
        )
    return counted, problems


def merge_suites(reports: tuple[SuiteReport, ...]) -> SuiteReport:
    """Several reports (shards, kinds of test) as one."""
    return SuiteReport(
        tests=sum(one.tests for one in reports),
        failures=sum(one.failures for one in reports),
        errors=sum(one.errors for one in reports),
        skipped=sum(one.skipped for one in reports),
        seconds=sum(one.seconds for one in reports),
        failed=tuple(test for one in reports for test in one.failed),
    )


def _count(cases: list[Element]) -> SuiteReport:
    failures = errors = skipped = 0
    seconds = 0.0
    failed: list[FailedTest] = []
    for case in cases:
        marks = {_tag(child): child for child in case}
        seconds += _seconds(case.get("time"))
        if "error" in marks:
            errors += 1
        elif "failure" in marks:
            failures += 1
        elif "skipped" in marks:
            skipped += 1
        bad = marks.get("error", marks.get("failure"))
        if bad is not None and len(failed) < _KEPT_FAILURES:
            failed.append(_failed(case, bad))
    return SuiteReport(
        tests=len(cases), failures=failures, errors=errors, skipped=skipped, seconds=seconds, failed=tuple(failed)
    )


def _failed(case: Element, mark: Element) -> FailedTest:
    body = mark.text or ""
    group, name = case.get("classname") or "", case.get("name") or "?"
    full = f"{group}::{name}" if group else name
    message = mark.get("message") or next((line for line in body.splitlines() if line.strip()), "")
    return FailedTest(
        name=clean(full)[:300],
        message=clean(message).strip()[:_MESSAGE] or "no message",
        kind=_tag(mark),
        where=_place(body) or place(text(case.get("file")), case.get("line")),
    )


def _place(body: str) -> Where | None:
    """The last place of the trace: pytest prints the failing line there, a plain traceback its innermost frame."""
    found = _PLACE.findall(body[-20_000:]) or _TRACE.findall(body[-20_000:])
    return place(*found[-1]) if found else None


def _claimed(root: Element, attribute: str) -> int:
    """The sum over the innermost suites, since outer ones repeat it."""
    total = 0
    for suite in root.iter():
        if _tag(suite) == "testsuite" and not any(_tag(child) == "testsuite" for child in suite):
            total += number(suite.get(attribute)) or 0
    return total


def _seconds(value: str | None) -> float:
    try:
        seconds = float(value or 0)
    except ValueError:
        return 0.0
    return seconds if 0 <= seconds < 1e9 else 0.0


def _tag(node: Element) -> str:
    """The element's name without a namespace; comments have none."""
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""
