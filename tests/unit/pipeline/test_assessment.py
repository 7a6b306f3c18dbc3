"""A pipeline written for GitLab is told job by job: what runs, what does not, and the mend."""

from __future__ import annotations

import pytest

from aegis.pipeline.assessment import MENDS, Assessment, JobAssessment, assess
from aegis.pipeline.keywords import NOT_CARRIED_OUT, PARTS_NOT_CARRIED_OUT
from aegis.pipeline.request import CompileRequest, MemoryFiles


def assessed(text: str, *, containers: bool = True, **files: str) -> Assessment:
    content = {".gitlab-ci.yml": text.encode(), **{name: one.encode() for name, one in files.items()}}
    return assess(CompileRequest(files=MemoryFiles(content)), containers=containers)


def job(found: Assessment, name: str) -> JobAssessment:
    return next(one for one in found.jobs if one.name == name)


def test_a_plain_pipeline_works_and_each_job_says_where_it_is() -> None:
    found = assessed(
        "a: {script: [x], parallel: 3}\nb: {script: [x], rules: [{if: $CI_COMMIT_TAG}, {if: $CI_PIPELINE_SOURCE == 'merge_request_event'}]}\n"
    )
    assert found.works
    assert [(one.name, one.runs, one.count) for one in found.jobs] == [("a", "as written", 3), ("b", "as written", 1)]
    assert job(found, "a").pipelines == ("push to main", "push to another branch", "tag", "schedule")
    assert job(found, "b").pipelines == ("merge request", "tag")


def test_images_and_services_need_containers() -> None:
    text = "a: {script: [x], image: 'node:22', services: [postgres]}\nb: {script: [x]}\n"
    found = job(assessed(text, containers=False), "a")
    assert found.runs == "differently"
    assert [one.topic for one in found.problems] == ["image", "services"]
    assert "(node:22)" in found.problems[0].message
    assert "(postgres)" in found.problems[1].message
    assert all(one.mend and one.where is not None for one in found.problems)
    assert job(assessed(text), "a").runs == "as written"


@pytest.mark.parametrize(
    "word", sorted((*NOT_CARRIED_OUT, *(f"{word}:{part}" for word, part in PARTS_NOT_CARRIED_OUT)))
)
def test_every_keyword_without_effect_has_a_mend(word: str) -> None:
    assert MENDS[word]


def test_what_would_not_run_at_all_is_a_no() -> None:
    found = assessed("a: {script: [x]}\nb: {stage: deploy, trigger: other/project}\n")
    if "trigger" in NOT_CARRIED_OUT:
        assert job(found, "b").runs == "not"
        assert not found.works
    assert job(found, "a").runs == "as written"


def test_a_missing_include_is_named_and_the_rest_is_looked_at() -> None:
    found = assessed("include: [{local: none.yml}, {local: there.yml}]\na: {script: [x], extends: .base}\n", **{"there.yml": ".base: {timeout: 5m}\n"})  # fmt: skip
    assert not found.works
    assert not found.valid
    assert [(one.topic, one.fatal) for one in found.problems] == [("include", True)]
    assert job(found, "a").runs == "as written"


def test_a_base_that_was_in_the_missing_include_is_an_error_with_its_place() -> None:
    found = assessed("include: [{local: none.yml}]\na: {script: [x], extends: .base}\n")
    assert found.jobs == ()
    assert [one.topic for one in found.problems] == ["include", "unknown-extends"]
    assert all(one.where is not None for one in found.problems)


def test_a_need_that_rules_leave_out_is_found_in_the_pipeline_that_has_it() -> None:
    found = assessed("a: {script: [x], rules: [{if: $CI_COMMIT_TAG}]}\nb: {script: [x], needs: [a]}\n")
    assert not found.works
    assert [one.topic for one in found.problems] == ["need-not-in-pipeline"]
    assert found.problems[0].message.startswith("push to main: ")


def test_variables_that_somebody_has_to_set_are_named_and_others_not() -> None:
    text = """
variables: {KNOWN: x, FROM: $GROUP_VALUE}
a:
  variables: {OWN: y}
  script:
    - MINE=1; export ALSO=2
    - for ONE in a b; do echo $ONE; done
    - read -r LINE
    - echo $KNOWN $OWN $MINE $ALSO $LINE $CI_COMMIT_SHA $HOME $NPM_TOKEN ${DEPLOY_KEY} ${OPTIONAL:-x} $lower
"""
    assert assessed(text).variables == ("DEPLOY_KEY", "GROUP_VALUE", "NPM_TOKEN")


def test_what_an_earlier_job_reports_nobody_has_to_set() -> None:
    text = """
a: {stage: build, script: ['echo "VERSION=1" > made.env'], artifacts: {reports: {dotenv: made.env}}}
b: {script: [echo $VERSION $OTHER]}
"""
    assert assessed(text).variables == ("OTHER",)


def test_tags_and_rules_that_nothing_usual_fulfils_are_told() -> None:
    found = assessed("a: {script: [x], tags: [gpu]}\nb: {script: [x], rules: [{if: $MINE}]}\n")
    assert [one.topic for one in job(found, "a").problems] == ["tags"]
    assert [one.topic for one in job(found, "b").problems] == ["rules"]
    assert found.works


def test_what_a_component_keeps_for_other_occasions_is_left_out() -> None:
    found = assessed("include: [{component: aegis/python-service@1}]\n", containers=False)
    assert {one.runs for one in found.jobs} == {"as written"}
    assert {"trivy", "e2e"}.isdisjoint(one.name for one in found.jobs)
    assert "build-image" in {one.name for one in found.jobs}
