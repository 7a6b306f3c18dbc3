"""`aegis lsp` spoken to by a real language client, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsprotocol import types as lsp

from support.language_client import Session, editing

MAIN = """\
stages: [build, test]
include:
  - local: ci/base.yml
  - component: aegis/security@1
    inputs:
      stage: test
variables:
  COLOUR: red
default:
  interruptible: true
build:
  extends: .base
  stage: build
  variables: {SIZE: big}
  script:
    - make $SIZE $COLOUR
check:
  stage: test
  needs: [build]
  script:
    - !reference [.base, before_script]
    - check
  rules:
    - if: $CI_COMMIT_TAG
"""
BASE = """\
.base:
  timeout: 10 minutes
  before_script:
    - prepare
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ci").mkdir()
    (tmp_path / ".gitlab-ci.yml").write_text(MAIN)
    (tmp_path / "ci" / "base.yml").write_text(BASE)
    return tmp_path


def at(text: str, needle: str, *, after: bool = False) -> tuple[int, int]:
    """Line and column of a text's first occurrence."""
    begin = text.index(needle) + (len(needle) if after else 0)
    return text.count("\n", 0, begin), begin - text.rfind("\n", 0, begin) - 1


def test_a_misspelt_keyword_is_shown_while_it_is_typed_and_mended_by_an_action(folder: Path) -> None:
    async def steps(session: Session) -> tuple[list[lsp.Diagnostic], list[lsp.Diagnostic], dict[str, lsp.CodeAction]]:
        session.open()
        first = await session.findings()
        line, column = at(MAIN, "stage: build")
        session.type(line, column, column + 5, "stge")
        second = await session.findings()
        return first, second, await session.actions(second[0])

    first, second, actions = editing(folder, steps)
    assert first == []
    assert [(one.code, one.severity) for one in second] == [("unknown-keyword", lsp.DiagnosticSeverity.Error)]
    assert second[0].range == lsp.Range(
        start=lsp.Position(line=12, character=2), end=lsp.Position(line=12, character=6)
    )
    edit = actions["Replace with `stage`"].edit
    assert edit is not None
    assert edit.changes is not None
    (change,) = next(iter(edit.changes.values()))
    assert (change.new_text, change.range) == ("stage", second[0].range)


def test_findings_stand_in_the_included_file_that_has_them(folder: Path) -> None:
    async def steps(session: Session) -> tuple[list[lsp.Diagnostic], list[lsp.Diagnostic]]:
        session.open()
        await session.findings()
        session.open("ci/base.yml", BASE.replace("timeout", "timeoot"))
        wrong = await session.findings("ci/base.yml")
        session.type(1, 2, 9, "timeout", "ci/base.yml")
        return wrong, await session.findings("ci/base.yml")

    wrong, mended = editing(folder, steps)
    assert [one.code for one in wrong] == ["unknown-keyword"]
    assert mended == []


def test_hover_shows_the_merged_job_its_chain_and_why_it_runs(folder: Path) -> None:
    async def steps(session: Session) -> tuple[str, str, str, str]:
        session.open()
        return (
            await session.hover(*at(MAIN, "build:\n  extends")),
            await session.hover(*at(MAIN, "check:")),
            await session.hover(*at(MAIN, "$COLOUR", after=True)),
            await session.hover(*at(MAIN, "rules:")),
        )

    build, check, colour, rules = editing(folder, steps)
    assert "`build` → `.base`" in build
    assert "timeout: 10 minutes" in build
    assert "A push to `main`: **runs**" in build
    assert "**does not run**" in check
    assert "$CI_COMMIT_TAG" in check
    assert "`red`" in colour
    assert "The first rule that matches" in rules


