"""R10.3: pipelines run locally; R10.2: a failure comes with a mend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aegis.adapters.executor_namespace import isolation_available
from support.images import layout, shell_layer


def test_r10_3_a_pipeline_runs_in_a_working_tree_without_a_server(tmp_path: Path) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text("hello: {script: [echo hello > out], artifacts: {paths: [out]}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "aegis", "run", "--json"], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    found = json.loads(done.stdout)
    assert (done.returncode, found["status"]) == (0, "success"), done.stderr
    assert (Path(found["jobs"][0]["artifacts"]) / "out").read_text() == "hello\n"
    assert sorted(one.name for one in tmp_path.iterdir()) == [".aegis", ".gitlab-ci.yml"]


@pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail)
def test_r10_3_a_job_runs_in_its_image_without_a_container_engine_or_not_at_all(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    digest = layout(tree / "images" / "tiny", shell_layer(), config={"Env": ["FLAVOUR=tiny"]})
    (tree / ".gitlab-ci.yml").write_text(
        "tiny:\n  image: oci:images/$WHICH:1\n  variables: {WHICH: tiny}\n"
        "  script: [cat /etc/os-release, echo $FLAVOUR > out, mkdir /made]\n"
        "  after_script: [test -d /made && echo still there]\n  artifacts: {paths: [out]}\n"
        "far: {image: 'registry.example.org/a/b:1', script: [echo never]}\n"
        "beside: {image: 'oci:images/tiny:1', services: [redis], script: [echo never]}\n"
        "not-there: {image: 'oci:images/other', script: [echo never]}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "aegis", "run", "--json"], cwd=tree, capture_output=True, timeout=60, check=False,
        env={**os.environ, "AEGIS_CACHE_DIR": str(tmp_path / "cache")},
    )  # fmt: skip
    jobs = {one["name"]: one for one in json.loads(done.stdout)["jobs"]}
    log = Path(jobs["tiny"]["log"]).read_text()
    assert (done.returncode, jobs["tiny"]["status"]) == (1, "success"), log
    assert "ID=tiny\n" in log
    assert "still there\n" in log
    assert digest in log
    assert (Path(jobs["tiny"]["artifacts"]) / "out").read_text() == "tiny\n"
    for name, why in (
        ("far", "does not fetch from"),
        ("beside", "the image redis cannot be used"),
        ("not-there", "there is no image"),
    ):
        assert (jobs[name]["status"], jobs[name]["failure_reason"]) == ("failed", "image_pull_failure")
        assert why in jobs[name]["message"]
        assert "--host-tools" in jobs[name]["message"]


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
