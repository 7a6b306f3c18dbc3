"""A job that was proven is not worked again, unless anything it depends on is another; and it always says so."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.core.plan import ArtifactSpec, Image, JobEnvironment, JobSpec, ReleaseSpec, Variable
from aegis.core.types import JobRun, State, StoredFile
from aegis.execution import reuse
from aegis.execution.reuse import Fingerprint, Proven, Seen
from aegis.execution.runners import Dependency
from support.execution import Engine, job

ASKS = Variable(key="AEGIS_REUSE", value="true")
SPEC = JobSpec(name="unit", stage="test", script=("make test",))
SEEN = Seen(
    variables={"AEGIS_REUSE": "true", "A": "1", "CI_JOB_ID": "01"}, files={}, tree={"a.py": "1", "doc/b.md": "2"},
    dependencies=(Dependency(job="build", archive=StoredFile(name="a", kind="archive", digest="sha512:1", size=1)),),
    isolation="namespaces", surroundings=("sha256:image",),
)  # fmt: skip


def keyed(data: bytes) -> str:
    return hmac.new(b"key", data, hashlib.sha256).hexdigest()


def made(spec: JobSpec = SPEC, seen: Seen = SEEN) -> Fingerprint:
    return reuse.fingerprint(spec, seen, keyed)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"script": ("make tests",)}, "script"),
        ({"before_script": ("x",)}, "script"),
        ({"after_script": ("x",)}, "script"),
        ({"pre_get_sources": ("x",)}, "script"),
        ({"name": "other"}, "script"),
        ({"artifacts": ArtifactSpec(paths=("x",))}, "script"),
        ({"coverage": "/x/"}, "script"),
        ({"image": Image(name="i", entrypoint=("",))}, "image"),
    ],
)
def test_another_plan_is_another_fingerprint(change: dict[str, Any], part: str) -> None:
    assert reuse.differences(made(replace(SPEC, **change)), made()) == (part,)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"variables": {**SEEN.variables, "A": "2"}}, "variables"),
        ({"variables": {**SEEN.variables, "B": ""}}, "variables"),
        ({"tree": {**SEEN.tree, "a.py": "9"}}, "inputs"),
        ({"tree": {"a.py": "1"}}, "inputs"),
        ({"dependencies": ()}, "needs"),
        ({"isolation": "process"}, "image"),
        ({"surroundings": ("sha256:image", "registries")}, "image"),
    ],
)
def test_anything_else_it_sees_is_another_fingerprint(change: dict[str, Any], part: str) -> None:
    other = made(seen=replace(SEEN, **change))
    assert [one.partition(" ")[0] for one in reuse.differences(other, made())] == [part]
    assert other.whole != made().whole


@given(st.sampled_from(sorted(reuse.CHANGING)), st.text(max_size=20))
def test_what_is_another_in_every_run_does_not_count_unless_it_is_named(name: str, value: str) -> None:
    seen = replace(SEEN, variables={**SEEN.variables, name: value})
    assert made(seen=seen) == made()
    named = replace(SPEC, script=(f"echo ${{{name}}}",))
    changed = value + "!"
    assert made(named, seen) != made(named, replace(SEEN, variables={**SEEN.variables, name: changed}))


def test_a_changing_variable_that_another_variable_or_file_names_counts() -> None:
    for place in ({"variables": {**SEEN.variables, "IMAGE": "x:$CI_COMMIT_SHA", "CI_COMMIT_SHA": "1"}},
                  {"variables": {**SEEN.variables, "F": "/p", "CI_COMMIT_SHA": "1"}, "files": {"F": "CI_COMMIT_SHA"}}):  # fmt: skip
        one = replace(SEEN, **place)  # type: ignore[arg-type]
        other = replace(one, variables={**one.variables, "CI_COMMIT_SHA": "2"})
        assert made(seen=one) != made(seen=other)


def test_the_content_of_a_file_variable_counts_and_its_place_does_not() -> None:
    def seen(place: str, content: str) -> Seen:
        return replace(SEEN, variables={**SEEN.variables, "F": place}, files={"F": content})

    assert made(seen=seen("/a", "x")) == made(seen=seen("/b", "x"))
    assert made(seen=seen("/a", "x")) != made(seen=seen("/a", "y"))


def test_declared_inputs_leave_out_the_rest_and_the_tree_says_so() -> None:
    def seen(globs: str, **tree: str) -> Seen:
        return replace(SEEN, variables={**SEEN.variables, "AEGIS_REUSE_INPUTS": globs}, tree={**SEEN.tree, **tree})

    for globs in ("*.py", "**/*.py", "a.py src/**"):
        one, other = made(seen=seen(globs)), made(seen=seen(globs, **{"doc/b.md": "9"}))
        assert one.whole == other.whole
        assert one.tree != other.tree
        assert made(seen=seen(globs, **{"a.py": "9"})).whole != one.whole
    assert made(seen=seen("doc")).whole != made(seen=seen("doc", **{"doc/b.md": "9"})).whole


def test_no_secret_can_be_guessed_from_a_fingerprint() -> None:
    other = reuse.fingerprint(SPEC, SEEN, lambda data: hmac.new(b"other", data, hashlib.sha256).hexdigest())
    assert not set(other.parts.values()) & set(made().parts.values())


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (replace(SPEC, environment=JobEnvironment(name="prod")), "deploys"),
        (replace(SPEC, release=ReleaseSpec(tag_name="v1")), "releases"),
        (replace(SPEC, resource_group="one"), "resource group"),
        (replace(SPEC, services=(Image(name="postgres"),)), "services"),
        (replace(SPEC, image=Image(name="python:3")), "not known by digest"),
    ],
)
def test_what_acts_on_the_world_or_is_not_known_is_never_reused(spec: JobSpec, why: str) -> None:
    assert why in reuse.hindrance(spec, "")
    assert reuse.hindrance(replace(SPEC, image=Image(name="python:3")), "sha256:1") == ""


def test_a_protected_job_takes_over_from_its_like_alone() -> None:
    def proven(*, trusted: bool) -> Proven:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        return Proven(fingerprint=made(), run="r", job="j", commit="c", at=now, trusted=trusted, isolation="namespaces")

    assert [reuse.usable(proven(trusted=there), trusted=here) for there in (True, False) for here in (True, False)] == [
        True, True, False, True,
    ]  # fmt: skip


# -- carried out ------------------------------------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    made = Engine(tmp_path)
    yield made
    made.close()


def counting(root: Path, *more: str, **changes: Any) -> JobSpec:
    """A job that counts how often it is worked."""
    artifacts = ArtifactSpec(paths=("out",), reports={"junit": ("junit.xml",)})
    commands = (f"echo x >> {root}/count", "echo made > out; echo '<testsuite/>' > junit.xml; echo TOTAL 81%", *more)
    fields = {"variables": (ASKS,), "artifacts": artifacts, "coverage": r"/TOTAL (\d+)%/", **changes}
    return job("unit", *commands, **fields)


def only(engine: Engine, spec: JobSpec, **more: Any) -> tuple[JobRun, str]:
    run = engine.run(spec, **more)
    return run.jobs[0], engine.log(run.jobs[0])


def count(root: Path) -> int:
    return len((root / "count").read_text().splitlines())


def test_a_proven_job_is_not_worked_again_and_says_so(engine: Engine, tmp_path: Path) -> None:
    first, log = only(engine, counting(tmp_path))
    assert (first.state, first.reused_from) == (State.SUCCESS, "")
    assert "Not reused: nothing like it has passed yet." in log
    second, log = only(engine, counting(tmp_path))
    assert (second.state, second.coverage, second.files) == (State.SUCCESS, 81.0, first.files)
    assert second.reused_from == f"01run{1:021d}/{first.id}"
    assert second.reuse is not None
    assert second.reuse.same_tree
    assert f"Reused: unit passed in run 01run{1:021d}" in log
    assert count(tmp_path) == 1
    restored = engine.restart()
    assert restored == ()
    assert engine.coordinator.run(f"01run{2:021d}").jobs[0].reuse == second.reuse


def test_a_job_that_does_not_ask_is_worked(engine: Engine, tmp_path: Path) -> None:
    for _ in range(2):
        found, log = only(engine, counting(tmp_path, variables=()))
        assert found.reuse is None
        assert "eused" not in log
    assert count(tmp_path) == 2


def test_a_job_that_failed_or_lost_its_files_is_worked_again(engine: Engine, tmp_path: Path) -> None:
    for _ in range(2):
        assert only(engine, counting(tmp_path, "false"))[0].state is State.FAILED
    assert count(tmp_path) == 2
    first, _ = only(engine, counting(tmp_path))
    engine.blobs.delete(next(one.digest for one in first.files if one.kind == "junit"))
    second, log = only(engine, counting(tmp_path))
    assert second.reused_from == ""
    assert "are gone" in log
    assert count(tmp_path) == 4


def test_the_log_says_what_is_other_than_last_time(engine: Engine, tmp_path: Path) -> None:
    only(engine, counting(tmp_path))
    _, log = only(engine, counting(tmp_path, "true", variables=(ASKS, Variable(key="B", value="2"))))
    assert f"Not reused: other script, variables (B) than in run 01run{1:021d}." in log


@pytest.mark.parametrize("how", ["option", "variable"])
def test_without_reuse_it_is_worked_and_compared(engine: Engine, tmp_path: Path, how: str) -> None:
    only(engine, counting(tmp_path))
    never = (Variable(key="AEGIS_NO_REUSE", value="true"),) if how == "variable" else ()
    again, log = only(
        engine, counting(tmp_path, variables=(ASKS, *never)), supervisor={"reuse": how != "option"}
    )  # fmt: skip
    assert again.reuse is not None
    assert (again.reused_from, again.reuse.verified, count(tmp_path)) == ("", "same", 2)
    assert "Verified: the same result and files" in log


def test_comparing_tells_what_differs(engine: Engine, tmp_path: Path) -> None:
    moody = counting(tmp_path, f"cat {tmp_path}/mood > out; test ! -e {tmp_path}/bad")
    (tmp_path / "mood").write_text("fine")
    only(engine, moody)
    (tmp_path / "mood").write_text("otherwise")
    again, log = only(engine, moody, supervisor={"reuse": False})
    assert again.reuse is not None
    assert "artifacts.zip (archive)" in again.reuse.verified
    assert "WARNING: not reproducible" in log
    (tmp_path / "bad").touch()
    failed, _ = only(engine, moody, supervisor={"reuse": False})
    assert failed.reuse is not None
    assert "ended as failed" in failed.reuse.verified


def test_artifacts_of_a_reused_job_go_on_to_later_jobs(engine: Engine, tmp_path: Path) -> None:
    reader = job("read", "test $(cat out) = made", stage="deploy")
    for _ in range(2):
        assert engine.run(counting(tmp_path), reader).state is State.SUCCESS
    assert count(tmp_path) == 1
