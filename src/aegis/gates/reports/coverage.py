"""Cobertura XML: which lines were carried out, per file.

Only lines are read: the policy's figure is line coverage, and branch figures differ between the tools that write them.
Rates are computed from the lines themselves; what the attributes claim is not believed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aegis.gates.reports.reading import Diagnostic, clean, number, xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_LINE_LIMIT: Final = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCoverage:
    """One file's lines, ascending. `path` is as reported; `roots` are the folders it may be relative to."""

    path: str
    covered: tuple[int, ...]
    missed: tuple[int, ...]
    roots: tuple[str, ...] = ()

    def is_at(self, repository_path: str) -> bool:
        """Whether this is the file that the repository calls so."""
        wanted = repository_path.removeprefix("./")
        own = self.path.removeprefix("./")
        absolute = [own] if own.startswith("/") else [f"{root.rstrip('/')}/{own}" for root in self.roots]
        return own == wanted or any(full == wanted or full.endswith(f"/{wanted}") for full in absolute)

    @property
    def uncovered(self) -> str:
        """The missed lines as ranges: `3, 7-9`."""
        return line_ranges(self.missed)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageReport:
    """Line coverage of all files, in the order of their paths."""

    files: tuple[FileCoverage, ...]

    @property
    def valid(self) -> int:
        """Lines that can be carried out."""
        return sum(len(file.covered) + len(file.missed) for file in self.files)

    @property
    def covered(self) -> int:
        """Lines that were."""
        return sum(len(file.covered) for file in self.files)

    @property
    def percent(self) -> float:
        """0 to 100; 0 where there is nothing to carry out."""
        return 100.0 * self.covered / self.valid if self.valid else 0.0

    def file(self, repository_path: str) -> FileCoverage | None:
        """The file that the repository calls so; None where the report does not know it."""
        return next((file for file in self.files if file.is_at(repository_path)), None)


def read_cobertura(data: bytes) -> tuple[CoverageReport | None, tuple[Diagnostic, ...]]:
    """The report, or None with what is wrong. Source: Cobertura's `coverage-04.dtd`, as coverage.py writes it."""
    root, problems = xml(data)
    if root is None:
        return None, problems
    if _tag(root) != "coverage":
        return None, (Diagnostic(code="report-kind", message=f"expected <coverage>, found <{_tag(root)[:60]}>"),)
    roots = tuple(
        dict.fromkeys(
            text for node in root.iter() if _tag(node) == "source" and (text := clean(node.text or "").strip())
        )
    )
    hits: dict[str, dict[int, bool]] = {}
    bad = 0
    for node in root.iter():
        if _tag(node) == "class" and (path := clean(node.get("filename") or "")[:1000]):
            bad += _take(node, hits.setdefault(path, {}))
    files = tuple(_file(path, lines, roots) for path, lines in sorted(hits.items()))
    problems = (
        (Diagnostic(code="report-lines", message=f"{bad} lines without a number or count were passed over"),)
        if bad
        else ()
    )
    return CoverageReport(files=files), problems


def merge_coverage(reports: tuple[CoverageReport, ...]) -> CoverageReport:
    """Several reports as one: a line counts as carried out where any of them saw it."""
    hits: dict[str, dict[int, bool]] = {}
    roots: dict[str, dict[str, None]] = {}
    for report in reports:
        for file in report.files:
            lines = hits.setdefault(file.path, {})
            for line in file.missed:
                lines.setdefault(line, False)
            lines.update(dict.fromkeys(file.covered, True))
            roots.setdefault(file.path, {}).update(dict.fromkeys(file.roots))
    return CoverageReport(files=tuple(_file(path, lines, tuple(roots[path])) for path, lines in sorted(hits.items())))


def line_ranges(lines: Iterable[int], limit: int = 12) -> str:
    """Ascending line numbers as `3, 7-9`, at most `limit` ranges with the number of those left out."""
    spans: list[tuple[int, int]] = []
    for line in lines:
        if spans and line == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], line)
        else:
            spans.append((line, line))
    shown = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans[:limit])
    return f"{shown} and {len(spans) - limit} more" if len(spans) > limit else shown


def _take(node: Element, lines: dict[int, bool]) -> int:
    bad = 0
    for entry in node.iter():
        if _tag(entry) != "line":
            continue
        line, count = number(entry.get("number")), number(entry.get("hits"))
        if line is None or count is None or not 0 < line <= _LINE_LIMIT:
            bad += 1
            continue
        lines[line] = lines.get(line, False) or count > 0
    return bad


def _file(path: str, lines: dict[int, bool], roots: tuple[str, ...]) -> FileCoverage:
    return FileCoverage(
        path=path,
        covered=tuple(sorted(line for line, hit in lines.items() if hit)),
        missed=tuple(sorted(line for line, hit in lines.items() if not hit)),
        roots=roots,
    )


def _tag(node: Element) -> str:
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""
