"""R10.2 on a running server: a failure is compared with the last good run, and a waiting job says for what it waits."""

from __future__ import annotations

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
