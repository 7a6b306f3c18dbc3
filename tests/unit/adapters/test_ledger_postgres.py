"""One writer at a time: the lease, its epoch, what a cut connection and an overtaken writer do."""

from __future__ import annotations

import threading

import pytest

from aegis.adapters.ledger_postgres import PostgresLedger, PostgresLedgerReader
from aegis.adapters.postgres_address import is_address, shown
from aegis.adapters.queue_postgres import PostgresQueue
from aegis.core.errors import Conflict, ExternalError, NotFound
from aegis.execution.ports import Lease
from aegis.ledger.chain import Verifier
from support.clock import FakeClock, SeededEntropy
from support.ledgers import MemoryBlobs, noted, started
from support.postgres import Postgres


def _opened(address: str, **more: object) -> PostgresLedger:
    return PostgresLedger(
        address, clock=FakeClock(), entropy=SeededEntropy(3), blobs=MemoryBlobs(), recorded_by="test", **more,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def address(postgres: Postgres) -> str:
    return postgres.database()


def test_a_second_writer_is_refused_by_the_name_of_the_first_and_let_in_after_it(address: str) -> None:
    with _opened(address, writer="server a") as first:
        with pytest.raises(Conflict, match="server a writes to the ledger") as caught:
            _opened(address)
        assert caught.value.code == "writer-taken"
        assert first.epoch == 1
        (one,) = first.append([started("1")])
    with _opened(address) as second:
        (two,) = second.append([started("1")], expect={"run/1": 1})
        assert (second.epoch, two.seq, two.prev, two.subject_version) == (2, 2, one.hash, 2)
        rows = second.rows()
    verifier = Verifier()
    verifier.feed(rows)
    assert verifier.finish().ok


def test_a_standby_waits_and_goes_on_where_the_first_ended(address: str) -> None:
    first = _opened(address, writer="server a")
    first.append([started("1")])
    told = threading.Event()
    opened: list[PostgresLedger] = []

    def wait(holder: str) -> bool:
        assert holder == "server a"
        told.set()
        return True

    thread = threading.Thread(target=lambda: opened.append(_opened(address, waiting=wait)))
    thread.start()
    assert told.wait(30)
    first.close()
    thread.join(30)
    with opened[0] as second:
        assert second.append([started("2")])[0].seq == 2


def test_a_cut_connection_is_made_anew_and_nothing_is_lost(postgres: Postgres, address: str) -> None:
    with _opened(address) as ledger:
        ledger.append([started("1")])
        assert postgres.drop_connections(address, "aegis writer") == 1
        with pytest.raises(ExternalError) as caught:
            ledger.append([started("2")], expect={"run/2": 0})
        assert caught.value.retryable
        ledger.append([started("2")], expect={"run/2": 0})
        assert [one.subject for one in ledger.read()] == ["run/1", "run/2"]
        assert ledger.epoch == 1


def test_a_writer_that_was_overtaken_writes_nothing_and_says_so(postgres: Postgres, address: str) -> None:
    first = _opened(address)
    lost: list[str] = []
    first.on_lost(lambda: lost.append("lost"))
    first.append([started("1")])
    postgres.drop_connections(address, "aegis writer")
    with _opened(address, writer="server b") as second:
        for _ in range(2):
            with pytest.raises(Conflict) as caught:
                first.append([started("9")])
            assert caught.value.code == "writer-lost"
        second.append([started("2")])
        assert [one.subject for one in second.read()] == ["run/1", "run/2"]
    assert lost
    first.close()


def test_an_epoch_that_was_raised_stops_a_writer_whose_session_still_lives(address: str) -> None:
    import psycopg

    with _opened(address) as ledger:
        ledger.append([started("1")])
        with psycopg.connect(address, autocommit=True) as other:
            other.execute("UPDATE aegis_ledger SET epoch = epoch + 1")
        with pytest.raises(Conflict) as caught:
            ledger.append([started("2")])
        assert caught.value.code == "writer-lost"
        assert ledger.reader.head().seq == 1


def test_a_server_with_another_data_directory_is_refused(address: str) -> None:
    _opened(address, stores="dir-1").close()
    _opened(address, stores="dir-1").close()
    with pytest.raises(Conflict) as caught:
        _opened(address, stores="dir-2")
    assert caught.value.code == "several-servers"
    assert "object store" in (caught.value.hint or "")


def test_many_threads_append_in_few_transactions_without_gaps(address: str) -> None:
    with _opened(address) as ledger:
        barrier = threading.Barrier(16)

        def work(number: int) -> None:
            barrier.wait()
            for count in range(5):
                ledger.append([started(f"{number}-{count}")])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rows = ledger.rows(limit=1000)
    assert [row.seq for row in rows] == list(range(1, 81))
    verifier = Verifier()
    verifier.feed(rows)
    assert verifier.finish().ok


def test_erased_data_leaves_the_table_and_the_chain_holds(address: str) -> None:
    with _opened(address) as ledger:
        ledger.append([noted("a secret remark"), noted("another", 2)])
        ledger.erase([1], reason="law", actor="ana")
        assert ledger.read()[0].data is None
        assert ledger.read()[1].data is not None
        with pytest.raises(Conflict):
            ledger.erase([3])
        with pytest.raises(NotFound):
            ledger.erase([99])
        verifier = Verifier()
        verifier.feed(ledger.rows())
        assert (verifier.finish().ok, verifier.finish().erased) == (True, 1)


def test_a_reader_of_an_empty_database_and_an_address_where_nothing_listens_say_so(address: str) -> None:
    with pytest.raises(NotFound):
        PostgresLedgerReader(address)
    with pytest.raises(ExternalError) as caught:
        PostgresLedgerReader("postgres://aegis:hidden-word@127.0.0.1:9/none")
    assert caught.value.code == "ledger-unreachable"
    assert "hidden-word" not in f"{caught.value.message}{caught.value.hint}"


def test_addresses() -> None:
    assert is_address("postgresql://db/aegis")
    assert not is_address("/var/lib/aegis")
    assert shown("postgres://a:word@db:5432/x") == "postgres://a@db:5432/x"


def test_the_queue_keeps_leases_and_the_bookmark_and_survives_a_cut_connection(
    postgres: Postgres, address: str
) -> None:
    queue = PostgresQueue(address)
    lease = Lease(job_id="j", run="r", runner="m", resumable=True, expires=12.5)
    queue.put(lease)
    queue.put(lease)
    queue.mark(7, ["r"])
    postgres.drop_connections(address, "aegis queue")
    with pytest.raises(ExternalError):
        queue.leases()
    assert (queue.leases(), queue.bookmark()) == ((lease,), (7, ("r",)))
    queue.remove("j")
    assert queue.leases() == ()
    queue.close()
