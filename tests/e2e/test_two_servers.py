"""Two servers on one ledger in PostgreSQL: one writes, the other stands by; when the first is killed the second goes on."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from support.postgres import Postgres
from support.server import DECLARATION, TeamServer, aegis

SECONDS = 10.0
"""How long nobody may answer; on a busy machine the bound of the test is thrice that."""


def test_one_of_two_servers_is_killed_and_the_other_answers_and_nothing_is_lost(
    tmp_path: Path, postgres: Postgres
) -> None:
    declaration = f"{DECLARATION}\nledger: {{postgres: '{postgres.database()}'}}\n"
    first = TeamServer(root=tmp_path / "first", declaration=declaration).start()
    second = TeamServer(root=tmp_path / "second", declaration=declaration)
    second.root.mkdir()
    (second.root / "data").symlink_to(first.data, target_is_directory=True)
    starting = threading.Thread(target=second.start)
    starting.start()
    try:
        log = first.job_log("team/tools", {".gitlab-ci.yml": "look: {script: [echo from the first]}\n"}, "look")
        assert "from the first" in log
        while "standby:" not in second.log:
            assert starting.is_alive(), second.log
            time.sleep(0.02)
        before = first.head()
        first.kill()
        begun = time.monotonic()
        starting.join(60)
        seconds = time.monotonic() - begun
        assert seconds < 3 * SECONDS
        sys.stderr.write(f"the other server answered {seconds:.1f} s after the kill\n")
        records = second.ledger()
        assert len(records) >= before
        epochs = [one["data"]["epoch"] for one in records if one["type"] == "aegis.server.started"]
        assert epochs == [1, 2]
        assert any(one["type"] == "dev.cdevents.pipelinerun.finished" for one in records)
        verified = aegis("ledger", "verify", "--data", str(first.data), "--json")
        assert json.loads(verified.stdout)["valid"], verified.stdout
        second.people, second.trees = {}, {}
        again = second.job_log("team/web", {".gitlab-ci.yml": "look: {script: [echo from the second]}\n"}, "look")
        assert "from the second" in again
    finally:
        if first.process and first.process.poll() is None:
            first.kill()
        starting.join(60)
        if second.process and second.process.poll() is None:
            assert second.stop() == 0
    assert "Traceback" not in second.log


def test_a_server_with_another_data_directory_is_refused(tmp_path: Path, postgres: Postgres) -> None:
    address = postgres.database()
    config = tmp_path / "aegis.yaml"
    config.write_text(DECLARATION)
    one = TeamServer(root=tmp_path / "one", declaration=f"{DECLARATION}\nledger: {{postgres: '{address}'}}\n")
    one.start()
    try:
        done = aegis(
            "up", "--config", str(config), "--data", str(tmp_path / "other"), "--port", "0", "--ledger", address
        )
    finally:
        one.stop()
    assert done.returncode == 5
    assert "belongs to a server with another data directory" in done.stderr
    assert "object store, GitLab and Kubernetes" in done.stderr
