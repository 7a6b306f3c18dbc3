"""Whatever bytes a file holds, the compiler answers; and the same question has the same answer."""

from __future__ import annotations

import gc
import sys
import time

import hypothesis.strategies as st
from hypothesis import given, settings

from aegis.pipeline.compile import check_pipeline, compile_pipeline
from aegis.pipeline.expression import ExpressionError, holds
from aegis.pipeline.globs import matches
from aegis.pipeline.request import CompileRequest, MemoryFiles

WORDS = st.sampled_from(
    [
        "a", "b", ".c", "default", "stages", "include", "variables", "workflow", "rules", "if", "script", "needs", "extends",
        "parallel", "matrix", "image", "cache", "artifacts", "reports", "environment", "name", "when", "only", "retry",
        "inherit", "spec", "inputs", "trigger", "local", "component", "allow_failure", "exit_codes", "timeout", "key",
        "changes", "exists", "paths", "dependencies", "stage", "job", "before_script", "pages", "true", "$A == 'x'",
    ]
)  # fmt: skip
LEAVES = st.one_of(
    WORDS, st.none(), st.booleans(), st.integers(-5, 500), st.floats(allow_nan=False), st.text(max_size=8)
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=5)),
    max_leaves=25,
)
FRAGMENTS = st.lists(
    st.sampled_from(
        ["a:", "\n", "  ", "- ", "&x ", "*x", "<<: ", "!reference ", "[", "]", "{", "}", "script", ": ", "'", '"', "---\n",
         "spec:\n  inputs: {x: }\n", "$[[ inputs.x ]]", "|", ">", "%", "\t", "# ", "? ", "!!str ", "!x ", "é", "\x00", "..."]
    ),
    max_size=30,
)  # fmt: skip


def compiled(data: bytes) -> None:
    request = CompileRequest(files=MemoryFiles({".gitlab-ci.yml": data, "b.yml": data}))
    found = compile_pipeline(request)
    assert (found.plan is None) or not found.errors
    assert found.plan is not None or found.errors or found.skipped
    for one in (*found.errors, *found.warnings):
        assert one.code
        assert one.message
        assert one.where is None or (one.where.line >= 1 and one.where.column >= 1)
    check_pipeline(request)


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_answered(data: bytes) -> None:
    compiled(data)


@given(FRAGMENTS)
@settings(max_examples=250, deadline=None)
def test_anything_that_looks_like_yaml_is_answered(pieces: list[str]) -> None:
    compiled("".join(pieces).encode())


@given(st.dictionaries(WORDS, TREES, max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_tree_of_keywords_is_answered(tree: dict[str, object]) -> None:
    import json

    compiled(json.dumps(tree).encode())


@given(st.text(alphabet="$AB =!~&|()/'\"\\nultrue[]{}ims. ", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_expression_is_true_false_or_refused(text: str) -> None:
    offset = 0
    try:
        holds(text, {"A": "a", "B": "/b/"})
    except ExpressionError as error:
        offset = error.offset
    assert 0 <= offset <= len(text)


@given(st.text(alphabet="*?[]{},/ab!^-\\.", max_size=14), st.text(alphabet="ab/.", max_size=10))
@settings(max_examples=300, deadline=None)
def test_any_glob_has_an_answer(pattern: str, path: str) -> None:
    assert matches(pattern, path) in {True, False}


def test_the_same_question_has_the_same_plan() -> None:
    files = MemoryFiles({".gitlab-ci.yml": b"a: {script: [x], parallel: 3}\nb: {script: [x], needs: [a]}\n"})
    first, second = (compile_pipeline(CompileRequest(files=files)) for _ in range(2))
    assert first.plan is not None
    assert first.plan == second.plan
    other = compile_pipeline(CompileRequest(files=files, policy_digest="sha256:other"))
    assert other.plan is not None
    assert other.plan.id != first.plan.id


def generated(count: int) -> bytes:
    """Half of the jobs with `extends`, chains of `needs`, rules and variables that refer to one another."""
    job = (
        "job{0}:\n  stage: test\n  script: [echo {0}]\n  variables: {{X: a, Y: $X-b}}\n  needs: [{1}]\n"
        "  rules:\n    - if: $CI_COMMIT_BRANCH == 'main'\n"
    )
    other = "job{0}:\n  extends: .base\n  needs: [{1}]\n"
    base = ".base:\n  script: [make]\n  rules:\n    - if: $CI_COMMIT_BRANCH == 'main'\n"
    return (
        base + "".join((other if n % 2 else job).format(n, f"job{n - 1}" if n % 10 else "") for n in range(count))
    ).encode()


class Steps:
    """Counts the calls that a compilation makes, its own and those into C: the same on a busy machine as on an idle one."""

    def __init__(self) -> None:
        self.count = 0

    def see(self, frame: object, event: str, argument: object) -> None:  # noqa: ARG002 - the profiler's signature
        if event in {"call", "c_call"}:
            self.count += 1


def steps(count: int) -> int:
    """How many calls it takes to compile that many jobs."""
    files = MemoryFiles({".gitlab-ci.yml": generated(count)})
    counted = Steps()
    before = sys.getprofile()
    sys.setprofile(counted.see)
    try:
        found = compile_pipeline(CompileRequest(files=files))
    finally:
        sys.setprofile(before)
    assert found.plan is not None
    assert len(found.plan.jobs) == count
    return counted.count


def seconds(count: int) -> float:
    """CPU time of the best of three, without the cycle collector, whose runs depend on all that is alive."""
    files = MemoryFiles({".gitlab-ci.yml": generated(count)})
    best = float("inf")
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            start = time.process_time()
            found = compile_pipeline(CompileRequest(files=files))
            best = min(best, time.process_time() - start)
            assert found.plan is not None
    finally:
        gc.enable()
    return best


def test_work_grows_in_proportion_to_the_jobs() -> None:
    steps(10)
    small, large = steps(200), steps(2000)
    assert large < 10.5 * small, "ten times the jobs are more than ten times the calls"


def test_time_grows_in_proportion_to_the_jobs() -> None:
    """What calls do not show: work within one call, such as copying a growing list. Quadratic would be 64 times."""
    seconds(10)
    small, large = seconds(500), seconds(4000)
    assert large < 16 * small
