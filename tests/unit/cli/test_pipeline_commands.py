"""`aegis lint`, `preview`, `diff` and `template` speak for people and for programs, with and without Git."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aegis.cli.root import run

VALID = """\
stages: [build, test]
build:
  stage: build
  script: [make]
  parallel: 2
test:
  script: [check]
  needs: [build]
  variables: {A: "$CI_COMMIT_REF_NAME"}
  rules:
    - changes: [src/*]
release:
  script: [ship]
  rules: [{if: $CI_COMMIT_TAG}]
"""


def call(*argv: str) -> int:
    try:
        run(list(argv))
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def git(directory: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.test", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".gitlab-ci.yml").write_text(VALID)
    return tmp_path


@pytest.fixture
def tree(here: Path) -> Path:
    git(here, "init", "--quiet", "--initial-branch=main")
    git(here, "remote", "add", "origin", "ssh://git@gitlab.example.test:22/shop/orders.git")
    git(here, "add", ".")
    git(here, "commit", "--quiet", "-m", "feat: begin")
    return here


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.usefixtures("here")
def test_lint_of_a_valid_file_leaves_with_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("lint", "--no-advice", "--json") == 0
    assert shown(capsys) == {"schema": "aegis.lint/1", "valid": True, "errors": [], "warnings": []}


@pytest.mark.usefixtures("here")
def test_lint_advises_and_stays_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("lint", "--json") == 0
    found = shown(capsys)
    assert found["valid"] is True
    assert [one["code"] for one in found["warnings"]] == ["advice-uninterruptible"]
    assert call("lint") == 0
    assert "advice[advice-uninterruptible]" in capsys.readouterr().out


def test_lint_of_an_invalid_file_leaves_with_one_and_all_places(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bad.yml").write_text("a:\n  scrpt: [x]\n  script: [y]\n  when: x\n")
    assert call("lint", "bad.yml", "--json") == 1
    found = shown(capsys)
    assert found["valid"] is False
    assert [one["where"] for one in found["errors"]] == [
        {"file": "bad.yml", "line": 2, "column": 3},
        {"file": "bad.yml", "line": 4, "column": 9},
    ]
    assert found["errors"][0]["hint"] == "did you mean `script`?"
    assert call("lint", "bad.yml") == 1
    assert "bad.yml:2:3: error[unknown-keyword]" in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_lint_of_a_file_that_is_not_there_leaves_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("lint", "gone.yml", "--json") == 2
    assert shown(capsys)["error"]["code"] == "no-file"


@pytest.mark.usefixtures("here")
def test_preview_works_without_git(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("preview", "--json", "--changed", "docs/x") == 0
    found = shown(capsys)
    assert [job["name"] for job in found["jobs"]] == ["build 1/2", "build 2/2"]
    assert {one["name"] for one in found["excluded"]} == {"test", "release"}
    assert found["stages"] == ["build"]


@pytest.mark.usefixtures("here")
def test_preview_shows_needs_variables_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("preview", "--json", "--changed", "src/x", "--ref", "not-there", "--var", "B=c=d") == 0
    test = shown(capsys)["jobs"][2]
    assert test["needs"] == [
        {"job": "build 1/2", "artifacts": True, "optional": False},
        {"job": "build 2/2", "artifacts": True, "optional": False},
    ]
    assert test["variables"]["A"] == "not-there"
    assert test["variables"]["B"] == "c=d"
    assert test["reason"] == "rules[0]: changes src/x at .gitlab-ci.yml:11"
    assert test["script"] == ["check"]


@pytest.mark.usefixtures("here")
def test_preview_of_a_tag_and_of_a_merge_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("preview", "--json", "--tag", "v9") == 0
    assert [job["name"] for job in shown(capsys)["jobs"]] == ["build 1/2", "build 2/2", "test", "release"]
    assert call("preview", "--json", "--merge-request", "--changed", "src/x") == 2
    assert shown(capsys)["error"]["code"] == "need-not-in-pipeline"


def test_preview_says_why_nothing_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / ".gitlab-ci.yml").write_text("workflow: {rules: [{if: $NO}]}\na: {script: [x]}\n")
    assert call("preview") == 0
    out = capsys.readouterr().out
    assert "nothing would run: workflow: no rule matches" in out


def test_preview_of_an_invalid_file_leaves_with_two(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / ".gitlab-ci.yml").write_text("a: {}\n")
    assert call("preview", "--json") == 2
    assert shown(capsys)["error"]["code"] == "no-script"


@pytest.mark.usefixtures("here")
def test_preview_refuses_options_that_contradict(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("preview", "--json", "--tag", "v1", "--merge-request") == 2
    assert shown(capsys)["error"]["code"] == "usage"
    assert call("preview", "--json", "--var", "X") == 2


def test_preview_takes_branch_commit_and_changes_from_git(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(tree, "checkout", "--quiet", "-b", "topic")
    (tree / "src").mkdir()
    (tree / "src" / "new").write_text("")
    (tree / "deep").mkdir()
    assert call("preview", "--json") == 0
    jobs = shown(capsys)["jobs"]
    assert [job["name"] for job in jobs] == ["build 1/2", "build 2/2", "test"]
    variables = jobs[2]["variables"]
    assert variables["CI_COMMIT_BRANCH"] == "topic"
    assert variables["CI_PROJECT_PATH"] == "shop/orders"
    assert len(variables["CI_COMMIT_SHA"]) == 40


def test_preview_finds_the_file_from_a_folder_below(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "deep").mkdir()
    monkeypatch.chdir(tree / "deep")
    assert call("preview", "--json", "--changed", "x") == 0
    assert [job["name"] for job in shown(capsys)["jobs"]] == ["build 1/2", "build 2/2"]


def test_diff_names_what_was_added_removed_and_changed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = VALID.replace("script: [check]", "script: [check, twice]").replace("parallel: 2", "tags: [big]")
    (tree / ".gitlab-ci.yml").write_text(changed + "extra: {script: [x]}\n")
    git(tree, "commit", "--quiet", "-am", "change")
    assert call("diff", "HEAD~1", "HEAD", "--json") == 0
    found = shown(capsys)
    assert found["differs"]
    assert (found["added"], found["removed"]) == (["build", "extra"], ["build 1/2", "build 2/2"])
    fields = {one["field"]: one for one in found["changed"][0]["fields"]}
    assert fields["script"] == {"field": "script", "before": ["check"], "after": ["check", "twice"]}
    assert call("diff", "HEAD~1", "HEAD", "--exit-code") == 1
    assert "~ test" in capsys.readouterr().out
    assert call("diff", "HEAD", "HEAD", "--exit-code") == 0


@pytest.mark.usefixtures("tree")
def test_diff_of_an_unknown_revision_leaves_with_four(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("diff", "nowhere", "HEAD", "--json") == 4
    assert shown(capsys)["error"]["code"] == "no-revision"


@pytest.mark.usefixtures("here")
def test_diff_outside_a_repository_leaves_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("diff", "a", "b", "--json") == 2
    assert shown(capsys)["error"]["code"] == "no-repository"


def test_templates_are_listed_shown_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("template", "list", "--json") == 0
    listed = {one["name"]: one for one in shown(capsys)["templates"]}
    assert {"python-library", "python-service", "security", "image"} <= set(listed)
    assert all(one["description"] for one in listed.values())
    assert call("template", "show", "python-service", "--json") == 0
    assert "stages:" in shown(capsys)["text"]
    assert call("template", "use", "python-service", "--input", "integration=false") == 0
    assert "integration: false" in (tmp_path / ".gitlab-ci.yml").read_text()
    assert call("lint") == 0
    assert call("template", "use", "python-library") == 5
    assert call("template", "use", "python-library", "--dry-run") == 0


def test_inputs_on_the_command_line_take_the_type_of_the_input(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "in.yml").write_text(
        "spec:\n  inputs: {n: {type: number}, b: {type: boolean}, a: {type: array}, s: {}}\n---\n"
        "a:\n  tags: $[[ inputs.a ]]\n  script: [x $[[ inputs.n ]] $[[ inputs.b ]] $[[ inputs.s ]]]\n"
    )
    given = ("--input", "n=3", "--input", "b=true", "--input", "a=x,y", "--input", "s=1")
    assert call("preview", "in.yml", "--json", *given) == 0
    job = shown(capsys)["jobs"][0]
    assert (job["tags"], job["script"]) == (["x", "y"], ["x 3 true 1"])
    assert call("preview", "in.yml", "--json", "--input", "n=many") == 2
    assert shown(capsys)["error"]["code"] in {"invalid-input", "missing-input"}


def test_a_local_run_is_previewed_with_what_it_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".gitlab-ci.yml").write_text("include: [{component: aegis/python-service@1}]\n")
    assert call("preview", "--ref", "topic", "--json") == 0
    assert shown(capsys)["jobs"] == []
    assert call("preview", "--ref", "topic", "--local", "--json") == 0
    image = shown(capsys)["jobs"][-1]
    assert image["name"] == "build-image"
    assert image["variables"]["AEGIS_IMAGE_FLAGS"] == ""


def test_template_inputs_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("template", "use", "python-service", "--input", "lint=maybe", "--json") == 2
    assert shown(capsys)["error"]["code"] == "invalid-input"
    assert call("template", "use", "python-service", "--input", "python=3; rm -rf /", "--json") == 2
    assert call("template", "show", "python-servce", "--json") == 4
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["python-library", "python-service", "security", "image"])
@pytest.mark.parametrize("occasion", [["--ref", "main"], ["--ref", "develop"], ["--tag", "v1"], ["--merge-request"]])
def test_every_template_compiles_for_every_occasion(
    name: str, occasion: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("template", "use", name) == 0
    capsys.readouterr()
    assert call("preview", "--json", *occasion) == 0
    found = shown(capsys)
    assert found["jobs"]
    assert found["warnings"] == []
    assert all(job["origin"] == f"aegis/{name}@1" for job in found["jobs"])


@pytest.mark.usefixtures("tree")
def test_a_local_run_teaches_preview_and_graph_how_long_jobs_take(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from datetime import UTC, datetime, timedelta

    from aegis.adapters.clock_system import SystemClock, SystemEntropy
    from aegis.adapters.ledger_sqlite import SqliteLedger
    from aegis.core.events import Draft, JobFinished
    from aegis.core.types import JobRun, State

    assert call("preview", "--json", "--changed", "src/a") == 0
    assert shown(capsys)["forecast"] is None
    (here / ".aegis").mkdir()
    ledger = SqliteLedger(here / ".aegis" / "ledger.db", clock=SystemClock(), entropy=SystemEntropy(), blobs=None, recorded_by="t")  # fmt: skip
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    for name, seconds, state in (
        ("build 1/2", 40, "success"),
        ("build 2/2", 50, "success"),
        ("test", 7, "success"),
        ("test", 99, "failed"),
    ):
        job = JobRun(id="j", name=name, stage="test", state=State(state), started_at=begun, finished_at=begun + timedelta(seconds=seconds))  # fmt: skip
        ledger.append([Draft(subject="run/r", data=JobFinished(job=job), actor="t", project="x")])
    ledger.close()
    assert call("preview", "--json", "--changed", "src/a") == 0
    found = shown(capsys)["forecast"]
    assert found["seconds"] == 57
    assert found["critical_path"] == ["build 2/2", "test"]
    assert call("preview", "--changed", "src/a") == 0
    assert "critical path: build 2/2 (50 s) → test (7 s)" in capsys.readouterr().out
    assert call("graph", "--changed", "src/a", "--out", "p.svg") == 0
    assert "on the critical path" in (here / "p.svg").read_text()
    capsys.readouterr()
    assert call("graph", "--changed", "src/a", "--format", "mermaid", "--json") == 0
    body = shown(capsys)
    assert body["format"] == "mermaid"
    assert [row["job"] for row in body["jobs"]] == ["build", "test"]
    assert call("graph", "--changed", "src/a", "--format", "table") == 0
    assert "waits for" in capsys.readouterr().out


@pytest.mark.usefixtures("tree")
def test_a_graph_of_nothing_says_why(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / ".gitlab-ci.yml").write_text("a: {script: [x], rules: [{when: never}]}\n")
    assert call("graph") == 2
    assert "nothing would run" in capsys.readouterr().err


def test_the_security_template_runs_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("template", "use", "security") == 0
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "feat: begin")
    capsys.readouterr()
    assert call("run", "secrets", "--json") == 0
    assert [(job["name"], job["status"]) for job in shown(capsys)["jobs"]] == [("secrets", "success")]


@pytest.mark.usefixtures("tree")
def test_variables_of_the_declaration_count_here_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    word = "open" + "-sesame"
    declared = (
        "version: 1\nbranches: {main: {push: []}}\nvariables: {shop: {REGION: group}}\nprojects:\n  shop/orders:\n    kind: library\n"
        f"    variables: {{WORD: {{value: {word}, masked: true, protected: true}}}}\n"
    )
    (here / ".gitlab-ci.yml").write_text('a: {script: [x], variables: {URL: "http://$WORD@$REGION"}}\n')
    (here / "aegis.yaml").write_text(declared)
    assert call("preview", "--json") == 0
    told = capsys.readouterr().out
    variables = json.loads(told)["jobs"][0]["variables"]
    assert (variables["REGION"], variables["WORD"], variables["URL"]) == ("group", "[masked]", "http://$WORD@group")
    assert variables["CI_COMMIT_REF_PROTECTED"] == "true"
    assert word not in told
    assert call("preview", "--ref", "other", "--json") == 0
    assert "WORD" not in shown(capsys)["jobs"][0]["variables"]
    (here / "aegis.yaml").rename(here / "elsewhere.yaml")
    assert call("preview", "--json") == 0
    assert "REGION" not in shown(capsys)["jobs"][0]["variables"]
    assert call("preview", "--variables", "elsewhere.yaml", "--json") == 0
    assert shown(capsys)["jobs"][0]["variables"]["REGION"] == "group"
    assert call("preview", "--variables", "missing.yaml") == 2
    assert "there is no missing.yaml" in capsys.readouterr().err
    (here / "aegis.yaml").write_text("version: 1\nvariabels: {}\n")
    assert call("preview") == 2
    assert "did you mean `variables`?" in capsys.readouterr().err


def test_only_what_starts_pipelines_is_a_source(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / ".gitlab-ci.yml").write_text("a: {script: [x], rules: [{if: '$CI_PIPELINE_SOURCE == \"schedule\"'}]}\n")
    assert call("preview", "--source", "schedule", "--json") == 0
    assert [job["name"] for job in shown(capsys)["jobs"]] == ["a"]
    assert call("preview", "--source", "shedule") == 2
    assert "did you mean `schedule`?" in capsys.readouterr().err
    assert call("preview", "--source", "zzz") == 2
    assert "merge_request_event" in capsys.readouterr().err


@pytest.mark.usefixtures("tree")
def test_comparing_with_a_ref_that_is_not_there_is_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / ".gitlab-ci.yml").write_text(
        "a: {script: [x], rules: [{changes: {paths: ['*'], compare_to: refs/heads/mian}}]}\n"
    )
    assert call("preview") == 2
    assert "error[unknown-ref]: `compare_to: refs/heads/mian` names no branch" in capsys.readouterr().out
    (here / ".gitlab-ci.yml").write_text(
        "a: {script: [x], rules: [{changes: {paths: ['*'], compare_to: refs/heads/main}}]}\n"
    )
    assert call("preview") == 0
