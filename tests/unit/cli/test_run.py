"""`aegis run` carries out the pipeline of a working tree and leaves the tree as it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

_PIPELINE = """
stages: [build, test]
build:
  stage: build
  script: [mkdir out, cp tracked.txt out/, echo "OUT=$GREETING" > build.env]
  artifacts: {paths: [out/], reports: {dotenv: build.env}}
shard:
  parallel: 2
  script: ['cat out/tracked.txt', 'echo "$OUT shard $CI_NODE_INDEX $SECRET_ONE"', 'test ! -e untracked.txt']
broken: {script: ["python3 -c 'import not_there_at_all'"], needs: []}
gate: {script: [echo played], when: manual, needs: []}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    root.mkdir()
    (root / ".gitlab-ci.yml").write_text(_PIPELINE)
    (root / "tracked.txt").write_text("committed\n")
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
        subprocess.run(["git", *identity, *arguments], cwd=root, check=True)
    (root / "tracked.txt").write_text("changed\n")
    (root / "untracked.txt").write_text("new\n")
    return root


def _aegis(tree: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "aegis", *arguments],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def _run(tree: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = _aegis(tree, "run", "--json", *arguments)
    return code, json.loads(out)


def test_a_run_reports_every_job_with_its_log_and_artifacts(tree: Path, tmp_path: Path) -> None:
    value = "value-" + "never-shown"
    (tmp_path / "env").write_text("GREETING=hello\n")
    (tmp_path / "secrets").write_text(f"SECRET_ONE={value}\n")
    (tmp_path / "secrets").chmod(0o600)
    code, found = _run(tree, "--env-file", str(tmp_path / "env"), "--secrets-file", str(tmp_path / "secrets"))
    assert (code, found["schema"], found["status"]) == (1, "aegis.run/1", "failed")
    jobs = {one["name"]: one for one in found["jobs"]}
    assert set(jobs) == {"build", "shard 1/2", "shard 2/2", "broken", "gate"}
    assert {name: one["status"] for name, one in jobs.items()} == {
        "build": "success", "shard 1/2": "success", "shard 2/2": "success", "broken": "failed", "gate": "manual",
    }  # fmt: skip
    log = Path(jobs["shard 2/2"]["log"]).read_text()
    assert "changed\n" in log, "uncommitted changes of tracked files take part"
    assert "hello shard 2 [MASKED]" in log
    assert (jobs["broken"]["exit_code"], jobs["broken"]["failure_reason"]) == (1, "script_failure")
    assert (Path(jobs["build"]["artifacts"]) / "out/tracked.txt").read_text() == "changed\n"
    assert Path(jobs["build"]["log"]).is_relative_to(tree / ".aegis")
    for file in (tree / ".aegis").rglob("*"):
        assert not file.is_file() or value.encode() not in file.read_bytes(), file
    status = subprocess.run(["git", "status", "--short"], cwd=tree, capture_output=True, text=True, check=True)
    assert status.stdout == " M tracked.txt\n?? untracked.txt\n"
    code, out, _ = _aegis(tree, "explain", "--json")
    assert (code, json.loads(out)["causes"][0]["code"]) == (0, "module-missing")


def test_named_jobs_run_with_what_they_need_and_manual_ones_because_they_are_named(tree: Path) -> None:
    code, found = _run(tree, "gate")
    assert (code, [one["name"] for one in found["jobs"]], found["status"]) == (0, ["gate"], "success")
    code, found = _run(tree, "nothing")
    assert (code, found["error"]["code"]) == (4, "no-such-job")


def test_people_see_what_happens_why_it_failed_and_the_mend(tree: Path) -> None:
    code, out, seen = _aegis(tree, "run", "broken", "--executor", "process", "--plain")
    assert code == 1
    assert "NOT isolated" in seen
    assert "● running broken" in seen
    assert "mend: add the distribution that holds not_there_at_all" in out
    code, out, _ = _aegis(tree, "logs", "broken")
    assert (code, "ModuleNotFoundError" in out, "section_" in out) == (0, True, False)
    found = json.loads(_aegis(tree, "logs", "broken", "--search", "No module", "--json")[1])
    assert [one["text"] for one in found["lines"]] == ["ModuleNotFoundError: No module named 'not_there_at_all'"]
    assert json.loads(_aegis(tree, "logs", "nothing", "--json")[1])["error"]["code"] == "no-such-job"


def test_wrong_input_is_refused_with_a_mend(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("S=abc\n")
    (tmp_path / "secrets").chmod(0o644)
    assert _run(tree, "--secrets-file", str(tmp_path / "secrets"))[1]["error"]["code"] == "secrets-readable"
    (tmp_path / "secrets").chmod(0o600)
    code, found = _run(tree, "--secrets-file", str(tmp_path / "secrets"))
    assert (code, found["error"]["code"]) == (2, "secret-too-short")
    code, found = _run(tree, "--follow", "shards")
    assert (code, found["error"]["code"]) == (4, "no-such-job")
    (tree / ".gitlab-ci.yml").write_text("a: {skript: [x]}\n")
    assert _run(tree)[0] == 2


def test_a_project_that_cannot_be_written_to_is_no_bug_of_ours(tree: Path) -> None:
    (tree / ".aegis").write_text("a file where the folder should be")
    code, found = _run(tree)
    assert (code, found["error"]["code"]) == (2, "folder-not-writable")
    assert found["error"]["hint"]


def test_an_interrupt_says_what_was_stopped_and_leaves_with_130(tree: Path) -> None:
    (tree / ".gitlab-ci.yml").write_text("long: {script: ['echo ready; sleep 600']}\n")
    command = [sys.executable, "-m", "aegis", "run", "--plain"]
    running = subprocess.Popen(command, cwd=tree, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 30
        while not any(b"ready\n" in file.read_bytes() for file in tree.glob(".aegis/runs/*/traces/*.part")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGINT)
        _, seen = running.communicate(timeout=60)
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == 130
    assert "interrupted; stopping long" in seen


def test_a_failure_is_compared_with_the_last_good_run_and_its_mend_tried(tree: Path) -> None:
    (tree / ".gitlab-ci.yml").write_text(
        "tool: {script: [./tool.sh]}\nmode: {variables: {MODE: fast}, script: ['test $MODE = fast']}\n"
    )
    (tree / "tool.sh").write_text("#!/bin/sh\necho done\n")
    (tree / "tool.sh").chmod(0o755)
    subprocess.run(["git", "add", "-A"], cwd=tree, check=True)
    assert _run(tree)[0] == 0
    (tree / "tool.sh").chmod(0o644)
    assert _run(tree, "tool")[0] == 1
    code, out, _ = _aegis(tree, "explain", "nosuch", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (4, "no-such-job")
    answer = json.loads(_aegis(tree, "explain", "--try", "--json")[1])
    assert (answer["abstained"], answer["failed"], answer["causes"][0]["code"]) == (False, ["tool"], "permission")
    assert any(line.endswith("file changed: tool.sh") for line in answer["causes"][0]["evidence"])
    assert answer["tried"] == [
        {"job": "tool", "helped": True, "told": "`chmod +x ./tool.sh` first makes the job succeed"}
    ]
    assert (tree / "tool.sh").stat().st_mode & 0o111 == 0
    (tree / "tool.sh").chmod(0o755)
    (tree / ".gitlab-ci.yml").write_text((tree / ".gitlab-ci.yml").read_text().replace("MODE: fast", "MODE: slow"))
    code, found = _run(tree)
    assert code == 1
    by_job = json.loads(_aegis(tree, "explain", "mode", "--json")[1])
    assert by_job["causes"][0]["evidence"] == ["variable MODE fast → slow"]
    assert json.loads(_aegis(tree, "explain", found["run"], "--json")[1]) == by_job


def test_watch_runs_again_when_a_file_has_changed_and_ends_when_interrupted(tree: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "aegis", "run", "--watch", "--plain", "build"],
        cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    seen: list[str] = []

    def until(text: str) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            seen.append(line)
            if text in line:
                return
        raise AssertionError("".join(seen))

    until("waiting for a change")
    (tree / "tracked.txt").write_text("changed once more\n")
    until("waiting for a change")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.count("success") >= 2


def test_a_comparison_names_what_ended_otherwise_took_longer_and_was_made_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from aegis.bootstrap.run import LocalJob
    from aegis.cli.comparison import Here, There, document, tell
    from aegis.execution.explain import Inputs

    def here(name: str, status: str, code: int | None) -> LocalJob:
        return LocalJob(
            name=name, stage="test", status=status, exit_code=code, seconds=1.0, failure_reason=None, message="",
            log="log", artifacts="", allow_failure=False,
        )  # fmt: skip

    def there(name: str, state: str, code: int | None, seconds: int = 1) -> dict[str, Any]:
        times = {"started_at": "2026-01-01T00:00:00Z", "finished_at": f"2026-01-01T00:00:{seconds:02}Z"}
        return {"job": {"name": name, "state": state, "exit_code": code, **times}}

    ours = (
        here("same", "success", 0),
        here("code", "failed", 1),
        here("state", "failed", 1),
        here("ours", "success", 0),
    )
    theirs = [
        there("same", "success", 0, 9), there("code", "failed", 2), there("state", "success", 0),
        there("theirs", "manual", None),
    ]  # fmt: skip
    locks = {"uv.lock": {"a": "1", "b": "2"}}
    made = Inputs(locks=locks, image="x:1", variables={"A": "1", "B": "", "S": "[masked]"}, script="a\nb")
    other = {
        "locks": {"uv.lock": {"a": "1", "b": "3"}, "else.lock": {"x": "1"}},
        "jobs": [{"name": "same", "image": "x:2", "services": [], "variables": {"A": "1", "S": "x"}, "script": "a\nc"}],
    }
    view = {"summary": {"commit": "b" * 40}, "jobs": theirs}
    found = document(
        Here(commit="a" * 40, jobs=ours, inputs={"same": made}, files=("x.py",)),
        There(run="r1", view=view, inputs=other),
    )
    assert found["commit"] == {"here": "a" * 40, "there": "b" * 40, "same": False}
    assert [(one["job"], one["what"], one["here"], one["there"]) for one in found["differences"][1:]] == [
        ("code", "exit code", "1", "2"), ("ours", "job", "success", "not in that run"),
        ("state", "state", "failed", "success"), ("theirs", "job", "not in this run", "manual"),
        ("", "uv.lock: b", "2", "3"), ("same", "image", "x:1", "x:2"), ("same", "variable B", "''", "not set"),
        ("same", "script", "b", "c"),
    ]  # fmt: skip
    assert found["durations"][0] == {"job": "same", "here": 1.0, "there": 9.0}
    tell(found)
    told = capsys.readouterr().out
    assert "same: 1 s here, 9 s in run r1" in told
    assert "files that are not as in that commit: x.py" in told
    same = document(Here(commit="b" * 40, jobs=()), There(run="r2", view={**view, "jobs": []}))
    tell(same)
    assert "as in run r2: the same commit" in capsys.readouterr().out


def test_variables_and_files_of_the_tree_itself_reach_jobs_and_var_counts_most(tree: Path) -> None:
    (tree / ".gitlab-ci.yml").write_text("a: {script: ['echo $A-$B-$(cat $KEY)-$S']}\n")
    (tree / ".aegis").mkdir()
    (tree / ".aegis" / "env").write_text("A=own\nB=own\n")
    (tree / ".aegis" / "key").write_text("content")
    (tree / ".aegis" / "secrets").write_text(f"S={'abc' * 4}\nfile KEY=key\n")
    (tree / ".aegis" / "key").write_text("content-of-it")
    (tree / ".aegis" / "secrets").chmod(0o600)
    code, found = _run(tree, "--var", "A=given")
    assert code == 0
    assert "given-own-[MASKED]-[MASKED]" in Path(found["jobs"][0]["log"]).read_text()


def test_since_lets_rules_decide_on_what_differs_from_a_revision(tree: Path) -> None:
    (tree / ".gitlab-ci.yml").write_text(
        "a: {script: [echo a], rules: [{changes: [tracked.txt]}]}\n"
        "b: {script: [echo b], rules: [{changes: [other/**/*]}]}\n"
        "c: {script: [echo c], rules: [{changes: [untracked.txt]}]}\n"
    )
    code, found = _run(tree, "--since", "HEAD")
    assert (code, [one["name"] for one in found["jobs"]]) == (0, ["a", "c"])
    _, _, seen = _aegis(tree, "run", "--plain", "--since", "main", "a")
    assert "changed since main: .gitlab-ci.yml, tracked.txt, untracked.txt" in seen
    assert _run(tree, "--since", "no-such")[1]["error"]["code"] == "no-revision"
    assert _run(tree, "--since", "main", "--changed", "x")[0] == 2


def test_plain_lines_carry_the_jobs_name_and_can_be_grouped_chosen_or_left_out(tree: Path) -> None:
    (tree / ".gitlab-ci.yml").write_text(
        "a: {script: ['echo x-$((40 + 1))']}\nlonger: {script: ['echo y-$((40 + 1))']}\n"
    )
    seen = {
        name: _aegis(tree, "run", *arguments)[2]
        for name, arguments in {
            "live": (), "grouped": ("--logs", "grouped"), "none": ("--logs", "none"), "one": ("--follow", "a"),
        }.items()
    }  # fmt: skip
    assert "a      │ x-41\n" in seen["live"]
    assert "longer │ y-41\n" in seen["live"]
    block = [line.split(" ")[0] for line in seen["grouped"].splitlines() if "│" in line]
    assert block in (sorted(block), sorted(block, reverse=True)), "each job's lines stand together"
    assert "│" not in seen["none"]
    assert "a      │ x-41\n" in seen["one"]
    assert "y-41" not in seen["one"]


def test_watch_stops_what_runs_when_files_change_and_says_which(tree: Path) -> None:
    (tree / ".gitlab-ci.yml").write_text("a: {script: ['cat tracked.txt; grep -q third tracked.txt || sleep 600']}\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "aegis", "run", "--watch", "--plain"],
        cwd=tree, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    seen: list[str] = []
    try:
        for line in process.stderr:
            seen.append(line)
            if line == "a │ changed\n":
                (tree / ".aegis" / "ignored").write_text("no reason")
                (tree / "tracked.txt").write_text("third\n")
            if "waiting for a change" in line:
                process.send_signal(signal.SIGINT)
    finally:
        process.kill()
        process.communicate()
    text = "".join(seen)
    assert "files have changed: stopping what runs" in text
    assert "\nchanged: tracked.txt\n" in text
    assert "a │ third\n" in text


def test_a_shell_completes_the_names_of_jobs(tree: Path) -> None:
    words = {"_AEGIS_COMPLETE": "bash_complete", "COMP_WORDS": "aegis run sh", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", "from aegis.cli.root import root; root(prog_name='aegis')"],
        cwd=tree, env={**os.environ, **words}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "plain,shard 1/2\nplain,shard 2/2\n"
