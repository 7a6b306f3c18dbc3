"""Hints become changes of text."""

from __future__ import annotations

import pytest

from aegis.lsp.fixes import extent, fixes
from aegis.pipeline.compile import compile_pipeline
from aegis.pipeline.request import CompileRequest, MemoryFiles


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("a:\n  scrip: [x]\n  script: [y]\n", "a:\n  script: [x]\n  script: [y]\n"),
        ("a:\n  script: [x]\nb:\n  needs: [aa]\n  script: [x]\n", "a:\n  script: [x]\nb:\n  needs: [a]\n  script: [x]\n"),
        ("ab:\n  script: [x]\nb:\n  needs:\n    - job: abb # why\n  script: [x]\n",
         "ab:\n  script: [x]\nb:\n  needs:\n    - job: ab # why\n  script: [x]\n"),
        ("a:\n  script: [x]\n  stage: tests\n", "a:\n  script: [x]\n  stage: test\n"),
        ("variables:\n  A: 1.10\na: {script: [x]}\n", 'variables:\n  A: "1.10"\na: {script: [x]}\n'),
        (".base: {script: [x]}\na:\n  extends: .bas\n", ".base: {script: [x]}\na:\n  extends: .base\n"),
        ("a:\n  script: [x]\n  when: 'manua'\n", "a:\n  script: [x]\n  when: 'manual'\n"),
        ("a:\n  script: [x]\n  rules: [{if: $CI_COMMIT_TAG}]\nb:\n  needs: [a]\n  script: [x]\n",
         "a:\n  script: [x]\n  rules: [{if: $CI_COMMIT_TAG}]\nb:\n  needs: [{job: a, optional: true}]\n  script: [x]\n"),
    ],
)  # fmt: skip
def test_a_mechanical_hint_is_carried_out(wrong: str, right: str) -> None:
    found = compile_pipeline(CompileRequest(files=MemoryFiles({".gitlab-ci.yml": wrong.encode()}))).errors
    mends = []
    for one in found:
        assert one.where is not None
        lines = wrong.splitlines()
        for fix in fixes(one.code, one.hint, lines, one.where.line - 1, one.where.column - 1):
            changed = list(lines)
            changed[fix.line] = changed[fix.line][: fix.begin] + fix.text + changed[fix.line][fix.end :]
            mends.append("\n".join(changed) + "\n")
    assert right in mends


@pytest.mark.parametrize(
    ("text", "column", "end"),
    [
        ("  stage: build # x", 9, 14), ("  stage: build", 2, 7), ("  needs: [a, bc]", 13, 15), ("  a: 'b c'", 5, 10),
        ("  s: {when: x}", 6, 10), ("", 0, 0), ("x", 5, 5), ("a b c:", 0, 5),
    ],
)  # fmt: skip
def test_a_finding_is_underlined_as_far_as_it_goes(text: str, column: int, end: int) -> None:
    assert extent(text, min(column, len(text))) == min(end, len(text))
