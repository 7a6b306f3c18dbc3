"""Every template compiles for every occasion, does the same rendered and included, and its scripts do what they say."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from aegis.cli import COMMANDS
from aegis.core.plan import JobSpec, Plan, Variable
from aegis.pipeline import library
from aegis.pipeline.compile import compile_pipeline
from aegis.pipeline.request import Compilation, CompileRequest, MemoryFiles, MergeRequest

ROOT = Path(__file__).parents[3]
GIVEN: Mapping[str, Mapping[str, str]] = {"deploy": {"service": "orders", "environment": "staging"}}
SCANNERS = {"trivy", "sast", "secret-detection"}
NAMES = [one.name for one in library.every()]


def found(text: str, *, tag: str = "", merge: bool = False, **variables: str) -> Compilation:
    return compile_pipeline(
        CompileRequest(
            files=MemoryFiles({".gitlab-ci.yml": text.encode()}),
            ref=tag or "main",
            ref_kind="tag" if tag else "branch",
            source="merge_request_event" if merge else "push",
            merge_request=MergeRequest(number=1, source_branch="x", target_branch="main") if merge else None,
            pipeline_variables=tuple(Variable(key=key, value=value) for key, value in variables.items()),
        )
    )


def included(name: str, **inputs: str) -> str:
    one = library.find(name)
    return library.including(one, library.typed(one, {**GIVEN.get(name, {}), **inputs}))


def plan(text: str, **occasion: str | bool) -> Plan:
    answer = found(text, **occasion)  # type: ignore[arg-type]
    assert answer.plan is not None, (answer.errors, answer.skipped)
    return answer.plan


def jobs(text: str, **occasion: str | bool) -> list[str]:
    answer = found(text, **occasion)  # type: ignore[arg-type]
    assert answer.errors == ()
    return [job.name for job in answer.plan.jobs] if answer.plan is not None else []


def test_the_library_holds_what_is_promised() -> None:
    assert set(NAMES) == {
        "python-library",
        "python-service",
        "security",
        "image",
        "chart",
        "deploy",
        "scanners",
        "compose",
        "pytest-shards",
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_valid_and_without_warnings_for_every_occasion(name: str) -> None:
    for containers in ("", "true"):
        for occasion in ({}, {"tag": "v1.2.3"}, {"merge": True}):
            answer = found(included(name), AEGIS_CONTAINERS=containers, **occasion)  # type: ignore[arg-type]
            assert answer.errors == ()
            assert answer.warnings == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_rendered_template_has_the_same_jobs_as_an_included_one(name: str) -> None:
    one = library.find(name)
    rendered = library.rendered(one, library.typed(one, dict(GIVEN.get(name, {}))))
    assert "component:" not in rendered
    assert "inputs." not in rendered
    for containers in ("", "true"):
        before = found(included(name), tag="v1.2.3", AEGIS_CONTAINERS=containers)
        after = found(rendered, tag="v1.2.3", AEGIS_CONTAINERS=containers)
        assert after.errors == ()
        old, new = ({job.name: (job.stage, job.script, job.needs, job.when) for job in side.plan.jobs} if side.plan else {} for side in (before, after))  # fmt: skip
        assert new == old


@pytest.mark.parametrize("name", ["python-library", "python-service", "security"])
def test_trivy_and_gitlabs_scanners_take_the_place_of_ours_where_there_are_containers(name: str) -> None:
    ours = jobs(included(name))
    theirs = jobs(included(name), AEGIS_CONTAINERS="true")
    assert {"dependencies", "secrets"} <= set(ours)
    assert not SCANNERS & set(ours)
    assert set(theirs) >= SCANNERS
    assert not {"dependencies", "secrets"} & set(theirs)
    assert set(jobs(included(name), CI_SERVER_NAME="GitLab")) >= SCANNERS


@pytest.mark.parametrize("name", ["python-library", "python-service"])
def test_what_is_published_waits_for_every_scan(name: str) -> None:
    last = "build-wheel" if name == "python-library" else "build-image"
    for containers, scans in (("", {"dependencies", "secrets"}), ("true", SCANNERS)):
        needs = plan(included(name), AEGIS_CONTAINERS=containers).job(last).needs
        assert scans <= {need.job for need in needs or ()}


def test_containers_can_be_said_outright() -> None:
    assert set(jobs(included("security", containers="always"))) == SCANNERS
    assert set(jobs(included("security", containers="never"), AEGIS_CONTAINERS="true")) == {"dependencies", "secrets"}


def test_an_image_is_scanned_after_it_was_pushed_and_only_then() -> None:
    assert jobs(included("image"), AEGIS_CONTAINERS="true") == ["build-image", "scan-image"]
    assert jobs(included("image"), AEGIS_CONTAINERS="true", merge=True) == ["build-image"]
    assert jobs(included("image")) == ["build-image"]


def test_every_verb_that_templates_call_exists() -> None:
    """`chart` is the one command that another part of the project brings."""
    verbs = {
        match
        for one in library.every()
        for match in re.findall(
            r"\baegis ([a-z-]+) ", "\n".join(line for line in one.text.splitlines() if line.lstrip().startswith("- "))
        )
    }
    assert verbs - set(COMMANDS) <= {"chart"}


def carried_out(job: JobSpec, folder: Path, *, code: int = 0, **variables: str) -> tuple[int, list[str]]:
    """A job's script run by a shell in which `aegis` writes down how it was called."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    calls = folder / "calls"
    stub = programs / "aegis"
    stub.write_text(
        f'#!/bin/sh\nprintf "%s" "aegis" >>"{calls}"\nfor one in "$@"; do printf " [%s]" "$one" >>"{calls}"; done\necho >>"{calls}"\nexit {code}\n'
    )
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    values = {one.key: one.value for one in job.variables}
    script = "\n".join(("set -eu", "CI_COMMIT_TAG=${CI_COMMIT_TAG-}", *job.script))
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        env={"PATH": f"{programs}{os.pathsep}/usr/bin:/bin", **values, **variables},
        check=False,
    )
    return done.returncode, calls.read_text().splitlines() if calls.exists() else []


