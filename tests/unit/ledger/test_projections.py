"""Projections go on from their checkpoints, fold nothing twice, and rebuild where a checkpoint counts for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from aegis.adapters.checkpoints_sqlite import SqliteCheckpoints
from aegis.adapters.ledger_sqlite import SqliteLedger
from aegis.core import codec
from aegis.core.errors import ExternalError
from aegis.core.events import Record
from aegis.ledger.projections import CheckpointStore, ProjectionRunner
from support.faulty import Fault, Faulty
from support.ledgers import opened, started


class Counts:
    """How many events each subject has. Not idempotent by itself, so folding twice would show."""

    name = "counts"

    def __init__(self, version: int = 1) -> None:
        self.version = version
        self.counts: dict[str, int] = {}
        self.applied: list[int] = []

    def apply(self, record: Record) -> None:
        self.counts[record.subject] = self.counts.get(record.subject, 0) + 1
        self.applied.append(record.seq)

    def dump(self) -> bytes:
        return codec.pack(self.counts)

    def load(self, data: bytes) -> None:
        self.counts = codec.unpack(data, dict[str, int])


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    with opened(tmp_path) as ledger:
        ledger.append([started(str(number % 3)) for number in range(10)])
        yield ledger


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteCheckpoints]:
    store = SqliteCheckpoints(tmp_path / "checkpoints.sqlite")
    yield store
    store.close()


def test_a_fresh_projection_folds_everything_once(ledger: SqliteLedger, store: SqliteCheckpoints) -> None:
    runner = ProjectionRunner(ledger, store)
    counts = runner.follow(Counts())
    assert runner.lag() == 10
    assert runner.catch_up() == 10
    assert counts.counts == {"run/0": 4, "run/1": 3, "run/2": 3}
    assert (runner.position(), runner.lag(), runner.catch_up()) == (10, 0, 0)


def test_a_record_offered_twice_is_applied_once_and_a_gap_is_refused(
    ledger: SqliteLedger, store: SqliteCheckpoints
) -> None:
    runner = ProjectionRunner(ledger, store)
    counts = runner.follow(Counts())
    runner.fold(ledger.read(limit=4))
    runner.fold(ledger.read(limit=6))
    assert counts.applied == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ExternalError, match="at 6 and was given record 9"):
        runner.fold(ledger.read(after=8))


def test_after_a_start_only_the_tail_is_folded(ledger: SqliteLedger, store: SqliteCheckpoints) -> None:
    before = ProjectionRunner(ledger, store, every=4)
    before.follow(Counts())
    before.catch_up(limit=4)
    before.catch_up(limit=3)  # killed here: three records beyond the checkpoint
    after = ProjectionRunner(ledger, store, every=4)
    counts = after.follow(Counts())
    assert after.position() == 4
    after.catch_up()
    assert counts.applied == [5, 6, 7, 8, 9, 10]
    assert counts.counts == {"run/0": 4, "run/1": 3, "run/2": 3}


def test_a_projection_that_joins_later_catches_up_alone(ledger: SqliteLedger, store: SqliteCheckpoints) -> None:
    class Other(Counts):
        name = "other"

    runner = ProjectionRunner(ledger, store)
    first = runner.follow(Counts())
    runner.catch_up()
    second = runner.follow(Other())
    runner.catch_up()
    assert first.applied == second.applied == list(range(1, 11))


def test_a_checkpoint_of_another_version_is_thrown_away(ledger: SqliteLedger, store: SqliteCheckpoints) -> None:
    runner = ProjectionRunner(ledger, store)
    runner.follow(Counts(version=1))
    runner.catch_up()
    runner.save()
    again = ProjectionRunner(ledger, store)
    counts = again.follow(Counts(version=2))
    assert (again.position(), counts.counts) == (0, {})


def test_a_checkpoint_that_cannot_be_read_is_thrown_away(ledger: SqliteLedger, store: SqliteCheckpoints) -> None:
    class Broken(Counts):
        def dump(self) -> bytes:
            return b"\xc1 not ours" if self.counts else super().dump()

    runner = ProjectionRunner(ledger, store)
    runner.follow(Broken())
    runner.catch_up()
    runner.save()
    again = ProjectionRunner(ledger, store)
    counts = again.follow(Counts())
    assert (again.position(), counts.counts) == (0, {})


def test_a_checkpoint_of_another_ledger_is_thrown_away(
    ledger: SqliteLedger, store: SqliteCheckpoints, tmp_path: Path
) -> None:
    runner = ProjectionRunner(ledger, store)
    runner.follow(Counts())
    runner.catch_up()
    runner.save()
    with opened(tmp_path / "restored", seed=5) as restored:
        restored.append([started("1")] * 10)
        again = ProjectionRunner(restored, store)
        counts = again.follow(Counts())
        again.catch_up()
        assert counts.counts == {"run/1": 10}


def test_a_checkpoint_that_cannot_be_saved_does_not_stop_the_projections(
    ledger: SqliteLedger, store: SqliteCheckpoints
) -> None:
    full = ExternalError("checkpoint-unsaved", "no space")
    faulty = Faulty(store, {"save": (Fault(error=full),)})
    runner = ProjectionRunner(ledger, cast("CheckpointStore", faulty), every=4)
    runner.follow(Counts())
    runner.catch_up(limit=4)
    assert runner.unsaved is full
    runner.catch_up()
    assert (runner.position(), runner.unsaved) == (10, None)
    assert faulty.calls == {"save": 2}


def test_two_projections_of_one_name_are_refused(ledger: SqliteLedger, store: SqliteCheckpoints) -> None:
    runner = ProjectionRunner(ledger, store)
    runner.follow(Counts())
    with pytest.raises(ValueError, match="followed twice"):
        runner.follow(Counts())
