"""The readers take what pytest, coverage.py, ruff and GitLab's scanners write."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from aegis.core.errors import Where
from aegis.core.types import Severity
from aegis.gates import reports

JUNIT = b"""<?xml version="1.0"?>
<testsuites><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4">
<testcase classname="test_app.TestOrders" name="test_total" time="0.5"><failure message="assert 1 == 2">
def test_total():
E   assert 1 == 2

tests/test_app.py:12: AssertionError</failure></testcase>
<testcase classname="test_app" name="test_ok" time="0.1"/>
<testcase classname="test_app" name="test_later" time="0"><skipped message="no"/></testcase>
<testcase classname="" name="tests.test_broken" time="0"><error message="collection failure">ImportError</error></testcase>
</testsuite></testsuites>"""

COBERTURA = b"""<?xml version="1.0"?><!DOCTYPE coverage SYSTEM "coverage-04.dtd">
<coverage line-rate="0.99"><sources><source>/builds/shop/orders/src</source></sources><packages><package><classes>
<class filename="orders/app.py"><lines><line number="1" hits="1"/><line number="2" hits="0"/><line number="3" hits="0"/>
<line number="7" hits="0"/></lines></class>
<class filename="orders/db.py"><lines><line number="1" hits="4"/></lines></class>
</classes></package></packages></coverage>"""


def security(scan: str, *vulnerabilities: object, status: str = "success") -> bytes:
    return json.dumps(
        {"version": "15.2.1", "scan": {"type": scan, "status": status}, "vulnerabilities": vulnerabilities}
    ).encode()


def test_a_junit_report_tells_counts_messages_and_places() -> None:
    report, problems = reports.read_junit(JUNIT)
    assert report is not None
    assert not problems
    assert (report.tests, report.failures, report.errors, report.skipped, report.ran) == (4, 1, 1, 1, 3)
    assert report.failed[0].name == "test_app.TestOrders::test_total"
    assert report.failed[0].message == "assert 1 == 2"
    assert report.failed[0].where == Where("tests/test_app.py", 12)
    assert report.failed[1].name == "tests.test_broken"


def test_totals_that_are_worse_than_the_cases_count() -> None:
    report, problems = reports.read_junit(
        b'<testsuite failures="3" errors="0" tests="1"><testcase name="a"/></testsuite>'
    )
    assert report is not None
    assert report.failures == 3
    assert problems[0].code == "report-inconsistent"


def test_what_pytest_itself_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_good(): pass\n\n\ndef test_bad():\n    assert [1] == [2]\n")
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=out.xml", "test_it.py"],
        cwd=tmp_path, check=False, capture_output=True,
    )  # fmt: skip
    report, _ = reports.read_junit((tmp_path / "out.xml").read_bytes())
    assert report is not None
    assert (report.tests, report.failures) == (2, 1)
    assert report.failed[0].where == Where("test_it.py", 5)


def test_cobertura_is_counted_from_lines_and_not_from_claimed_rates() -> None:
    report, problems = reports.read_cobertura(COBERTURA)
    assert report is not None
    assert not problems
    assert report.percent == 40.0
    file = report.file("src/orders/app.py")
    assert file is not None
    assert file.uncovered == "2-3, 7"
    assert report.file("orders/other.py") is None


def test_shards_of_coverage_add_up() -> None:
    one = b'<coverage><class filename="a.py"><line number="1" hits="1"/><line number="2" hits="0"/></class></coverage>'
    two = b'<coverage><class filename="a.py"><line number="1" hits="0"/><line number="2" hits="3"/></class></coverage>'
    read = [reports.read_cobertura(data)[0] for data in (one, two)]
    merged = reports.merge_coverage(tuple(report for report in read if report))
    assert merged.percent == 100.0


def test_ruffs_own_report_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\n")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--output-format", "gitlab", "a.py"],
        cwd=tmp_path, check=False, capture_output=True,
    )  # fmt: skip
    report, problems = reports.read_code_quality(done.stdout)
    assert report is not None
    assert not problems
    assert report.findings[0].rule == "F401"
    assert report.findings[0].severity is Severity.MEDIUM
    assert report.findings[0].where is not None
    assert report.findings[0].where.line == 1


def test_a_dependency_report_tells_package_and_fixed_versions() -> None:
    data = security(
        "dependency_scanning",
        {
            "id": "1",
            "name": "sandbox escape",
            "severity": "High",
            "solution": "upgrade",
            "identifiers": [{"type": "cve", "name": "CVE-1", "value": "CVE-1"}],
            "location": {
                "file": "requirements.lock",
                "dependency": {"package": {"name": "jinja2"}, "version": "2.4.1"},
            },
            "details": {"fixed_versions": {"type": "list", "items": [{"type": "text", "value": "2.10.1"}]}},
        },
    )
    report, _ = reports.read_security(data)
    assert report is not None
    finding = report.findings[0]
    assert (finding.package, finding.installed, finding.fixed_in) == ("jinja2", "2.4.1", ("2.10.1",))
    assert (finding.rule, finding.severity, finding.mend) == ("CVE-1", Severity.HIGH, "upgrade")


def test_a_scan_that_failed_is_not_complete() -> None:
    report, _ = reports.read_security(security("secret_detection", status="failure"))
    assert report is not None
    assert not report.complete


def test_sarif_takes_level_rule_and_suppression() -> None:
    document = {
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "bandit",
                        "rules": [
                            {"id": "B602", "properties": {"security-severity": "9.1"}, "help": {"text": "no shell"}}
                        ],
                    }
                },
                "results": [
                    {
                        "ruleId": "B602",
                        "message": {"text": "shell"},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": "src/a.py"},
                                    "region": {"startLine": 4},
                                }
                            }
                        ],
                    },
                    {"ruleId": "B101", "level": "note", "message": {"text": "assert"}},
                    {"ruleId": "B1", "message": {"text": "known"}, "suppressions": [{"kind": "inSource"}]},
                ],
            }
        ],
    }
    report, problems = reports.read_sarif(json.dumps(document).encode())
    assert report is not None
    assert not problems
    assert [(one.rule, one.severity) for one in report.findings] == [
        ("B602", Severity.CRITICAL),
        ("B101", Severity.LOW),
    ]
    assert report.findings[0].where == Where("src/a.py", 4)
    assert report.findings[0].mend == "no shell"


def test_the_kind_is_recognised_by_content() -> None:
    assert reports.detect(JUNIT) == reports.TESTS
    assert reports.detect(COBERTURA) == reports.COVERAGE
    assert reports.detect(b"[]") == reports.QUALITY
    assert reports.detect(b'{"runs": []}') == reports.QUALITY
    assert reports.detect(security("dependency_scanning")) == reports.DEPENDENCIES
    assert reports.detect(security("secret_detection")) == reports.SECRETS
    assert reports.detect(b"{}") is None
    assert reports.detect(b"\x00") is None


def test_entities_are_refused() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY x "y">]><testsuite><testcase name="&x;"/></testsuite>'
    report, problems = reports.read_junit(bomb)
    assert report is None
    assert problems[0].code == "report-xml"


def test_control_characters_do_not_reach_a_terminal() -> None:
    data = json.dumps([{"description": "a\x1b[2Jb", "severity": "major"}]).encode()
    report, _ = reports.read_code_quality(data)
    assert report is not None
    assert report.findings[0].message == "a[2Jb"


def test_an_empty_or_huge_report_is_a_diagnostic() -> None:
    for reader in (reports.read_junit, reports.read_cobertura, reports.read_code_quality, reports.read_security):
        assert reader(b" \n")[1][0].code == "report-empty"
    assert reports.read_junit(b" " * 10 + b"x" * reports.MAXIMUM_SIZE)[1][0].code == "report-too-large"
