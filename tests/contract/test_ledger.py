"""The contract of the `Ledger` port, for every adapter, bare and behind a wrapper that loses answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from aegis.adapters.ledger_postgres import PostgresLedger
from aegis.core.errors import Conflict, ExternalError
from aegis.core.events import Draft, RunFinished, RunStarted
from aegis.core.ports import Ledger, Query
from aegis.core.types import State
from aegis.ledger.chain import GENESIS
from support.clock import FakeClock, SeededEntropy
from support.faulty import Fault, Faulty
from support.ledgers import MemoryBlobs, noted, opened, started
from support.postgres import Postgres


class LedgerContract:
    """Inherit it and give a `ledger` fixture and a `clock` that it reads."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    def test_an_empty_ledger_has_a_head_of_zero_and_answers_nothing(self, ledger: Ledger) -> None:
        assert (ledger.head().seq, ledger.head().hash) == (0, GENESIS)
        assert ledger.read() == ()
        assert ledger.subject("run/1") == ()

    def test_what_was_appended_is_read_back_in_order_without_gaps(self, ledger: Ledger) -> None:
        first = ledger.append([started("1", project="shop/orders"), started("2")])
        second = ledger.append([started("1")])
        assert ledger.read() == (*first, *second)
        assert [one.seq for one in ledger.read()] == [1, 2, 3]
        assert [one.subject_version for one in ledger.read()] == [1, 1, 2]
        assert ledger.head().hash == second[-1].hash

    def test_every_record_names_the_hash_of_the_one_before(self, ledger: Ledger) -> None:
        ledger.append([started(str(number)) for number in range(5)])
        records = ledger.read()
        assert [one.prev for one in records] == [GENESIS, *(one.hash for one in records[:-1])]
        assert len({one.id for one in records}) == 5

    def test_a_record_carries_what_the_draft_said_and_when_and_by_whom(self, ledger: Ledger, clock: FakeClock) -> None:
        draft = Draft(
            subject="run/9",
            actor="ana",
            project="shop/orders",
            service="orders",
            environment="staging",
            cause="01cause",
            data=RunFinished(run="9", state=State.SUCCESS, reused=2),
        )
        (record,) = ledger.append([draft])
        assert record == ledger.subject("run/9")[0]
        assert (record.actor, record.project, record.service) == ("ana", "shop/orders", "orders")
        assert (record.environment, record.cause, record.recorded_at) == ("staging", "01cause", clock.now())
        assert (record.type, record.version, record.data) == ("dev.cdevents.pipelinerun.finished", 1, draft.data)

    def test_an_expected_version_that_holds_lets_the_events_in(self, ledger: Ledger) -> None:
        ledger.append([started("1")], expect={"run/1": 0})
        ledger.append([started("1")], expect={"run/1": 1, "run/2": 0})
        assert len(ledger.subject("run/1")) == 2

    def test_a_subject_that_has_moved_is_a_conflict_and_nothing_is_written(self, ledger: Ledger) -> None:
        ledger.append([started("1")])
        with pytest.raises(Conflict) as caught:
            ledger.append([started("2"), started("1")], expect={"run/1": 0})
        assert caught.value.code == "subject-moved"
        assert "run/1 is at version 1, not 0" in caught.value.message
        assert ledger.head().seq == 1
        assert ledger.subject("run/2") == ()

    def test_of_many_that_expect_the_same_exactly_one_wins(self, ledger: Ledger) -> None:
        outcomes: list[str] = []
        barrier = threading.Barrier(8)

        def attempt() -> None:
            barrier.wait()
            try:
                ledger.append([started("1")], expect={"run/1": 0})
                outcomes.append("won")
            except Conflict:
                outcomes.append("lost")

        threads = [threading.Thread(target=attempt) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["lost"] * 7 + ["won"]
        assert ledger.head().seq == 1

    def test_large_data_comes_back_like_small_data(self, ledger: Ledger) -> None:
        (record,) = ledger.append([noted("x" * 50_000)])
        assert ledger.read() == (record,)

    def test_reading_goes_page_by_page_in_both_directions(self, ledger: Ledger) -> None:
        ledger.append([started(str(number)) for number in range(1, 8)])
        assert [one.seq for one in ledger.read(after=2, limit=3)] == [3, 4, 5]
        newest = Query(newest_first=True)
        assert [one.seq for one in ledger.read(limit=3, query=newest)] == [7, 6, 5]
        assert [one.seq for one in ledger.read(after=5, limit=3, query=newest)] == [4, 3, 2]
        assert [one.seq for one in ledger.read(after=2, limit=3, query=newest)] == [1]

    def test_a_query_matches_every_field_that_it_names(self, ledger: Ledger, clock: FakeClock) -> None:
        ledger.append([started("1", project="shop/orders", service="orders", environment="staging")])
        clock.advance(60)
        ledger.append([started("2", project="shop/orders", service="orders", environment="production")])
        ledger.append([started("3", project="shop/payments", service="payments", environment="production")])
        ledger.append([Draft(subject="run/1", actor="ana", data=RunFinished(run="1", state=State.FAILED))])

        def seqs(query: Query) -> list[int]:
            return [one.seq for one in ledger.read(query=query)]

        assert seqs(Query(project="shop/orders")) == [1, 2]
        assert seqs(Query(service="orders", environment="production")) == [2]
        assert seqs(Query(environment="production")) == [2, 3]
        assert seqs(Query(types=("dev.cdevents.pipelinerun.finished",))) == [4]
        assert seqs(Query(subjects=("run/1", "run/3"))) == [1, 3, 4]
        assert seqs(Query(subjects=("run/1",), types=("dev.cdevents.pipelinerun.started",))) == [1]
        both = ("dev.cdevents.pipelinerun.finished", "dev.cdevents.pipelinerun.started")
        assert seqs(Query(types=both, newest_first=True)) == [4, 3, 2, 1]
        assert seqs(Query(since=clock.now())) == [2, 3, 4]
        assert seqs(Query(until=clock.now() - timedelta(seconds=60))) == [1]
        assert seqs(Query(since=clock.now(), service="payments", types=both)) == [3]
        assert seqs(Query(project="shop/nothing")) == []

    def test_waiting_ends_when_something_was_appended_and_at_the_latest_at_its_time(self, ledger: Ledger) -> None:
        assert not ledger.wait(0, 0.01)
        woken: list[bool] = []
        thread = threading.Thread(target=lambda: woken.append(ledger.wait(0, 30)))
        thread.start()
        ledger.append([started("1")])
        thread.join()
        assert woken == [True]
        assert ledger.wait(0, 0)

    def test_appending_nothing_writes_nothing(self, ledger: Ledger) -> None:
        assert ledger.append([]) == ()
        assert ledger.head().seq == 0


class TestSqliteLedger(LedgerContract):
    @pytest.fixture
    def ledger(self, tmp_path: Path, clock: FakeClock) -> Iterator[Ledger]:
        with opened(tmp_path, clock=clock) as ledger:
            yield ledger


class TestPostgresLedger(LedgerContract):
    @pytest.fixture
    def ledger(self, postgres: Postgres, clock: FakeClock) -> Iterator[Ledger]:
        with PostgresLedger(
            postgres.database(), clock=clock, entropy=SeededEntropy(1), blobs=MemoryBlobs(), recorded_by="test"
        ) as ledger:
            yield ledger


class TestLedgerBehindAFaultlessWrapper(LedgerContract):
    @pytest.fixture
    def ledger(self, tmp_path: Path, clock: FakeClock) -> Iterator[Ledger]:
        with opened(tmp_path, clock=clock) as ledger:
            yield cast("Ledger", Faulty(ledger, {"append": (), "read": ()}))


def test_a_failed_append_can_be_repeated(tmp_path: Path) -> None:
    with opened(tmp_path) as real:
        refusal = ExternalError("disk-full", "no space")
        ledger = cast("Ledger", Faulty(real, {"append": (Fault(error=refusal),)}))
        with pytest.raises(ExternalError):
            ledger.append([started("1")], expect={"run/1": 0})
        ledger.append([started("1")], expect={"run/1": 0})
        assert real.head().seq == 1


def test_an_append_whose_answer_was_lost_is_recognised_by_its_expectation(tmp_path: Path) -> None:
    with opened(tmp_path) as real:
        lost = ExternalError("connection-lost", "no answer")
        ledger = cast("Ledger", Faulty(real, {"append": (Fault(error=lost, done=True),)}))
        with pytest.raises(ExternalError):
            ledger.append([started("1")], expect={"run/1": 0})
        with pytest.raises(Conflict):
            ledger.append([started("1")], expect={"run/1": 0})
        assert [one.data for one in real.subject("run/1")] == [RunStarted(run="1")]
