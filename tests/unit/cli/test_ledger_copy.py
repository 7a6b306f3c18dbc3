"""`aegis ledger copy`: to PostgreSQL and back, the chain verified, an interrupted copy continued, another ledger refused."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.adapters.ledger_postgres import CopyTarget, PostgresLedgerReader
from aegis.adapters.ledger_sqlite import SqliteLedgerReader
from aegis.bootstrap.ledger import address_of, open_ledger, open_writer
from aegis.bootstrap.ledger_copy import copy
from aegis.cli.ledger import ledger as command
from aegis.core.errors import Conflict, UserError
from support.clock import FakeClock, SeededEntropy
from support.ledgers import noted, opened, started
from support.postgres import Postgres


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    with opened(folder, blobs=DirectoryBlobs(folder / "blobs")) as ledger:
        ledger.append([started(str(number)) for number in range(40)])
        ledger.append([noted("y" * 50_000), noted("a remark", 2)])
        ledger.erase([3], reason="law", actor="ana")
    return folder


def _run(*arguments: str) -> dict[str, object]:
    done = CliRunner().invoke(command, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_a_ledger_moves_to_postgres_and_back_record_for_record(data: Path, postgres: Postgres) -> None:
    address = postgres.database()
    was = SqliteLedgerReader(data / "ledger.sqlite").rows()
    there = _run("copy", "--data", str(data), "--to", address)
    assert (there["copied"], there["records"], there["valid"]) == (43, 43, True)
    assert address_of(data) == address
    with contextlib.closing(PostgresLedgerReader(address)) as reader:
        assert reader.rows() == was
    assert _run("verify", "--data", str(data))["records"] == 43
    blobs = DirectoryBlobs(data / "blobs")
    with open_writer(
        data, "", clock=FakeClock(), entropy=SeededEntropy(5), blobs=blobs, waiting=lambda _: False
    ) as ledger:
        ledger.append([started("new")], expect={"run/new": 0})
    back = _run("copy", "--data", str(data), "--to", "file")
    assert (back["copied"], back["records"]) == (1, 44)
    assert address_of(data) == ""
    assert open_ledger(data).rows()[:43] == was
    assert _run("verify", "--data", str(data))["records"] == 44


def test_an_interrupted_copy_goes_on_and_another_ledger_is_refused(
    data: Path, tmp_path: Path, postgres: Postgres
) -> None:
    address = postgres.database()
    rows = SqliteLedgerReader(data / "ledger.sqlite").rows()
    with CopyTarget(address) as target:
        target.take(rows[:10])
    assert copy(data, address).records == 33
    other = tmp_path / "other"
    with opened(other, seed=9) as ledger:
        ledger.append([started("else")])
    with pytest.raises(Conflict) as caught:
        copy(other, address)
    assert caught.value.code in {"ledger-other", "several-servers"}


def test_what_is_there_already_or_names_no_ledger_is_refused(data: Path) -> None:
    for to in ("file", "/somewhere"):
        with pytest.raises(UserError):
            copy(data, to)


def test_a_ledger_in_a_file_is_not_left_behind_unnoticed(data: Path, postgres: Postgres) -> None:
    blobs = DirectoryBlobs(data / "blobs")
    with pytest.raises(UserError, match="holds a ledger in a file already") as caught:
        open_writer(
            data, postgres.database(), clock=FakeClock(), entropy=SeededEntropy(5), blobs=blobs, waiting=lambda _: False
        )
    assert "aegis ledger copy" in (caught.value.hint or "")


def test_a_running_writer_keeps_the_copy_out(data: Path, postgres: Postgres) -> None:
    with opened(data), pytest.raises(Conflict) as caught:
        copy(data, postgres.database())
    assert caught.value.code == "writer-taken"


KILLED = """
import os, signal, sys
from aegis.adapters.ledger_postgres import writer as database
from aegis.adapters.ledger_sqlite import writer as file
from aegis.bootstrap import ledger_copy
from pathlib import Path

target, name, number, when, data, to = sys.argv[1:7]
ledger_copy.PAGE = 10
owner = {"database": database.PostgresRows, "file": file.SqliteRows, "copy": ledger_copy}[target]
real, calls = getattr(owner, name), []

def dying(*arguments, **named):
    calls.append(1)
    if len(calls) == int(number) and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = real(*arguments, **named)
    if len(calls) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

setattr(owner, name, dying)
ledger_copy.copy(Path(data), to)
"""


@pytest.mark.soak
def test_a_copy_that_is_killed_anywhere_is_taken_up_and_loses_nothing(data: Path, postgres: Postgres) -> None:
    was = SqliteLedgerReader(data / "ledger.sqlite").rows()

    def killed(*arguments: object) -> None:
        done = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]

    address = postgres.database()
    for number, when in ((1, "before"), (1, "after"), (2, "before"), (3, "after")):
        killed("database", "commit", number, when, data, address)
        assert address_of(data) == "", "the file counts until the copy was verified"
    killed("copy", "keep_address", 1, "before", data, address)
    assert address_of(data) == ""
    assert (_run("copy", "--data", str(data), "--to", address)["copied"], address_of(data)) == (0, address)
    with contextlib.closing(PostgresLedgerReader(address)) as reader:
        assert reader.rows() == was
    (data / "ledger.sqlite").unlink()
    for number, when in ((1, "before"), (2, "after"), (2, "before")):
        killed("file", "commit", number, when, data, "file")
        assert address_of(data) == address, "the database counts until the copy was verified"
    assert _run("copy", "--data", str(data), "--to", "file")["records"] == len(was)
    assert SqliteLedgerReader(data / "ledger.sqlite").rows() == was
