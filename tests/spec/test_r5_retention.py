"""R5 Logs are kept for the declared time and no longer, on a running server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aegis.core.errors import NotFound
from support.server import DECLARATION, aegis, team

PIPELINE = """
keep:
  script: [echo 'something to keep', mkdir out, date +%s%N > out/file]
  artifacts: {paths: [out]}
"""


def test_logs_and_files_go_once_their_time_is_over_and_the_ledger_says_so(tmp_path: Path) -> None:
    with team(tmp_path / "server", f"{DECLARATION}retention: {{logs: 1ms}}\n") as server:
        assert "something to keep" in server.job_log("team/tools", {".gitlab-ci.yml": PIPELINE}, "keep")
        finished = next(one for one in server.ledger() if one["type"] == "dev.cdevents.taskrun.finished")
        job, run = finished["data"]["job"], finished["subject"].partition("/")[2]
        files = [job["trace"]["digest"], *(one["digest"] for one in job["files"])]
        paths = [server.data / "blobs" / one[:6] / one[7:9] / one[7:] for one in files]
        assert [one[:6] for one in files] == ["sha256", "sha512"]
        assert all(path.exists() for path in paths)

        def retention(*words: str) -> str:
            token = server.person("olga").token
            done = aegis("registry", "retention", *words, "--url", server.url, "--json", AEGIS_TOKEN=token)
            assert done.returncode == 0, done.stderr
            said: str = json.loads(done.stdout)["message"]
            return said

        assert "would delete logs: 3 files of 1 runs" in retention("--dry-run")
        assert all(path.exists() for path in paths)
        assert "deleted logs: 3 files of 1 runs" in retention()
        assert not any(path.exists() for path in paths)
        with pytest.raises(NotFound, match="past its time"):
            server.as_("operator").trace(run, "keep")
        written = [one for one in server.ledger() if one["type"] == "aegis.retention.carried-out"]
        assert [one["data"]["files"] for one in written if one["data"]["kind"] == "logs"] == [3]
        assert "deleted logs: 0 files of 0 runs" in retention()