def test_completion_knows_where_it_is(folder: Path) -> None:
    text = MAIN + "new:\n  stage: \n  needs: [\n  \nlast:\n  when: \n  script: [echo $]\n"

    async def steps(session: Session) -> list[dict[str, lsp.CompletionItem]]:
        session.open(text=MAIN)
        await session.findings()
        session.type(text.count("\n", 0, len(MAIN)), 0, 0, text[len(MAIN) :])
        end = MAIN.count("\n")
        return [
            await session.complete(end + 1, 9),
            await session.complete(end + 2, 10),
            await session.complete(end + 5, 8),
            await session.complete(end + 6, 17),
            await session.complete(*at(MAIN, "component: ", after=True)),
            await session.complete(*at(MAIN, "      stage: test\n", after=False)),
            await session.complete(0, 0),
        ]

    stages, needs, when, variables, components, inputs, top = editing(folder, steps)
    assert {"build", "test", ".pre"} <= set(stages)
    assert {"build", "check"} <= set(needs)
    assert ".base" not in needs
    assert {"manual", "on_failure"} <= set(when)
    assert {"COLOUR", "CI_COMMIT_SHA"} <= set(variables)
    assert "aegis/python-service@1" in components
    assert "stage" in inputs
    assert {"stages", "workflow", "include"} <= set(top)


def test_definitions_lead_through_extends_needs_includes_and_references(folder: Path) -> None:
    async def steps(session: Session) -> list[list[tuple[str, int]]]:
        session.open()
        await session.findings()
        places = [
            at(MAIN, ".base\n"), at(MAIN, "[build]\n  script"), at(MAIN, "ci/base.yml"), at(MAIN, "aegis/security"),
            at(MAIN, ".base, before_script"), at(MAIN, "before_script]"), at(MAIN, "$SIZE", after=True),
            at(MAIN, "stage: test\n  needs", after=False),
        ]  # fmt: skip
        places[1] = (places[1][0], places[1][1] + 2)
        places[-1] = (places[-1][0], places[-1][1] + 8)
        return [await session.definition(*place) for place in places]

    found = editing(folder, steps)
    assert found == [
        [("base.yml", 0)],
        [(".gitlab-ci.yml", 10)],
        [("base.yml", 0)],
        [("template.yml", 0)],
        [("base.yml", 0)],
        [("base.yml", 2)],
        [(".gitlab-ci.yml", 13)],
        [(".gitlab-ci.yml", 0)],
    ]


def test_advice_is_information_and_an_action_allows_it(folder: Path) -> None:
    async def steps(session: Session) -> tuple[list[lsp.Diagnostic], list[lsp.Diagnostic]]:
        session.open(text="a:\n  interruptible: true\n  image: python\n  script: [x]\n")
        found = await session.findings()
        actions = await session.actions(found[0])
        edit = actions["Allow `unpinned-image` here"].edit
        assert edit is not None
        assert edit.changes is not None
        (change,) = next(iter(edit.changes.values()))
        session.type(change.range.start.line, change.range.start.character, change.range.end.character, change.new_text)
        return found, await session.findings()

    found, after = editing(folder, steps)
    assert [(one.code, one.severity) for one in found] == [
        ("advice-unpinned-image", lsp.DiagnosticSeverity.Information)
    ]
    assert after == []


def test_places_are_told_in_the_clients_units(folder: Path) -> None:
    async def steps(session: Session) -> list[lsp.Diagnostic]:
        session.open(text='a: {interruptible: true, script: ["😀 x"], wen: x}\n')
        return await session.findings()

    (found,) = editing(folder, steps)
    begin = 'a: {interruptible: true, script: ["😀 x"], '
    assert found.range.start.character == len(begin.encode("utf-16-le")) // 2


def test_a_file_that_is_no_yaml_yet_still_completes(folder: Path) -> None:
    async def steps(session: Session) -> tuple[list[lsp.Diagnostic], dict[str, lsp.CompletionItem]]:
        session.open()
        await session.findings()
        line = MAIN.count("\n")
        session.type(line, 0, 0, 'broken:\n  script: ["x\n  need')
        return await session.findings(), await session.complete(line + 2, 6)

    found, offered = editing(folder, steps)
    assert found[0].code == "invalid-yaml"
    assert offered
