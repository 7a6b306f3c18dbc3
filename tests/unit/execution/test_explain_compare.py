"""What differs from the last good run is quoted, is the cause where it is alone, and a flake is told by its history."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aegis.core.plan import Image, JobEnvironment, JobSpec, Variable
from aegis.core.types import JobRun, State
from aegis.execution.explain import (
    Cause,
    Explanation,
    Good,
    Inputs,
    Outcome,
    differences,
    digest,
    explained,
    flake_probability,
    inputs_of,
)
from aegis.execution.explain.mends import mended, trial, unsafe

JOB = JobRun(id="1", name="unit", stage="test", state=State.FAILED, exit_code=1)
INPUTS = Inputs(
    commit="a", files={"app.py": "1", "uv.lock": "2"}, locks={"uv.lock": {"requests": "2.31.0"}}, image="python:3.12",
    variables={"MODE": "fast"}, script="pytest",
)  # fmt: skip
TEST_FAILED = b"\x1b[32;1m$ pytest\x1b[0;m\nFAILED tests/test_a.py::test_b - assert 1 == 2\n"
UNKNOWN = b"\x1b[32;1m$ check\x1b[0;m\nthe totals differ\n"


def _explained(log: bytes, now: Inputs, *, good_log: bytes = b"", history: tuple[Outcome, ...] = ()) -> Explanation:
    return explained(JOB, log, now=now, good=Good(run="r1", inputs=INPUTS, log=good_log), history=history)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"image": "python:3.13"}, "changed-image", "image: python:3.12 → python:3.13"),
        ({"variables": {"MODE": "slow"}}, "changed-variable", "variable MODE fast → slow"),
        ({"variables": {}}, "changed-variable", "variable MODE fast → not set"),
        ({"script": "pytest -x"}, "changed-script", "script: pytest → pytest -x"),
        (
            {"locks": {"uv.lock": {"requests": "2.32.0"}}, "files": {"app.py": "1", "uv.lock": "3"}},
            "changed-lock",
            "uv.lock: requests 2.31.0 → 2.32.0",
        ),
    ],
)
def test_the_only_thing_that_differs_is_the_cause_by_experiment(
    change: dict[str, object], code: str, text: str
) -> None:
    found = _explained(TEST_FAILED, replace(INPUTS, commit="b", **change))  # type: ignore[arg-type]
    assert [one.code for one in found.causes] == [code, "test-failed"]
    assert found.causes[0].evidence == (text,)
    assert found.differences == (text,)


def test_of_several_differences_the_one_that_the_log_names_is_quoted() -> None:
    now = replace(INPUTS, files={"app.py": "9", "prices.py": "1", "docs.md": "1", "uv.lock": "2"})
    log = TEST_FAILED + b"  File prices.py, line 3\n"
    found = _explained(log, now)
    assert [one.code for one in found.causes] == ["test-failed"]
    assert found.causes[0].evidence[-1] == "since run r1: file added: prices.py"


def test_where_the_log_says_nothing_the_named_difference_is_said_and_several_unnamed_are_not() -> None:
    now = replace(INPUTS, variables={"MODE": "slow"}, files={"app.py": "9", "uv.lock": "2"})
    assert _explained(UNKNOWN, now).abstained
    found = _explained(UNKNOWN + b"MODE slow is unknown\n", now)
    assert [(one.code, one.confidence) for one in found.causes] == [("changed-variable", 0.72)]


def test_the_same_inputs_that_succeeded_before_make_a_flake_with_a_probability() -> None:
    key = digest(INPUTS)
    history = (Outcome(succeeded=False, inputs=key), *[Outcome(succeeded=True, inputs=key)] * 3)
    found = _explained(TEST_FAILED, INPUTS, history=history)
    assert [one.code for one in found.causes] == ["flaky", "test-failed"]
    assert "67%" in found.causes[0].message
    assert "of 4 runs with these inputs 1 failed" in found.causes[0].evidence


def test_a_full_disk_is_no_flake_though_the_inputs_are_the_same() -> None:
    log = b"\x1b[32;1m$ make\x1b[0;m\nOSError: [Errno 28] No space left on device\n"
    assert [one.code for one in _explained(log, INPUTS).causes] == ["disk-full"]


def test_the_probability_of_a_flake_counts_runs_of_the_same_inputs_only() -> None:
    others = (Outcome(succeeded=True, inputs="other"),) * 9
    assert flake_probability((), "x") == 0.5
    assert flake_probability((*others, Outcome(succeeded=False, inputs="x")), "x") == pytest.approx(1 / 3)


def test_lines_that_the_good_log_has_too_are_not_new() -> None:
    found = _explained(
        UNKNOWN, replace(INPUTS, script="a", image="b"), good_log=b"\x1b[32;1m$ check\x1b[0;m\nall well\n"
    )
    assert (found.abstained, found.new_lines) == (True, ("the totals differ",))


def test_masked_values_and_the_runs_own_variables_are_no_inputs() -> None:
    variables = (
        Variable(key="TOKEN", value="", secret="file:TOKEN", masked=True),
        Variable(key="CI_COMMIT_SHA", value="a"),
        Variable(key="MODE", value="fast"),
    )
    spec = JobSpec(name="a", stage="test", script=("x",), variables=variables, image=Image(name="alpine"))
    made = inputs_of(spec, commit="a", ref="main", files={}, locks={})
    assert (made.variables, made.image, made.script) == ({"TOKEN": "[masked]", "MODE": "fast"}, "alpine", "x")
    assert differences(made, made) == ()


def _cause(code: str, *evidence: str) -> Cause:
    return Cause(code=code, message="", hint="", evidence=evidence, confidence=0.9)


@pytest.mark.parametrize(
    ("cause", "script", "commands"),
    [
        (_cause("permission", "step-1: line 5: ./tool.sh: Permission denied"), "./tool.sh", ("chmod +x ./tool.sh",)),
        (_cause("permission", "/etc/shop.conf: Permission denied"), "x", None),
        (_cause("format", "would reformat a.py"), "ruff format --check src", ("ruff format src",)),
        (_cause("format", "would reformat a.py"), "black --check .", ("black .",)),
        (_cause("command-missing", "./run.sh: cannot execute: required file not found"), "./run.sh",
         ("sed -i 's/\\r$//' ./run.sh",)),
        (_cause("lock-outdated", "needs to be updated"), "uv sync --locked", ("uv lock",)),
        (_cause("flaky"), "pytest", ()),
        (_cause("test-failed", "FAILED a.py::b"), "pytest", None),
    ],
)  # fmt: skip
def test_mends_that_can_be_tried(cause: Cause, script: str, commands: tuple[str, ...] | None) -> None:
    spec = JobSpec(name="a", stage="test", script=(script,), before_script=("prepare",))
    found = trial(cause, spec)
    assert (found.commands if found else None) == commands
    if found:
        assert mended(spec, found).before_script == ("prepare", *found.commands)


def test_jobs_that_act_outside_are_not_run_for_a_trial() -> None:
    spec = JobSpec(name="a", stage="test", script=("x",))
    assert unsafe(spec) == ""
    assert "environment production" in unsafe(replace(spec, environment=JobEnvironment(name="production")))
    assert "secrets" in unsafe(replace(spec, variables=(Variable(key="T", value="", masked=True),)))
    assert "resource group" in unsafe(replace(spec, resource_group="db"))
    assert "starts it" in unsafe(replace(spec, when="manual"))
