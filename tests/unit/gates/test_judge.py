"""The gates block what is missing, broken or bad, and say the mend."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from aegis.core.reuse import JobReuse
from aegis.core.types import JobRun, Outcome, Reason, State
from aegis.gates.judge import Claim, Context, judge
from aegis.gates.policy import Exemption, GatePolicy, Reused
from aegis.gates.reports import PACKAGE_NOT_LOOKED_UP

NOW = datetime(2026, 2, 1, tzinfo=UTC)
ONLY = GatePolicy(required={}, isolation_required=False, foreign_jobs=Outcome.PASS)
GOOD_TESTS = b'<testsuite tests="1"><testcase name="a"/></testsuite>'


def coverage(covered: int, missed: int, path: str = "src/orders/app.py") -> bytes:
    lines = "".join(
        f'<line number="{number}" hits="{int(number <= covered)}"/>' for number in range(1, covered + missed + 1)
    )
    return f'<coverage><class filename="{path}"><lines>{lines}</lines></class></coverage>'.encode()


def vulnerability(package: str, version: str, rule: str, severity: str, *fixed: str) -> dict[str, Any]:
    return {
        "name": "escape",
        "severity": severity,
        "identifiers": [{"type": "cve", "name": rule, "value": rule}],
        "location": {"file": "requirements.lock", "dependency": {"package": {"name": package}, "version": version}},
        "details": {"fixed_versions": {"items": [{"value": one} for one in fixed]}},
    }


def scan(kind: str, *found: object, newest: str = "2026-01-31T00:00:00Z", status: str = "success") -> bytes:
    options = [{"name": "advisories-newest", "value": newest}]
    return json.dumps({"scan": {"type": kind, "status": status, "options": options}, "vulnerabilities": found}).encode()


def claim(kind: str, report: bytes | None, **more: Any) -> Claim:
    return Claim(kind=kind, report=report, origin="aegis/python-service@1", isolation="namespaces", **more)


def one(policy: GatePolicy, *claims: Claim, **context: Any) -> tuple[Outcome, Reason]:
    outcome, reasons = judge(policy, claims, Context(target="main", now=NOW, **context))
    return outcome, reasons[0]


def test_a_good_run_passes_and_says_what_was_seen() -> None:
    claims = (
        claim("tests", GOOD_TESTS),
        claim("coverage", coverage(9, 1)),
        claim("quality", b"[]"),
        claim("dependencies", scan("dependency_scanning")),
        claim("secrets", scan("secret_detection")),
    )
    outcome, reasons = judge(GatePolicy(), claims, Context(target="main", now=NOW))
    assert outcome is Outcome.PASS
    assert {reason.gate for reason in reasons} == {"tests", "coverage", "quality", "dependencies", "secrets"}


def test_nothing_passes_because_nobody_looked() -> None:
    outcome, reasons = judge(GatePolicy(), (), Context(target="main"))
    assert outcome is Outcome.BLOCK
    assert {reason.gate for reason in reasons} == {"tests", "coverage", "quality", "dependencies", "secrets"}
    assert all(reason.mend for reason in reasons)
    assert judge(ONLY, (), Context(target="main"))[0] is Outcome.BLOCK


def test_missing_empty_and_unreadable_reports_block() -> None:
    for report in (None, b"", b"<testsuite", b"{}"):
        outcome, reason = one(ONLY, claim("tests", report, job="unit", name="junit.xml"))
        assert outcome is Outcome.BLOCK
        assert "junit.xml" in reason.message
        assert "unit" in reason.message


def test_a_report_of_another_kind_does_not_count() -> None:
    outcome, reason = one(ONLY, claim("secrets", scan("dependency_scanning")))
    assert outcome is Outcome.BLOCK
    assert "expected a report about secrets" in reason.message


def test_failed_tests_block_with_the_first_message() -> None:
    report = b'<testsuite><testcase classname="t" name="a"><failure message="assert 1 == 2"/></testcase></testsuite>'
    outcome, reason = one(ONLY, claim("tests", report))
    assert outcome is Outcome.BLOCK
    assert "t::a: assert 1 == 2" in reason.message


def test_a_run_without_tests_blocks() -> None:
    assert one(ONLY, claim("tests", b"<testsuites/>"))[0] is Outcome.BLOCK
    skipped = b'<testsuite><testcase name="a"><skipped/></testcase></testsuite>'
    assert one(ONLY, claim("tests", skipped))[0] is Outcome.BLOCK


def test_coverage_just_under_the_minimum_blocks_and_names_lines() -> None:
    assert one(ONLY, claim("coverage", coverage(80, 20)))[0] is Outcome.PASS
    outcome, reason = one(ONLY, claim("coverage", coverage(79_999, 20_001)))
    assert outcome is Outcome.BLOCK
    assert "79.99 %" in reason.message
    assert "lines 80000-100000" in reason.message
    assert "1 more line," in reason.mend


def test_lines_of_the_change_are_told_first() -> None:
    report = (
        b'<coverage><sources><source>/b/src</source></sources><class filename="a.py"><line number="1" hits="0"/>'
        b'<line number="2" hits="0"/><line number="3" hits="0"/></class><class filename="b.py"><line number="4" hits="1"/>'
        b'<line number="5" hits="0"/></class></coverage>'
    )
    _, reason = one(ONLY, claim("coverage", report), changed_paths=("src/b.py",), changed_lines={"src/b.py": (4, 5)})
    assert reason.message.index("src/b.py line 5 (changed here)") < reason.message.index("a.py lines 1-3")
    assert str(reason.where) == "src/b.py:5:1"


def test_changed_lines_have_their_own_minimum() -> None:
    policy = replace(ONLY, coverage_minimum=0.0, changed_lines_minimum=60.0)
    report = coverage(8, 2)
    assert one(policy, claim("coverage", report), changed_lines={"src/orders/app.py": (1, 2, 9)})[0] is Outcome.PASS
    outcome, reason = one(policy, claim("coverage", report), changed_lines={"src/orders/app.py": (8, 9, 10)})
    assert outcome is Outcome.BLOCK
    assert "33.33 % of the 3 changed lines" in reason.message
    assert one(policy, claim("coverage", report), changed_lines={"README.md": (1,)})[0] is Outcome.PASS


def test_coverage_without_a_line_blocks() -> None:
    assert one(ONLY, claim("coverage", b"<coverage/>"))[0] is Outcome.BLOCK


def test_a_vulnerable_package_is_one_reason_with_the_version_that_mends_all() -> None:
    report = scan(
        "dependency_scanning",
        vulnerability("jinja2", "2.4.1", "CVE-1", "High", "2.7.2", "2.8"),
        vulnerability("jinja2", "2.4.1", "CVE-2", "Critical", "2.10.1"),
    )
    outcome, reasons = judge(ONLY, (claim("dependencies", report),), Context(target="main", now=NOW))
    blocking = [reason for reason in reasons if reason.outcome is Outcome.BLOCK]
    assert outcome is Outcome.BLOCK
    assert len(blocking) == 1
    assert "2 known vulnerabilities, fixed in 2.10.1 (critical" in blocking[0].message
    assert "jinja2>=2.10.1" in blocking[0].mend


def test_severity_decides_between_block_warn_and_pass() -> None:
    for severity, expected in (("High", Outcome.BLOCK), ("Medium", Outcome.WARN), ("Info", Outcome.PASS)):
        report = scan("dependency_scanning", vulnerability("a", "1", "CVE-1", severity))
        assert one(ONLY, claim("dependencies", report))[0] is expected


def test_a_package_that_was_not_looked_up_follows_the_policy() -> None:
    report = scan("dependency_scanning", vulnerability("mine", "", PACKAGE_NOT_LOOKED_UP, "Unknown"))
    assert one(ONLY, claim("dependencies", report))[0] is Outcome.BLOCK
    assert one(replace(ONLY, not_found=Outcome.WARN), claim("dependencies", report))[0] is Outcome.WARN


def test_old_advisories_warn_where_the_policy_bounds_their_age() -> None:
    clean = one(ONLY, claim("dependencies", scan("dependency_scanning", newest="2026-01-01T00:00:00Z")))[1]
    assert (clean.outcome, clean.message.partition("; ")[2]) == (Outcome.PASS, "the newest advisory is 31 days old")
    assert (
        "of unknown age" in one(ONLY, claim("dependencies", scan("dependency_scanning", newest="unknown")))[1].message
    )
    policy = replace(ONLY, advisories_max_age_days=7)
    assert one(policy, claim("dependencies", scan("dependency_scanning")))[0] is Outcome.PASS
    outcome, reason = one(policy, claim("dependencies", scan("dependency_scanning", newest="2026-01-01T00:00:00Z")))
    assert outcome is Outcome.WARN
    assert "31 days old" in reason.message
    assert one(policy, claim("dependencies", scan("dependency_scanning", newest="")))[0] is Outcome.WARN


def test_an_exemption_holds_until_its_day() -> None:
    report = scan("dependency_scanning", vulnerability("a", "1", "CVE-1", "High"))
    for until, expected in ((date(2026, 2, 1), Outcome.WARN), (date(2026, 1, 31), Outcome.BLOCK)):
        exemption = Exemption(rule="CVE-1", until=until, reason="not reachable", package="a")
        outcome, reason = one(replace(ONLY, exemptions=(exemption,)), claim("dependencies", report))
        assert outcome is expected
        assert str(until) in reason.message


def test_a_leaked_secret_blocks_at_its_place() -> None:
    leak = {
        "name": "private key",
        "severity": "Critical",
        "identifiers": [{"value": "private-key"}],
        "location": {"file": "deploy/key.pem", "start_line": 3},
    }
    outcome, reason = one(ONLY, claim("secrets", scan("secret_detection", leak)))
    assert outcome is Outcome.BLOCK
    assert str(reason.where) == "deploy/key.pem:3:1"
    assert "private-key" in reason.message
    assert "revoke" in reason.mend


def test_a_scan_that_did_not_finish_blocks() -> None:
    assert one(ONLY, claim("secrets", scan("secret_detection", status="failure")))[0] is Outcome.BLOCK


def test_secrets_come_before_dependencies_and_blocks_before_warnings() -> None:
    leak = {"name": "key", "severity": "Low", "location": {"file": "a", "start_line": 1}}
    claims = (
        claim("quality", json.dumps([{"description": "long", "severity": "minor"}]).encode()),
        claim("dependencies", scan("dependency_scanning", vulnerability("a", "1", "CVE-1", "Critical"))),
        claim("secrets", scan("secret_detection", leak)),
    )
    _, reasons = judge(ONLY, claims, Context(target="main", now=NOW))
    assert [reason.gate for reason in reasons][:3] == ["secrets", "dependencies", "quality"]


def test_failed_jobs_block_and_allowed_failures_warn() -> None:
    failed = JobRun(id="1", name="e2e", stage="test", state=State.FAILED, failure_reason="script_failure")
    assert one(ONLY, claim("tests", GOOD_TESTS), jobs=(failed,))[0] is Outcome.BLOCK
    assert one(ONLY, claim("tests", GOOD_TESTS), jobs=(replace(failed, allow_failure=True),))[0] is Outcome.WARN
    retried = replace(failed, id="2", attempt=2, state=State.SUCCESS)
    assert one(ONLY, claim("tests", GOOD_TESTS), jobs=(failed, retried))[0] is Outcome.PASS


def test_a_claim_of_a_failed_or_canceled_job_blocks() -> None:
    for state in (State.FAILED, State.CANCELED, State.RUNNING):
        assert one(ONLY, claim("tests", GOOD_TESTS, job="unit", job_state=state))[0] is Outcome.BLOCK


def test_evidence_of_foreign_jobs_warns_or_blocks() -> None:
    foreign = replace(claim("tests", GOOD_TESTS, job="mine"), origin=None)
    assert one(replace(ONLY, foreign_jobs=Outcome.WARN), foreign)[0] is Outcome.WARN
    assert one(replace(ONLY, foreign_jobs=Outcome.BLOCK), foreign)[0] is Outcome.BLOCK


def test_a_job_without_isolation_blocks_where_it_is_required() -> None:
    for kind in ("", "none", "process", "shell", "something new"):
        bare = replace(claim("tests", GOOD_TESTS, job="unit"), isolation=kind)
        outcome, reason = one(replace(ONLY, isolation_required=True), bare)
        assert outcome is Outcome.BLOCK
        assert reason.gate == "isolation"
    apart = replace(claim("tests", GOOD_TESTS, job="unit"), isolation="namespaces")
    assert one(replace(ONLY, isolation_required=True), apart)[0] is Outcome.PASS


@pytest.mark.parametrize(
    ("policy", "same_tree", "outcome"),
    [
        ("any", False, Outcome.PASS), ("same-tree", True, Outcome.PASS), ("same-tree", False, Outcome.BLOCK),
        ("never", True, Outcome.BLOCK),
    ],
)  # fmt: skip
def test_reused_evidence_counts_as_the_policy_says(policy: str, same_tree: bool, outcome: Outcome) -> None:
    taken = JobReuse(fingerprint="f", run="01old", job="j", commit="c" * 40, same_tree=same_tree)
    reused = replace(claim("tests", GOOD_TESTS, job="unit"), reuse=taken)
    found, reason = one(replace(ONLY, reused=Reused(policy)), reused)
    assert found is outcome
    if outcome is Outcome.BLOCK:
        assert "01old" in reason.message
        assert "AEGIS_NO_REUSE" in reason.mend
    worked = replace(reused, reuse=JobReuse(fingerprint="f"))
    assert one(replace(ONLY, reused=Reused.NEVER), worked)[0] is Outcome.PASS


def test_many_findings_are_counted_and_not_all_told() -> None:
    findings = [
        {
            "description": f"finding {number}",
            "severity": "major",
            "location": {"path": "a.py", "lines": {"begin": number}},
        }
        for number in range(1, 60)
    ]
    outcome, reasons = judge(ONLY, (claim("quality", json.dumps(findings).encode()),), Context(target="main"))
    assert outcome is Outcome.BLOCK
    assert len(reasons) == 21
    assert "39 more findings" in reasons[-1].message
