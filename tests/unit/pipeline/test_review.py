"""A difference is told as a reviewer reads it."""

from __future__ import annotations

from aegis.pipeline.compile import compile_pipeline
from aegis.pipeline.difference import compare
from aegis.pipeline.request import CompileRequest, MemoryFiles
from aegis.pipeline.review import review

BASE = "stages: [build, test]\nvariables: {A: '1'}\na: {stage: build, script: [x, y]}\nb: {script: [x], needs: [a]}\nc: {script: [x]}\n"


def told(head: str, base: str = BASE) -> list[str]:
    before, after = (
        compile_pipeline(CompileRequest(files=MemoryFiles({".gitlab-ci.yml": text.encode()}))) for text in (base, head)
    )
    lines = review(before.plan, after.plan, compare(before.plan, after.plan), after.excluded)
    return [f"{'  ' * one.depth}{one.mark} {one.text}" for one in lines]


def test_nothing_is_said_of_what_is_the_same() -> None:
    assert told(BASE) == ["  no difference"]


def test_a_job_that_is_gone_says_whether_rules_or_the_file_did_it() -> None:
    head = BASE.replace("c: {script: [x]}", "c: {script: [x], rules: [{if: $CI_COMMIT_TAG}]}").replace(
        "b: {script: [x], needs: [a]}\n", ""
    )
    lines = told(head)
    assert lines[0] == "  jobs: 2 removed"
    assert "- b  (test; needs a): it is no longer in the file" in lines
    assert any(line.startswith("- c  (test): no rule matches: rules[0]: if $CI_COMMIT_TAG") for line in lines)


def test_lists_are_told_by_what_was_added_and_removed() -> None:
    lines = told(
        BASE.replace("script: [x, y]", "script: [x, z, y]").replace("needs: [a]", "needs: [{job: a, artifacts: false}]")
    )
    assert lines == [
        "  jobs: 2 changed", "~ a", "  ~ script", "      x", "    + z", "      y", "~ b", "  - needs: a", "  + needs: a (without artifacts)"
    ]  # fmt: skip


def test_what_a_change_means_comes_first_and_in_words() -> None:
    lines = told(BASE.replace("c: {script: [x]}", "c: {script: [y], when: manual, environment: staging}"))
    assert lines[1:4] == [
        "~ c",
        "  ~ waits for a person now (when: on_success → manual)",
        "  ~ deploys to staging (start) instead of nothing",
    ]
    assert not any("CI_JOB_MANUAL" in line for line in lines)


def test_variables_and_new_jobs_are_told() -> None:
    lines = told(BASE.replace("A: '1'", "B: '2'") + "d: {script: [one, two], needs: []}\n")
    assert "+ d  (test; needs nothing)" in lines
    assert "  + one" in lines
    assert "  - A=1" in lines
    assert "  + B=2" in lines
    assert told(BASE.replace("'1'", "'2'"))[2] == "  ~ A: 1 → 2"


def test_stages_and_failures_are_told() -> None:
    lines = told(BASE.replace("c: {script: [x]}", "c: {script: [x], allow_failure: true, stage: build}"))
    assert "  ~ may fail without stopping the pipeline now" in lines
    assert "  ~ stage: test → build" in lines
