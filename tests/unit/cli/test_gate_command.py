"""`aegis gate check` judges files, speaks for people and for programs, and leaves with the right code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aegis.cli.root import run

PASSED = '<testsuite tests="1"><testcase name="a"/></testsuite>'
HALF = '<coverage><class filename="a.py"><line number="1" hits="1"/><line number="2" hits="0"/></class></coverage>'


def call(*argv: str) -> int:
    try:
        run(["gate", "check", *argv])
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def test_passing_reports_leave_with_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "out.xml"
    report.write_text(PASSED)
    assert call(str(report)) == 0
    assert "✓ pass  tests: 1 tests passed" in capsys.readouterr().out


def test_blocking_reports_leave_with_one_and_say_the_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "out.xml"
    report.write_text(HALF)
    assert call("--json", str(report)) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "aegis.gate/1"
    assert document["outcome"] == "block"
    assert "a.py line 2" in document["reasons"][0]["message"]
    assert call("--coverage-minimum", "50", str(report)) == 0


def test_a_declarations_gates_are_taken(tmp_path: Path) -> None:
    report, policy = tmp_path / "out.xml", tmp_path / "aegis.yaml"
    report.write_text(HALF)
    policy.write_text("version: 1\ngates: {coverage: {minimum: 40}}\n")
    assert call("--policy", str(policy), str(report)) == 0
    assert call("--policy", str(policy), "--require-all", str(report)) == 1


@pytest.mark.parametrize(
    ("text", "code"), [("gates: {covrage: 1}", 2), ("gates: [", 2), ("gates: {coverage: {minimum: 40}}", 0), ("", 1)]
)
def test_a_wrong_policy_is_input_that_is_wrong(tmp_path: Path, text: str, code: int) -> None:
    report, policy = tmp_path / "out.xml", tmp_path / "policy.yaml"
    report.write_text(HALF)
    policy.write_text(text)
    assert call("--policy", str(policy), str(report)) == code


def test_an_empty_report_blocks_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    empty, unknown = tmp_path / "junit.xml", tmp_path / "notes.txt"
    empty.write_text("")
    unknown.write_text("hello")
    assert call(str(empty)) == 1
    assert call(str(unknown)) == 2
    assert call(str(tmp_path / "absent.xml")) == 4
