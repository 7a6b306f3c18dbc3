"""What goes wrong is said in a sentence with its mend and an exit code; nothing prints a traceback, nothing leaks."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.server import DECLARATION, TeamServer, aegis, alive, children, gone, is_type, team


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamServer]:
    with team(tmp_path_factory.mktemp("wrong") / "server") as running:
        yield running


def declared(folder: Path, text: str = DECLARATION) -> str:
    """A declaration on disk."""
    (folder / "aegis.yaml").write_text(text)
    return str(folder / "aegis.yaml")


def said(done: object) -> dict[str, str]:
    """The one error of a command with `--json`-less output: its text, free of tracebacks."""
    text = done.stdout + done.stderr  # type: ignore[attr-defined]
    assert "Traceback" not in text, text
    return {"text": text}


def test_a_taken_port_is_said_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = aegis("up", "--config", declared(tmp_path), "--data", str(tmp_path / "data"), "--port", str(port))
    assert done.returncode == 5
    assert f"127.0.0.1:{port}" in said(done)["text"]
    assert "--port 0" in done.stderr


def test_a_second_server_on_the_same_data_is_refused_and_the_first_goes_on(server: TeamServer) -> None:
    config = str(server.root / "platform" / "aegis.yaml")
    done = aegis("up", "--config", config, "--data", str(server.data), "--port", "0")
    assert done.returncode == 5
    assert "writer-taken" in said(done)["text"] or "another" in done.stderr
    assert server.as_("operator").healthy()
    assert (server.data / "server.json").exists()


def test_a_data_directory_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    done = aegis("up", "--config", declared(tmp_path), "--data", str(tmp_path / "data"), "--port", "0")
    assert done.returncode in (2, 6)
    assert "chmod 700" in said(done)["text"]


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("version: 1\nname: [Team\nowners: []\n", 3, ""),
        (
            DECLARATION.replace("services:", "servicse:"),
            DECLARATION[: DECLARATION.index("services:")].count("\n") + 1,
            "servicse",
        ),
        (DECLARATION.replace("source: staging", "source: stagin"), 0, "stagin"),
        ("", 0, "version"),
    ],
    ids=["not-yaml", "unknown-key", "unknown-environment", "empty"],
)
def test_a_broken_declaration_is_refused_with_its_place(tmp_path: Path, text: str, line: int, word: str) -> None:
    done = aegis("up", "--config", declared(tmp_path, text), "--data", str(tmp_path / "data"), "--port", "0")
    assert done.returncode == 2
    assert word in said(done)["text"]
    assert "aegis.yaml" in done.stderr
    if line:
        assert f"aegis.yaml:{line}" in done.stderr
    assert not (tmp_path / "data" / "server.json").exists()


def test_unknown_services_environments_and_releases_are_named(server: TeamServer) -> None:
    for arguments, word in (
        (("promote", "wbe", "production", "--yes"), "wbe"),
        (("promote", "web", "prodution", "--yes"), "prodution"),
        (("rollback", "wbe", "production", "--yes"), "wbe"),
        (("status", "wbe"), "wbe"),
        (("approve", "no-such-promotion", "--yes"), "no-such-promotion"),
        (("logs", "no-such-run", "job"), "no-such-run"),
    ):
        done = aegis(*arguments, "--data", str(server.data))
        assert done.returncode == 4, (arguments, done.stderr)
        assert word in said(done)["text"]


def test_a_wrong_token_is_refused_without_telling_more(server: TeamServer) -> None:
    wrong = "aegis_" + "x" * 40
    done = aegis("status", AEGIS_URL=server.url, AEGIS_TOKEN=wrong)
    assert done.returncode == 3
    assert wrong not in said(done)["text"]
    assert "aegis login" in done.stderr
    done = aegis("status", "--json", AEGIS_URL=server.url, AEGIS_TOKEN=wrong)
    assert done.returncode == 3
    assert json.loads(done.stdout or done.stderr)["error"]["hint"]


def test_without_a_server_the_way_to_one_is_said(tmp_path: Path) -> None:
    for more in ({}, {"AEGIS_URL": "http://127.0.0.1:9", "AEGIS_TOKEN": "t"}):
        done = aegis("status", at=tmp_path, **more)
        assert done.returncode == 6
        assert "aegis up" in said(done)["text"]


def test_a_broken_pipeline_is_refused_with_its_line_and_an_entry_in_the_inbox(server: TeamServer) -> None:
    tree = server.tree("team/tools", {"README.md": "tools\n"}, by="ana")
    since = server.head()
    server.commit(
        "team/tools", {".gitlab-ci.yml": "job:\n  script: [true]\n  scirpt: [x]\n"}, by="ana", message="feat: typo"
    )
    assert tree.push("typo", server.person("ana"))[0]
    refused = server.wait("the refusal", is_type("aegis.run.refused"), since=since)
    assert ".gitlab-ci.yml:" in refused["data"]["message"]
    assert refused["data"]["hint"] or "script" in refused["data"]["message"]
    entries = [one for one in server.as_("ana").get("inbox") if one["project"] == "team/tools"]
    assert len(entries) == 1
    server.commit("team/tools", {".gitlab-ci.yml": "job: [\n"}, by="ana", message="feat: no yaml")
    since = refused["seq"]
    assert tree.push("typo", server.person("ana"))[0]
    refused = server.wait("the refusal", is_type("aegis.run.refused"), since=since)
    assert ".gitlab-ci.yml:" in refused["data"]["message"]
    again = [one for one in server.as_("ana").get("inbox") if one["project"] == "team/tools"]
    assert [one["key"] for one in again] == [one["key"] for one in entries], "updated, not repeated"


def test_a_job_that_forks_and_hides_dies_with_its_job(server: TeamServer) -> None:
    mark = f"4{int(time.time())}"
    script = f"setsid sh -c 'trap \"\" TERM HUP; sleep {mark}' >/dev/null 2>&1 &\nsetsid nohup sleep {mark} >/dev/null 2>&1 &\necho away\n"
    log = server.job_log(
        "team/tools", {".gitlab-ci.yml": "hide: {script: [sh ./hide.sh]}\n", "hide.sh": script}, "hide"
    )
    assert "away" in log
    assert not [
        entry for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and mark.encode() in _command(entry) and alive(int(entry.name))
    ]  # fmt: skip


def _command(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_line_of_ten_megabytes_neither_stops_the_job_nor_the_server(server: TeamServer) -> None:
    script = "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo after\n"
    started = time.monotonic()
    log = server.job_log(
        "team/tools", {".gitlab-ci.yml": "long: {script: [sh ./long.sh]}\n", "long.sh": script}, "long"
    )
    assert log
    home = server.as_("operator").get("runs", project="team/tools", limit=1)
    assert home[0]["state"] == "success"
    run = home[0]["id"]
    tail = aegis("logs", run, "long", "--data", str(server.data))
    assert tail.returncode == 0, tail.stderr[-2000:]
    assert "after" in tail.stdout[-2000:]
    assert "\x1b" not in tail.stdout
    assert "section_start:" not in tail.stdout
    assert "x" * 10_000_000 in tail.stdout
    assert time.monotonic() - started < 60


def test_a_job_that_prints_its_token_shows_a_mask(server: TeamServer) -> None:
    script = (
        "import os, base64\n"
        "token = os.environ['CI_JOB_TOKEN']\n"
        "print('reversed', token[::-1])\n"
        "print('plain', token)\n"
        "print('quoted', repr(token), token + 'x')\n"
        "for part in (token[: len(token) // 2], token[len(token) // 2 :]):\n"
        "    print(part, end='', flush=True)\n"
        "print()\n"
    )
    log = server.job_log(
        "team/tools", {".gitlab-ci.yml": "show: {script: [python3 show.py, env]}\n", "show.py": script}, "show"
    )
    token = next(line.split()[1] for line in log.splitlines() if line.startswith("reversed "))[::-1]
    assert len(token) > 30
    assert token not in log
    assert "plain [MASKED]" in log
    assert "CI_JOB_TOKEN=[MASKED]" in log
    assert token not in json.dumps(server.ledger())
    assert token not in server.log


def test_sigterm_in_the_middle_of_a_job_ends_everything_and_leaves_no_process(tmp_path: Path) -> None:
    with team(tmp_path / "server") as server:
        server.service()
        server.proposed()
        since = server.head()
        server.push("team/web", "slow", {"job.sh": "sleep 600\n"}, by="ana", start="main")
        server.wait("the job", is_type("dev.cdevents.taskrun.started"), since=since)
        assert server.process is not None
        below = children(server.process.pid)
        assert len(below) >= 3
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 45
        assert not gone(below, 5.0)
        assert not (server.data / "server.json").exists()
        assert server.ledger()[-1]["type"] == "aegis.server.stopped"
        server.verify()


def test_ctrl_c_ends_a_server_as_sigterm_does(tmp_path: Path) -> None:
    with team(tmp_path / "server") as server:
        assert server.stop(signal.SIGINT) in (0, 130)
        assert server.ledger()[-1]["type"] == "aegis.server.stopped"