def test_a_chart_is_checked_packaged_with_the_tags_version_and_pushed_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "chart-packages").mkdir()
    (tmp_path / "chart-packages" / "orders-1.2.3.tgz").write_bytes(b"")
    text = included("chart", repository="https://charts.example.test/shop")
    code, calls = carried_out(plan(text, tag="v1.2.3").job("chart"), tmp_path)
    assert code == 0
    assert calls == [
        "aegis [chart] [lint] [chart]",
        "aegis [chart] [package] [chart] [--version] [1.2.3] [--out] [chart-packages]",
        "aegis [chart] [push] [chart-packages/orders-1.2.3.tgz] [https://charts.example.test/shop]",
    ]


def test_a_chart_of_a_merge_request_has_a_version_of_its_own_and_is_not_pushed(tmp_path: Path) -> None:
    text = included("chart", repository="https://charts.example.test/shop")
    _, calls = carried_out(plan(text, merge=True).job("chart"), tmp_path)
    assert calls[1:] == ["aegis [chart] [package] [chart] [--version] [0.0.0-00000000] [--out] [chart-packages]"]


def test_a_deployment_asks_for_the_tags_release_and_waiting_is_no_failure(tmp_path: Path) -> None:
    job = plan(included("deploy"), tag="v1.2.3").job("deploy-staging")
    assert (job.when, job.allow_failure, job.resource_group) == ("manual", True, "staging-orders")
    code, calls = carried_out(job, tmp_path, CI_PIPELINE_ID="7")
    assert code == 0
    assert calls == ["aegis [promote] [orders] [staging] [1.2.3] [--yes] [--reason] [pipeline 7 of local/project]"]
    automatic = plan(included("deploy", when="on_success", on="default-branch")).job("deploy-staging")
    assert (automatic.when, automatic.allow_failure_exit_codes) == ("on_success", (7,))
    (tmp_path / "calls").unlink()
    code, calls = carried_out(automatic, tmp_path, code=7, CI_PIPELINE_ID="8")
    assert code == 7
    assert calls == ["aegis [promote] [orders] [staging] [--yes] [--reason] [pipeline 8 of local/project]"]


def test_nothing_is_deployed_from_merge_requests_or_other_branches() -> None:
    assert jobs(included("deploy"), merge=True) == []
    assert jobs(included("deploy")) == []
    assert jobs(included("deploy"), tag="v1.0.0", AEGIS_LOCAL="true") == []


@pytest.mark.parametrize("inputs", [{"service": "Or ders"}, {"environment": "a;b"}, {"on": "push"}])
def test_inputs_that_could_mean_something_else_are_refused(inputs: dict[str, str]) -> None:
    from aegis.core.errors import UserError

    with pytest.raises(UserError):
        library.typed(library.find("deploy"), {**GIVEN["deploy"], **inputs})


def test_the_page_is_made_from_the_templates() -> None:
    assert (ROOT / "docs" / "templates.md").read_text(encoding="utf-8") == library.page()
