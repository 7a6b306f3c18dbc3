"""The size budget: files of at most 500 lines, nine functions of ten within 40, at most 2 % over 60."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "aegis"


def functions() -> list[tuple[str, int]]:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                found.append((f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}", lines))
    return found


def test_no_file_outgrows_500_lines() -> None:
    long = {
        str(path.relative_to(SOURCE)): count
        for path in SOURCE.rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 500
    }
    assert not long, f"make a package of the same name of: {long}"


def test_nine_functions_of_ten_have_at_most_40_lines() -> None:
    found = functions()
    long = [name for name, lines in found if lines > 40]
    assert len(long) <= len(found) * 0.1, long


def test_at_most_two_percent_of_the_functions_have_more_than_60_lines() -> None:
    found = functions()
    long = [f"{name} ({lines})" for name, lines in found if lines > 60]
    assert len(long) <= len(found) * 0.02, long
