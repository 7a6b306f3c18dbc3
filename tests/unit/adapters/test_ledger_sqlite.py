"""What only the SQLite ledger promises: one writer, durability under SIGKILL and a full disk, erasure, quick opening."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from aegis.adapters.ledger_sqlite import SqliteLedger, SqliteLedgerReader
from aegis.adapters.ledger_sqlite.reader import statement
from aegis.core.errors import Conflict, ExternalError, NotFound
from aegis.core.ports import Query
from aegis.ledger.chain import Place, verify
from support.ledgers import MemoryBlobs, noted, opened, started

CHILD = """
import resource, sys
from pathlib import Path
from aegis.adapters.clock_system import SystemClock, SystemEntropy
from aegis.adapters.ledger_sqlite import SqliteLedger
from aegis.core.errors import AegisError
from aegis.core.events import Draft, RunStarted

def draft(number):
    return Draft(subject=f"run/{number % 7}", actor="child", data=RunStarted(run=str(number)))

ledger = SqliteLedger(
    Path(sys.argv[1]) / "ledger.sqlite", clock=SystemClock(), entropy=SystemEntropy(), blobs=None, recorded_by="child"
)
"""


def child(folder: Path, body: str) -> subprocess.Popen[str]:
    script = CHILD + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_after_kill_9_nothing_acknowledged_is_lost_and_the_chain_holds(tmp_path: Path) -> None:
    process = child(
        tmp_path,
        """
        import threading
        def work(first):
            for number in range(first, first + 1_000_000):
                for record in ledger.append([draft(number), draft(number + 1)]):
                    sys.stdout.write(f"{record.seq} {record.hash}\\n")
                    sys.stdout.flush()
        for first in range(4):
            threading.Thread(target=work, args=(first,), daemon=True).start()
        threading.Event().wait()
        """,
    )
    assert process.stdout is not None
    acknowledged: dict[int, str] = {}
    for line in process.stdout:
        seq, _, digest = line.strip().partition(" ")
        if len(acknowledged) == 400:
            os.kill(process.pid, signal.SIGKILL)
        if len(digest) == 71:  # the last line may be torn
            acknowledged[int(seq)] = digest
    process.communicate()
    assert len(acknowledged) >= 400
    with opened(tmp_path) as ledger:
        rows = ledger.rows(limit=1_000_000)
        assert verify(rows).ok
        kept = {row.seq: row.hash for row in rows}
        assert {seq: kept.get(seq) for seq in acknowledged} == acknowledged
        assert ledger.append([started("after")])[0].seq == len(rows) + 1


def test_a_full_disk_refuses_whole_appends_and_the_writer_lives_on(tmp_path: Path) -> None:
    process = child(
        tmp_path,
        """
        ledger.append([draft(0)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        written, code = 0, ""
        while not code:
            try:
                ledger.append([draft(number) for number in range(50)])
                written += 50
            except AegisError as error:
                code = f"{type(error).__name__} {error.code}"
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        again = ledger.append([draft(1)])[0].seq
        print(written, again, code)
        ledger.close()
        """,
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    written, again, *code = out.split()
    assert code in (["ExternalError", "disk-full"], ["ExternalError", "ledger-failed"])
    assert int(again) == int(written) + 2
    with opened(tmp_path) as ledger:
        assert verify(ledger.rows(limit=100_000)).ok
        assert ledger.head().seq == int(again)


def test_a_second_writer_is_refused_with_the_first_ones_process(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(Conflict) as caught:
        opened(tmp_path)
    assert caught.value.code == "writer-taken"
    assert caught.value.exit_code == 5
    assert str(os.getpid()) in caught.value.message
    with opened(tmp_path) as again:
        assert again.head().seq == 0


def test_a_writer_in_another_process_is_seen_too(tmp_path: Path) -> None:
    process = child(tmp_path, "print('ready', flush=True); sys.stdin.read()")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with pytest.raises(Conflict, match=str(process.pid)):
        opened(tmp_path)
    process.kill()
    process.communicate()
    opened(tmp_path).close()


def test_a_conflict_fails_only_its_own_submission(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        outcomes: list[str] = []

        def attempt(number: int) -> None:
            try:
                ledger.append([started(str(number))], expect={f"run/{number}": number % 2})
                outcomes.append("ok")
            except Conflict:
                outcomes.append("conflict")

        threads = [threading.Thread(target=attempt, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (outcomes.count("ok"), outcomes.count("conflict")) == (10, 10)
        assert verify(ledger.rows()).ok


def test_data_beyond_16_kib_lies_in_the_blob_store_and_goes_with_a_conflict(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    with opened(tmp_path, blobs=blobs) as ledger:
        ledger.append([noted("x" * 16_000), noted("x" * 17_000)])
        assert [row.place for row in ledger.rows()] == [Place.ROW, Place.BLOB]
        with pytest.raises(Conflict):
            ledger.append([noted("y" * 17_000)], expect={"merge-request/shop/orders/1": 0})
        assert list(blobs.kept) == [ledger.rows()[1].data_digest]
        assert ledger.reader.outside() == set(blobs.kept)


def test_large_data_without_a_blob_store_is_refused(tmp_path: Path) -> None:
    from support.clock import FakeClock, SeededEntropy

    path = tmp_path / "ledger.sqlite"
    with SqliteLedger(path, clock=FakeClock(), entropy=SeededEntropy(), blobs=None, recorded_by="t") as ledger:
        with pytest.raises(ExternalError, match="no blob store"):
            ledger.append([noted("x" * 20_000)])
        assert ledger.head().seq == 0


def test_erasing_takes_salt_and_data_from_the_disk_and_leaves_the_chain_whole(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    secret = "forget-me-" * 3
    with opened(tmp_path, blobs=blobs) as ledger:
        ledger.append([noted(secret), noted(secret + "x" * 20_000), started("1")])
        (erased,) = ledger.erase([1, 2], reason="law", actor="ana")
        assert (erased.subject, erased.actor) == ("ledger", "ana")
        assert ledger.erase([1, 2]) == ()
        assert blobs.kept == {}
        assert [record.data for record in ledger.read(limit=2)] == [None, None]
        assert verify(ledger.rows()).ok
        on_disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert secret.encode() not in on_disk
    with opened(tmp_path) as ledger:
        assert verify(ledger.rows()).erased == 2


def test_an_erasure_that_was_interrupted_before_its_blob_is_finished_by_asking_again(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    with opened(tmp_path, blobs=blobs) as ledger:
        ledger.append([noted("x" * 20_000)])
        kept = dict(blobs.kept)
        ledger.erase([1])
        blobs.kept.update(kept)
        ledger.erase([1])
        assert blobs.kept == {}


def test_an_erasure_cannot_itself_be_erased_and_an_unknown_record_is_not_found(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.append([started("1"), started("2")])
        ledger.erase([1])
        with pytest.raises(Conflict) as caught:
            ledger.erase([2, 3])
        assert caught.value.code == "erasure-kept"
        with pytest.raises(NotFound):
            ledger.erase([2, 99])
        assert [row.place for row in ledger.rows()] == [Place.ERASED, Place.ROW, Place.ROW]


def test_a_reader_beside_the_writer_sees_what_is_durable_and_cannot_write(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.append([started("1")])
        reader = SqliteLedgerReader(tmp_path / "ledger.sqlite")
        assert reader.head() == ledger.head()
        ledger.append([started("2")])
        assert reader.read() == ledger.read()
        reader.close()
        with pytest.raises(ExternalError, match="closed"):
            reader.head()


def test_a_closed_ledger_refuses_and_closing_twice_is_fine(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.append([started("1")])
    ledger.close()
    ledger.close()
    with pytest.raises(ExternalError, match="closed"):
        ledger.append([started("2")])


def test_no_ledger_and_something_else_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        SqliteLedgerReader(tmp_path / "ledger.sqlite")
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database at all, but long enough to be taken for one" * 50)
    with pytest.raises(ExternalError, match="damaged"):
        opened(tmp_path)
    (tmp_path / "ledger.sqlite").unlink()
    database = sqlite3.connect(tmp_path / "ledger.sqlite")
    database.execute("CREATE TABLE something (other)")
    database.close()
    with pytest.raises(ExternalError, match="something else"):
        opened(tmp_path)


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    opened(tmp_path / "data").close()
    assert (tmp_path / "data" / "ledger.sqlite").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (Query(subjects=("run/1",)), "by_subject"),
        (Query(types=("a", "b"), newest_first=True), "by_type"),
        (Query(project="shop/orders"), "by_project"),
        (Query(service="orders", environment="production", newest_first=True), "by_service"),
        (Query(environment="production"), "by_environment"),
        (Query(subjects=("run/1",), project="shop/orders", types=("a",)), "by_subject"),
        (Query(types=("a",), service="orders"), "by_type"),
    ],
)
def test_queries_go_through_an_index_and_never_sort(tmp_path: Path, query: Query, index: str) -> None:
    opened(tmp_path).close()
    sql, values = statement(query, 0, 10)
    database = sqlite3.connect(tmp_path / "ledger.sqlite")
    plan = " / ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", values))
    database.close()
    assert index in plan
    assert "SCAN records" not in plan
    assert "TEMP B-TREE" not in plan or len(query.types) > 1


def test_very_many_subjects_are_one_query(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.append([started(str(number)) for number in range(700)])
        wanted = tuple(f"run/{number}" for number in range(0, 700, 2))
        assert len(ledger.read(limit=1000, query=Query(subjects=wanted))) == 350


def test_a_full_disk_is_said_to_be_one_with_its_mend(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.append([started("1")])
        (pages,) = ledger._store._database.execute("PRAGMA page_count").fetchone()
        ledger._store._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(ExternalError) as caught:
            ledger.append([noted("x" * 15_000, number) for number in range(20)])
        assert (caught.value.code, caught.value.retryable) == ("disk-full", True)
        assert "free space" in caught.value.hint
        ledger._store._database.execute("PRAGMA max_page_count = 1000000")
        assert ledger.append([started("2")])[0].seq == 2
        assert verify(ledger.rows()).ok
