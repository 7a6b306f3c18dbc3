"""Where a position is, from lines that may be no YAML yet. `|` marks the position."""

from __future__ import annotations

import pytest

from aegis.lsp.cursor import Cursor, at

CASES = [
    ("st|", (), None),
    ("build:\n  |", ("build",), None),
    ("build:\n  st|", ("build",), None),
    ("build:\n  stage: |", ("build",), "stage"),
    ("build:\n  needs: [a, |", ("build",), "needs"),
    ("build:\n  needs: [{job: |", ("build", "needs"), "job"),
    ("build:\n  needs: [{job: a, |", ("build", "needs"), None),
    ("build:\n  needs: [\n    a,\n    |", ("build",), "needs"),
    ("build:\n  needs:\n    - |", ("build",), "needs"),
    ("build:\n  needs:\n  - |", ("build",), "needs"),
    ("build:\n  needs:\n    - job: |", ("build", "needs"), "job"),
    ("build:\n  needs:\n    - job: a\n      |", ("build", "needs"), None),
    ("build:\n  needs:\n  - job: a\n    art|", ("build", "needs"), None),
    ("build:\n  script:\n    - a: b\n    - make\n  artifacts:\n    reports:\n      |", ("build", "artifacts", "reports"), None),
    ("build:\n  rules:\n    - if: $X\n      when: |", ("build", "rules"), "when"),
    ("build:\n  rules:\n    - if: $X\n    - when: |", ("build", "rules"), "when"),
    ("include:\n  - component: |", ("include",), "component"),
    ("include:\n  - component: x\n    inputs:\n      |", ("include", "inputs"), None),
    ("build:\n  script:\n    - !reference [|", ("build",), "script"),
    ("a:\n  script: [x]\n\nb:\n  extends: |", ("b",), "extends"),
    ("a:\n  script: [x]\n\n|", (), None),
    ("a:\n  cache:\n    key: x\n    policy: |", ("a", "cache"), "policy"),
    ("a:\n  parallel:\n    matrix:\n      - X: [a]\n        Y: |", ("a", "parallel", "matrix"), "Y"),
    ("a b c:\n  environment: {name: p, action: |", ("a b c", "environment"), "action"),
    ('a:\n  script: ["never closed\n  |', ("a",), None),
    ("# a: comment\nb:\n  # c:\n  |", ("b",), None),
]  # fmt: skip


def cursor(text: str) -> Cursor:
    before = text[: text.index("|")]
    line = before.count("\n")
    return at(text.replace("|", "", 1).split("\n"), line, len(before) - before.rfind("\n") - 1)


@pytest.mark.parametrize(("text", "path", "key"), CASES, ids=[repr(text) for text, _, _ in CASES])
def test_a_position_knows_its_keys(text: str, path: tuple[str, ...], key: str | None) -> None:
    found = cursor(text)
    assert (found.path, found.key) == (path, key)


def test_a_position_knows_its_word_its_variable_and_its_reference() -> None:
    assert (cursor("a:\n  extends: .ba|se").word, cursor("a:\n  extends: .ba|se").before) == (".base", ".ba")
    assert cursor("a:\n  script: [echo $CI_|]").variable == "CI_"
    assert cursor("a:\n  script: [echo ${X|}]").variable == "X"
    assert cursor("a:\n  script: [echo |x]").variable is None
    assert cursor("a:\n  script:\n    - !reference [.b, |]").reference == (".b",)


@pytest.mark.parametrize(
    "text", ["|", "\n\n|", "[[[[|", "{|", "- - - |", "\t|", ": |", "a: {b: [c, {d|", "'|", "é: ü|"]
)
def test_nothing_is_too_broken_to_be_asked_about(text: str) -> None:
    assert cursor(text).begin >= 0
