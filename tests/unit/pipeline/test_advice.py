"""Each rule of advice finds what it is for, keeps quiet where all is well, and can be allowed by name."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from aegis.pipeline.advice import PREFIX, RULES
from aegis.pipeline.compile import check_pipeline, inspect_pipeline
from aegis.pipeline.request import CompileRequest, MemoryFiles

PAGE = (Path(__file__).parents[3] / "docs" / "advice.md").read_text(encoding="utf-8")
CLEAN = "default: {interruptible: true}\nworkflow: {rules: [{when: always}]}\nstages: [build, test, deploy]\n"
DEPLOY = "timeout: 5m, resource_group: p, when: manual"
FILLER = "Zq7" + "Lm2Xw9Rt4"

# rule, what has it, what has not; each is appended to CLEAN.
CASES = [
    ("never-runs", "a: {script: [x], rules: [{if: $CI_COMMIT_TAG && $CI_COMMIT_BRANCH}]}",
     "a: {script: [x], rules: [{if: $CI_COMMIT_TAG && $MINE}]}"),
    ("never-runs", "a: {script: [x], rules: [{when: never}]}", "a: {script: [x], rules: [{changes: [x], when: never}, {when: always}]}"),
    ("never-runs", "a: {script: [x], rules: [{if: '$CI_COMMIT_BRANCH == null && $CI_COMMIT_BRANCH'}]}",
     "a: {script: [x], rules: [{if: $CI_COMMIT_BRANCH == 'main' && $CI_COMMIT_BRANCH != 'main'}]}"),
    ("unreachable-rule", "a: {script: [x], rules: [{when: always}, {if: $A, when: manual}]}",
     "a: {script: [x], rules: [{changes: [x]}, {if: $A, when: manual}]}"),
    ("serial-needs", "a: {script: [x]}\nb: {script: [x], needs: [a]}",
     "a: {script: [x], artifacts: {paths: [o]}}\nb: {script: [x], needs: [a]}"),
    ("serial-needs", "a: {script: [x], artifacts: {paths: [o]}}\nb: {script: [x], needs: [{job: a, artifacts: false}]}",
     "a: {script: [x]}\nb: {stage: deploy, script: [x], needs: [a]}"),
    ("redundant-need", "a: {script: [x]}\nb: {stage: deploy, script: [x], needs: [a], artifacts: {paths: [o]}}\nc: {stage: deploy, script: [x], needs: [a, b]}",
     "a: {script: [x], artifacts: {paths: [o]}}\nb: {stage: deploy, script: [x], needs: [a], artifacts: {paths: [o]}}\nc: {stage: deploy, script: [x], needs: [a, b]}"),
    ("uninterruptible", "a: {script: [x], inherit: {default: false}}", "a: {script: [x]}"),
    ("retry-always", "a: {script: [x], retry: 2}", "a: {script: [x], retry: {max: 2, when: runner_system_failure}}"),
    ("deploy-timeout", "a: {script: [x], environment: s, resource_group: s}", "a: {script: [x], environment: s, resource_group: s, timeout: 5m}"),
    ("deploy-may-fail", "a: {script: [x], environment: s, resource_group: s, timeout: 5m, allow_failure: true}",
     "a: {script: [x], environment: s, resource_group: s, timeout: 5m}"),
    ("unused-artifacts", "a: {stage: build, script: [x], artifacts: {paths: [o]}}\nb: {script: [x], needs: []}",
     "a: {stage: build, script: [x], artifacts: {paths: [o]}}\nb: {script: [x]}"),
    ("unused-artifacts", "a: {stage: build, script: [x], artifacts: {paths: [o]}}\nb: {script: [x], dependencies: []}",
     "a: {stage: build, script: [x], artifacts: {paths: [o], expose_as: it}}\nb: {script: [x], dependencies: []}"),
    ("cache-without-key", "a: {script: [x], cache: {paths: [c]}}", "a: {script: [x], cache: {key: k, paths: [c]}}"),
    ("concurrent-deploys", "a: {script: [x], environment: s, timeout: 5m}", "a: {script: [x], environment: {name: s, action: stop}}"),
    ("unguarded-production", "a: {script: [x], environment: production, timeout: 5m, resource_group: p}",
     "a: {script: [x], environment: production, " + DEPLOY + "}"),
    ("endless-environment", "a: {script: [x], environment: r/$CI_COMMIT_REF_SLUG, timeout: 5m}",
     "a: {script: [x], environment: {name: r/$CI_COMMIT_REF_SLUG, auto_stop_in: 1 day}, timeout: 5m}"),
    ("clear-secret", f"a: {{script: [x], variables: {{API_TOKEN: {FILLER}}}}}", "a: {script: [x], variables: {API_TOKEN: $FROM_PROJECT, TOKEN_FILE: /run/token.txt}}"),
    ("clear-secret", f"a: {{script: ['login --password {FILLER}']}}", "a: {script: ['login --password $SECRET']}"),
    ("debug-trace", "a: {script: [x], variables: {CI_DEBUG_TRACE: 'true'}}", "a: {script: [x], variables: {CI_DEBUG_TRACE: 'false'}}"),
    ("unpinned-image", "a: {script: [x], image: python}", "a: {script: [x], image: 'python:3.12'}"),
    ("unpinned-image", "a: {script: [x], services: ['docker:latest']}", "a: {script: [x], services: ['reg:5000/x@sha256:1']}"),
    ("piped-download", "a: {script: ['curl -s https://x.test/i | sh']}", "a: {script: ['curl -s https://x.test/i -o i']}"),
]  # fmt: skip


def found(text: str, **files: str) -> list[str]:
    content = {".gitlab-ci.yml": text.encode(), **{name: one.encode() for name, one in files.items()}}
    inspection = inspect_pipeline(CompileRequest(files=MemoryFiles(content)))
    assert inspection.compilation.errors == ()
    return [one.code.removeprefix(PREFIX) for one in inspection.advice()]


@pytest.mark.parametrize(
    ("rule", "bad", "good"), CASES, ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)]
)
def test_a_rule_finds_what_it_is_for_and_nothing_else(rule: str, bad: str, good: str) -> None:
    assert found(CLEAN + bad) == [rule]
    assert found(CLEAN + good) == []
    name = bad.partition(":")[0]
    assert rule in found(CLEAN + bad)
    allowed = (CLEAN + bad).replace("\n", f"  # aegis: allow {rule}\n") + f"  # aegis: allow {rule}\n"
    assert found(allowed) == [], name


def test_a_branch_and_its_merge_request_make_two_pipelines_without_workflow_rules() -> None:
    text = "default: {interruptible: true}\na:\n  script: [x]\n  rules:\n    - if: $CI_PIPELINE_SOURCE == 'merge_request_event'\n    - if: $CI_COMMIT_BRANCH\n"
    assert found(text) == ["double-pipelines"]
    assert found(text + "workflow: {rules: [{if: $CI_COMMIT_BRANCH}, {if: $CI_COMMIT_TAG}]}\n") == []


def test_a_job_that_the_workflow_keeps_out_can_never_run() -> None:
    text = "default: {interruptible: true}\nworkflow: {rules: [{if: $CI_COMMIT_TAG}]}\na: {script: [x], rules: [{if: $CI_COMMIT_BRANCH}]}\n"
    assert found(text) == ["never-runs"]


def test_what_a_component_brings_is_not_advised_on() -> None:
    assert found("include: [{component: aegis/python-service@1}]\n") == []


def test_an_include_that_moves_is_found_where_it_is_written() -> None:
    from aegis.pipeline.advice.trust import _includes, _unpinned_include
    from aegis.pipeline.inspection import Inspection

    text = "a: {script: [x], interruptible: true}\ninclude:\n- local: b.yml\n\n- remote: https://x.test/a.yml\n- project: a/b\n  file: c.yml\n  ref: main\nb: {script: [x], interruptible: true}\n"
    clean = text.replace("- remote: https://x.test/a.yml\n- project: a/b\n  file: c.yml\n  ref: main\n", "")
    files = MemoryFiles({".gitlab-ci.yml": clean.encode(), "b.yml": b"{}"})
    inspection: Inspection = inspect_pipeline(CompileRequest(files=files))
    from aegis.pipeline.advice import Subject

    assert inspection.configuration is not None
    assert inspection.names is not None
    inspection.context.files = MemoryFiles({".gitlab-ci.yml": text.encode(), "b.yml": b"{}"})
    subject = Subject(configuration=inspection.configuration, names=inspection.names, context=inspection.context, root_file=".gitlab-ci.yml")  # fmt: skip
    assert len(list(_includes(subject))) == 3
    assert [one.where.line for one in _unpinned_include(subject)] == [5, 8]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("# aegis: allow unpinned-image\n\na:\n  image: python\n  script: [x]\n", []),
        ("# aegis: allow unpinned-image\na:\n  image: python\n  script: [x]\nb:\n  image: python\n  script: [x]\n", ["unpinned-image"]),
        ("a: # aegis: allow unpinned-image, retry-always\n  retry: 1\n  image: python\n  script: [x]\n", []),
        ("a:\n  # aegis: allow advice-unpinned-image\n  # because it is a test\n  image: python\n  script: [x]\n", []),
        ("a:\n  image: python # aegis: allow retry-always\n  script: [x]\n", ["unpinned-image"]),
        ("a:\n  script: ['# aegis: allow x']\n  image: python\n", ["unpinned-image"]),
    ],
)  # fmt: skip
def test_a_comment_allows_a_place_a_job_or_a_file(text: str, left: list[str]) -> None:
    assert found(text + "default: {interruptible: true}\n") == left


def test_the_page_lists_the_rules_as_the_code_has_them() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
    assert rows == [(rule.name, rule.title, rule.why) for rule in RULES]
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_every_rule_is_tested() -> None:
    assert {rule.name for rule in RULES} - {case[0] for case in CASES} == {"double-pipelines", "unpinned-include"}


def test_the_example_of_the_page_is_allowed() -> None:
    example = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0].replace("build:\n", "build:\n  script: [make]\n")
    assert found("stages: [test, deploy]\ndefault: {interruptible: true}\n" + example) == []


def many(jobs: int) -> CompileRequest:
    text = [CLEAN]
    for number in range(jobs):
        need = f", needs: [j{number - 1}]" if number else ""
        text.append(
            f"j{number}: {{script: [make], rules: [{{if: $CI_COMMIT_BRANCH}}, {{if: $CI_COMMIT_TAG}}], cache: {{key: a, paths: [b]}}{need}}}"
        )
    return CompileRequest(files=MemoryFiles({".gitlab-ci.yml": "\n".join(text).encode()}))


def test_advice_is_linear_and_costs_less_than_reading_the_file() -> None:
    """Ratios of processor time within one run, the best of several."""
    shares, seconds = [], {}
    for jobs in (300, 3000):
        request = many(jobs)
        best = 1e9
        for _ in range(3):
            begun = time.process_time()
            inspection = inspect_pipeline(request)
            read = time.process_time()
            inspection.advice()
            done = time.process_time()
            best = min(best, done - read)
            shares.append((done - read) / (read - begun))
        seconds[jobs] = best
    assert min(shares) < 1.0
    assert seconds[3000] < seconds[300] * 30


def test_checking_alone_gives_no_advice() -> None:
    request = CompileRequest(files=MemoryFiles({".gitlab-ci.yml": b"a: {script: [x], image: python}\n"}))
    assert check_pipeline(request).warnings == ()
