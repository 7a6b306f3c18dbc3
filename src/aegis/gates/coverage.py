"""Judges line coverage, and tells which lines are missing: those of the change first.

It deliberately gives no credit for rounding: 79.999 % is under 80 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aegis.core.errors import Where
from aegis.core.types import Outcome, Reason
from aegis.gates.policy import GatePolicy
from aegis.gates.reports import COVERAGE, CoverageReport, FileCoverage, line_ranges

_SHOWN_FILES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gap:
    """One file's uncovered lines, those that the change touched apart."""

    path: str
    changed: tuple[int, ...]
    other: tuple[int, ...]
    touched: bool

    @property
    def text(self) -> str:
        if self.changed:
            return f"{self.path} {_lines(len(self.changed))} {line_ranges(self.changed)} (changed here)"
        mark = " (a file of this change)" if self.touched else ""
        return f"{self.path} {_lines(len(self.other))} {line_ranges(self.other)}{mark}"

    @property
    def where(self) -> Where:
        return Where(self.path, (self.changed or self.other)[0])


def judge_coverage(
    policy: GatePolicy,
    report: CoverageReport,
    changed_paths: tuple[str, ...] = (),
    changed_lines: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[Reason, ...]:
    """Total coverage against the minimum, and that of the changed lines where the policy asks for it."""
    if not report.valid:
        return (
            Reason(
                gate=COVERAGE,
                outcome=Outcome.BLOCK,
                message="the coverage report holds no line that could be carried out",
                mend="measure the project's own package: set `source` under [tool.coverage.run]",
            ),
        )
    gaps = _gaps(report, changed_paths, changed_lines)
    reasons = [_total(policy.coverage_minimum, report, gaps)]
    if policy.changed_lines_minimum is not None:
        reasons.append(_changed(policy.changed_lines_minimum, report, gaps, changed_paths, changed_lines))
    return tuple(reasons)


def _total(minimum: float, report: CoverageReport, gaps: list[_Gap]) -> Reason:
    if report.percent >= minimum:
        return Reason(
            gate=COVERAGE,
            outcome=Outcome.PASS,
            message=f"line coverage is {_shown(report.percent)} %, at least {minimum:g} % is required",
        )
    more = max(1, math.ceil(minimum * report.valid / 100) - report.covered)
    return Reason(
        gate=COVERAGE,
        outcome=Outcome.BLOCK,
        message=(
            f"line coverage is {_shown(report.percent)} %, at least {minimum:g} % is required; not covered: {_list(gaps)}"
        ),
        mend=f"write tests that carry out {more} more {_lines(more)}, best of {gaps[0].text}"
        if gaps
        else "write tests",
        where=gaps[0].where if gaps else None,
    )


def _changed(
    minimum: float,
    report: CoverageReport,
    gaps: list[_Gap],
    changed_paths: tuple[str, ...],
    changed_lines: Mapping[str, tuple[int, ...]] | None,
) -> Reason:
    valid = covered = 0
    for path in changed_paths if changed_lines is None else changed_lines:
        file = report.file(path)
        if file is not None:
            lines = None if changed_lines is None else set(changed_lines[path])
            hit, miss = _within(file.covered, lines), _within(file.missed, lines)
            valid, covered = valid + len(hit) + len(miss), covered + len(hit)
    percent = 100.0 * covered / valid if valid else 100.0
    if percent >= minimum:
        said = f"{_shown(percent)} % of {valid} changed {_lines(valid)}" if valid else "no measured line was changed"
        return Reason(gate=COVERAGE, outcome=Outcome.PASS, message=f"coverage of the change: {said}")
    missing = [gap for gap in gaps if gap.changed] or [gap for gap in gaps if gap.touched]
    return Reason(
        gate=COVERAGE,
        outcome=Outcome.BLOCK,
        message=(
            f"{_shown(percent)} % of the {valid} changed {_lines(valid)} are covered, at least {minimum:g} % are "
            f"required; not covered: {_list(missing)}"
        ),
        mend=f"write tests for {missing[0].text}" if missing else "write tests for the changed lines",
        where=missing[0].where if missing else None,
    )


def _gaps(
    report: CoverageReport, changed_paths: tuple[str, ...], changed_lines: Mapping[str, tuple[int, ...]] | None
) -> list[_Gap]:
    """Files with uncovered lines: changed lines first, then changed files, then by how much is missing."""
    touched = dict.fromkeys((*changed_paths, *(changed_lines or {})))
    gaps = [_gap(file, touched, changed_lines) for file in report.files if file.missed]
    return sorted(
        gaps, key=lambda gap: (not gap.changed, not gap.touched, -len(gap.changed) - len(gap.other), gap.path)
    )


def _gap(file: FileCoverage, touched: dict[str, None], changed_lines: Mapping[str, tuple[int, ...]] | None) -> _Gap:
    path = next((path for path in touched if file.is_at(path)), None)
    wanted = set((changed_lines or {}).get(path or "", ()))
    return _Gap(
        path=path or file.path,
        changed=tuple(line for line in file.missed if line in wanted),
        other=tuple(line for line in file.missed if line not in wanted),
        touched=path is not None,
    )


def _within(lines: tuple[int, ...], wanted: set[int] | None) -> tuple[int, ...]:
    return lines if wanted is None else tuple(line for line in lines if line in wanted)


def _list(gaps: list[_Gap]) -> str:
    shown = "; ".join(gap.text for gap in gaps[:_SHOWN_FILES])
    left = len(gaps) - _SHOWN_FILES
    return f"{shown}; and {left} more {'file' if left == 1 else 'files'}" if left > 0 else shown


def _lines(count: int) -> str:
    return "line" if count == 1 else "lines"


def _shown(percent: float) -> str:
    """Two decimals, cut and not rounded, so that nothing looks as if it had reached its minimum."""
    return f"{math.floor(percent * 100) / 100:.2f}"
