"""R10.3: pipelines run locally; R10.2: a failure comes with a mend."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_r10_3_a_pipeline_runs_in_a_working_tree_without_a_server(tmp_path: Path) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text("hello: {script: [echo hello > out], artifacts: {paths: [out]}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "aegis", "run", "--json"], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    found = json.loads(done.stdout)
    assert (done.returncode, found["status"]) == (0, "success"), done.stderr
    assert (Path(found["jobs"][0]["artifacts"]) / "out").read_text() == "hello\n"
    assert sorted(one.name for one in tmp_path.iterdir()) == [".aegis", ".gitlab-ci.yml"]


def test_r10_2_a_failure_is_explained_with_the_lines_that_prove_it(tmp_path: Path) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text("a: {script: [no-such-command-here]}\n")
    command = [sys.executable, "-m", "aegis"]
    assert (
        subprocess.run(
            [*command, "run", "--json"], cwd=tmp_path, capture_output=True, timeout=60, check=False
        ).returncode
        == 1
    )
    done = subprocess.run([*command, "explain", "--json"], cwd=tmp_path, capture_output=True, timeout=60, check=True)
    cause = json.loads(done.stdout)["causes"][0]
    assert (cause["code"], "no-such-command-here" in cause["message"]) == ("command-missing", True)
    assert cause["hint"]
    assert cause["evidence"]
