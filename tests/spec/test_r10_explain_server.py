"""R10.2 on a running server: a failure is compared with the last good run, and a waiting job says for what it waits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.server import TeamServer, is_type

PIPELINE = """
check: {variables: {MODE: %s}, script: ['echo "mode $MODE"; test $MODE = fast']}
later: {when: manual, allow_failure: true, needs: [], script: [echo later]}
"""


def _run(running: TeamServer, mode: str) -> str:
    since = running.head()
    running.job_log("team/tools", {".gitlab-ci.yml": PIPELINE % mode}, "check")
    return str(running.wait("its end", is_type("dev.cdevents.pipelinerun.finished"), since=since)["data"]["run"])


def test_r10_2_a_failure_is_compared_with_the_last_good_run_and_a_waiting_job_says_why(running: TeamServer) -> None:
    good, bad = _run(running, "fast"), _run(running, "slow")
    server = running.as_("operator")
    causes: list[dict[str, Any]] = server.get(f"runs/{bad}")["causes"]
    assert causes[0]["job"] == "check"
    assert causes[0]["code"] == "changed-variable"
    assert causes[0]["evidence"] == ["variable MODE fast → slow"]
    assert good in causes[0]["message"]
    found = server.get(f"runs/{bad}/why", job="later")
    assert (found["state"], [one["code"] for one in found["reasons"]]) == ("manual", ["manual"])
    assert server.get(f"runs/{bad}/why", job="check")["reasons"] == []


def test_r10_3_a_local_run_is_compared_with_the_servers_run_of_the_same_commit(
    running: TeamServer, tmp_path: Path
) -> None:
    run = _run(running, "slow")
    (tmp_path / ".gitlab-ci.yml").write_text(PIPELINE % "fast")
    command = [sys.executable, "-m", "aegis", "run", "--json", "--compare", run, "--data", str(running.data)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    compared = json.loads(done.stdout)["compared"]
    found = {(one["job"], one["what"]): (one["here"], one["there"]) for one in compared["differences"]}
    assert found["check", "state"] == ("success", "failed")
    assert found["check", "variable MODE"] == ("fast", "slow")
    assert [one["job"] for one in compared["durations"]] == ["check"]
    assert (compared["commit"]["same"], compared["files"]) == (False, None)
