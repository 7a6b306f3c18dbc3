"""R4 Gates, the criteria that are decided on reports: 1 coverage, 2 vulnerabilities, 3 static analysis."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aegis.core.types import Outcome
from aegis.gates.judge import Claim, Context, judge
from aegis.gates.policy import GatePolicy
from aegis.supplychain.advisories import AdvisoryStore
from aegis.supplychain.packages import Package
from aegis.supplychain.reports import dependency_report
from aegis.supplychain.scan import scan_dependencies

NOW = datetime(2026, 9, 1, tzinfo=UTC)
POLICY = GatePolicy(required={})
ADVISORIES = Path(__file__).parents[2] / "examples" / "shop" / "platform" / "advisories"


def verdict(kind: str, report: bytes, **context: object) -> tuple[Outcome, str, str]:
    claim = Claim(kind=kind, report=report, job="check", origin="aegis/python-service@1", isolation="namespaces")
    outcome, reasons = judge(POLICY, (claim,), Context(target="main", now=NOW, **context))  # type: ignore[arg-type]
    return outcome, reasons[0].message, reasons[0].mend


def cobertura(covered: int, missed: int) -> bytes:
    lines = "".join(f'<line number="{n}" hits="{int(n <= covered)}"/>' for n in range(1, covered + missed + 1))
    return f'<coverage><class filename="src/orders/app.py">{lines}</class></coverage>'.encode()


def dependencies(*packages: Package) -> bytes:
    store = AdvisoryStore([(path.name, path.read_bytes()) for path in ADVISORIES.glob("*.yaml")])
    return dependency_report(scan_dependencies(packages, store), started=NOW, ended=NOW, version="0")


def test_r4_1_coverage_under_80_percent_blocks_and_80_passes() -> None:
    assert verdict("coverage", cobertura(80, 20))[0] is Outcome.PASS
    outcome, message, mend = verdict("coverage", cobertura(79, 21), changed_paths=("src/orders/app.py",))
    assert outcome is Outcome.BLOCK
    assert "79.00 %" in message
    assert "src/orders/app.py lines 80-100" in message
    assert "1 more line" in mend


@pytest.mark.parametrize(
    ("name", "version", "outcome"),
    [
        ("h11", "0.14.0", Outcome.BLOCK),  # critical
        ("jinja2", "3.1.2", Outcome.BLOCK),  # high among others
        ("python-multipart", "0.0.20", Outcome.WARN),  # medium
        ("jinja2", "3.1.6", Outcome.PASS),
    ],
)
def test_r4_2_a_vulnerability_blocks_or_warns_by_severity(name: str, version: str, outcome: Outcome) -> None:
    assert verdict("dependencies", dependencies(Package(name=name, version=version)))[0] is outcome


def test_r4_2_a_blocked_dependency_is_told_the_version_that_mends_it() -> None:
    _, message, mend = verdict("dependencies", dependencies(Package(name="jinja2", version="3.1.2")))
    assert "fixed in 3.1.6" in message
    assert "jinja2>=3.1.6" in mend


def test_r4_2_a_package_that_could_not_be_looked_up_is_never_silence() -> None:
    outcome, message, _ = verdict("dependencies", dependencies(Package(name="mine", version=None, source="vcs")))
    assert outcome is Outcome.BLOCK
    assert "could not be looked up" in message


def test_r4_3_static_analysis_over_its_threshold_blocks_and_says_what_to_improve() -> None:
    finding = {
        "check_name": "S602",
        "description": "`subprocess` call with `shell=True`",
        "severity": "major",
        "location": {"path": "src/orders/app.py", "positions": {"begin": {"line": 7, "column": 5}}},
    }
    outcome, message, mend = verdict("quality", json.dumps([finding]).encode())
    assert outcome is Outcome.BLOCK
    assert "shell=True" in message
    assert mend
    assert verdict("quality", json.dumps([{**finding, "severity": "minor"}]).encode())[0] is Outcome.WARN
    assert verdict("quality", b"[]")[0] is Outcome.PASS


@pytest.mark.parametrize("kind", ["tests", "coverage", "quality", "dependencies", "secrets"])
@pytest.mark.parametrize("report", [None, b"", b"not a report"])
def test_r4_a_missing_or_unreadable_report_blocks(kind: str, report: bytes | None) -> None:
    outcome, reasons = judge(POLICY, (Claim(kind=kind, report=report),), Context(target="main"))
    assert outcome is Outcome.BLOCK
    assert reasons[0].gate == kind
    outcome, reasons = judge(GatePolicy(), (), Context(target="main"))
    assert outcome is Outcome.BLOCK
    assert kind in {reason.gate for reason in reasons}
