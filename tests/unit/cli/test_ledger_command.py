"""`aegis ledger` on a data directory, beside a running writer or without one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aegis.adapters.anchors_file import AnchorFile
from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.adapters.ledger_sqlite import SqliteLedger
from aegis.bootstrap.ledger import CHECKPOINTS_FILE, KEY_FILE
from aegis.cli.root import run
from aegis.ledger.checkpoints import sign
from support.clock import FakeClock
from support.ledgers import FreshSigner, noted, opened, started


class Answer:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


Aegis = Callable[..., Answer]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def ledger(data: Path) -> Iterator[SqliteLedger]:
    clock = FakeClock()
    with opened(data, clock=clock, blobs=DirectoryBlobs(data / "blobs")) as ledger:
        ledger.append([started("1", service="orders", environment="staging"), started("2")])
        clock.advance(3600)
        ledger.append([noted("line one\n" + "x" * 20_000)])
        yield ledger


@pytest.fixture
def aegis(capsys: pytest.CaptureFixture[str]) -> Aegis:
    def call(*arguments: str) -> Answer:
        code = 0
        try:
            run(["ledger", *arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


@pytest.mark.usefixtures("ledger")
def test_show_tells_the_newest_oldest_first_while_a_writer_runs(data: Path, aegis: Aegis) -> None:
    answer = aegis("show", "--data", str(data), "--limit", "2")
    assert answer.code == 0
    assert answer.out.index("run/2") < answer.out.index("merge-request/shop/orders/1")
    assert "run/1" not in answer.out
    assert "more with --limit" in answer.out


@pytest.mark.usefixtures("ledger")
def test_show_filters_and_answers_json(data: Path, aegis: Aegis) -> None:
    found = aegis("show", "--data", str(data), "--service", "orders", "--json").json()
    assert found["schema"] == "aegis.ledger.show/1"
    assert [one["subject"] for one in found["records"]] == ["run/1"]
    since = (FakeClock().now() + timedelta(minutes=30)).isoformat()
    lines = aegis("show", "--data", str(data), "--since", since, "--json-lines").out.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [3]


@pytest.mark.usefixtures("ledger")
def test_show_says_why_there_is_nothing(data: Path, aegis: Aegis, tmp_path: Path) -> None:
    assert "none of the 3 records match" in aegis("show", "--data", str(data), "--service", "nobody").out
    opened(tmp_path / "fresh").close()
    assert "nothing has happened yet" in aegis("show", "--data", str(tmp_path / "fresh")).out


def test_a_missing_ledger_and_a_wrong_time_are_said_with_their_mend(aegis: Aegis, tmp_path: Path) -> None:
    answer = aegis("show", "--data", str(tmp_path), "--json")
    assert (answer.code, answer.json()["error"]["code"]) == (4, "no-ledger")
    answer = aegis("show", "--since", "yesterday")
    assert answer.code == 2
    assert "2h" in answer.err


@pytest.mark.usefixtures("ledger")
def test_verify_passes_and_warns_that_a_cut_tail_would_not_show(data: Path, aegis: Aegis) -> None:
    answer = aegis("verify", "--data", str(data))
    assert answer.code == 0
    assert "3 records hold together" in answer.out
    assert "no checkpoint to compare with" in answer.out


def test_verify_names_the_first_bad_record_and_leaves_with_1(ledger: SqliteLedger, data: Path, aegis: Aegis) -> None:
    ledger._store._database.execute("UPDATE records SET actor = 'eve' WHERE seq = 2")
    answer = aegis("verify", "--data", str(data))
    assert answer.code == 1
    assert "record 2: its header is not what was hashed" in answer.out
    found = aegis("verify", "--data", str(data), "--json").json()
    assert (found["valid"], found["fault"]["seq"], found["fault"]["code"]) == (False, 2, "hash")


def test_verify_compares_with_signed_checkpoints(ledger: SqliteLedger, data: Path, aegis: Aegis) -> None:
    signer = FreshSigner()
    (data / KEY_FILE).write_text(signer.public_key(), encoding="ascii")
    anchor = AnchorFile(data / CHECKPOINTS_FILE)
    anchor.append(sign(ledger.head(), origin="shop", at=FakeClock().now(), signer=signer))
    assert "1 signed checkpoints agree" in aegis("verify", "--data", str(data)).out
    ledger._store._database.execute("DELETE FROM records WHERE seq = 3")
    answer = aegis("verify", "--data", str(data))
    assert answer.code == 1
    assert "a checkpoint vouches for record 3" in answer.out


def test_verify_fails_where_a_checkpoint_is_forged(ledger: SqliteLedger, data: Path, aegis: Aegis) -> None:
    (data / KEY_FILE).write_text(FreshSigner().public_key(), encoding="ascii")
    anchor = AnchorFile(data / CHECKPOINTS_FILE)
    anchor.append(sign(ledger.head(), origin="shop", at=FakeClock().now(), signer=FreshSigner()))
    answer = aegis("verify", "--data", str(data))
    assert answer.code == 1
    assert "checkpoint-forged" in answer.err


@pytest.mark.usefixtures("ledger")
def test_an_export_is_whole_and_verifies_elsewhere(data: Path, aegis: Aegis, tmp_path: Path) -> None:
    out = tmp_path / "export.jsonl"
    assert "verify it anywhere" in aegis("export", "--data", str(data), "--out", str(out)).out
    answer = aegis("verify", str(out), "--json")
    assert (answer.code, answer.json()["records"]) == (0, 3)
    rest = tmp_path / "rest.jsonl"
    aegis("export", "--data", str(data), "--out", str(rest), "--after", "2", "--json")
    assert "begins at record 3" in aegis("verify", str(rest)).out
    out.write_bytes(out.read_bytes()[:-200])
    assert aegis("verify", str(out)).code in (1, 2)
    assert [file.name for file in tmp_path.glob("*.part")] == []


@pytest.mark.usefixtures("ledger")
def test_an_export_goes_to_the_screen_as_the_same_lines(data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from aegis.cli import main; main()", "ledger", "export", "--data", str(data)],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [next(iter(line)) for line in lines] == ["first", "record", "record", "record", "last"]


def test_help_begins_with_two_examples(aegis: Aegis) -> None:
    for command in ([], ["show"], ["verify"], ["export"]):
        text = aegis(*command, "--help").out
        assert text.split("Examples:")[1].split("\n\n")[0].count("\n    aegis ledger") == 2
