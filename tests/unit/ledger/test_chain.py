"""The chain's bytes are fixed forever, and each kind of damage has its name."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aegis.ledger.chain import (
    GENESIS,
    Head,
    Place,
    StoredRow,
    check_fields,
    data_digest,
    header,
    microseconds,
    moment,
    sealed,
    verify,
)
from support.ledgers import MemoryBlobs, noted, opened, started

ROW = StoredRow(
    seq=7, id="01j9", recorded_at=1_767_603_600_000_001, recorded_by="host", actor="ana", project="shop/orders",
    service="orders", environment="staging", type="aegis.x.done", version=1, subject="run/1", subject_version=2,
    cause="01j8", data_digest="sha256:dd", prev=GENESIS, hash="", place=0, salt=b"s" * 16, data=b"{}",
)  # fmt: skip


def test_the_header_is_these_bytes_and_no_others() -> None:
    assert header(ROW) == (
        b"aegis-ledger-record 1\n7\n01j9\n1767603600000001\nhost\nana\nshop/orders\norders\nstaging\n"
        b"aegis.x.done\n1\nrun/1\n2\n01j8\nsha256:dd\nsha256:" + b"0" * 64 + b"\n"
    )
    assert sealed(ROW).hash == f"sha256:{hashlib.sha256(header(ROW)).hexdigest()}"


def test_data_is_bound_by_its_salt() -> None:
    assert data_digest(b"s" * 16, b"{}") == f"sha256:{hashlib.sha256(b's' * 16 + b'{}').hexdigest()}"
    assert data_digest(b"s" * 16, b"{}") != data_digest(b"t" * 16, b"{}")


def test_times_are_exact_to_the_microsecond() -> None:
    at = datetime(2026, 1, 5, 9, 0, 0, 123457, tzinfo=UTC)
    assert moment(microseconds(at)) == at
    with pytest.raises(ValueError, match="time zone"):
        microseconds(at.replace(tzinfo=None))


def test_a_field_with_a_control_character_is_refused_and_korean_is_not() -> None:
    check_fields({"actor": "지연", "subject": "run/1"})
    with pytest.raises(ValueError, match="subject"):
        check_fields({"subject": "run/1\nevil"})


@pytest.fixture
def rows(tmp_path: Path) -> list[StoredRow]:
    with opened(tmp_path) as ledger:
        ledger.append([started(str(number)) for number in range(4)])
        return list(ledger.rows())


def test_a_whole_chain_holds(rows: list[StoredRow]) -> None:
    result = verify(rows)
    assert (result.ok, result.records, result.head) == (True, 4, Head(seq=4, hash=rows[-1].hash))


@pytest.mark.parametrize(
    ("change", "code", "seq"),
    [
        (lambda rows: rows.pop(1), "gap", 2),
        (lambda rows: rows.insert(2, rows[1]), "order", 2),
        (lambda rows: rows.__setitem__(2, rows[2]._replace(actor="eve")), "hash", 3),
        (lambda rows: rows.__setitem__(2, sealed(rows[2]._replace(actor="eve"))), "link", 4),
        (lambda rows: rows.__setitem__(2, sealed(rows[2]._replace(prev=GENESIS))), "link", 3),
        (lambda rows: rows.__setitem__(2, rows[2]._replace(data=b"{}")), "data", 3),
        (lambda rows: rows.__setitem__(2, rows[2]._replace(salt=b"0" * 16)), "data", 3),
        (lambda rows: rows.__setitem__(2, rows[2]._replace(data=None)), "data-missing", 3),
        (lambda rows: rows.__setitem__(2, rows[2]._replace(place=Place.ERASED, data=None)), "data-missing", 3),
        (lambda rows: rows.__setitem__(2, rows[2]._replace(place=9)), "place", 3),
        (lambda rows: rows.__setitem__(2, rows[2]._replace(place=Place.BLOB)), "content-unreachable", 3),
    ],
)
def test_the_first_damage_is_named_with_its_record(rows: list[StoredRow], change: object, code: str, seq: int) -> None:
    assert callable(change)
    change(rows)
    fault = verify(rows).fault
    assert fault is not None
    assert (fault.code, fault.seq) == (code, seq)
    assert str(seq) in fault.message


def test_a_cut_tail_shows_only_against_a_checkpoint(rows: list[StoredRow]) -> None:
    anchor = Head(seq=4, hash=rows[3].hash)
    assert verify(rows[:2]).ok
    fault = verify(rows[:2], anchors=[anchor]).fault
    assert fault is not None
    assert (fault.code, fault.seq) == ("truncated", 3)
    assert "record 4" in fault.message


def test_a_wholly_replaced_chain_fails_against_a_checkpoint(rows: list[StoredRow], tmp_path: Path) -> None:
    with opened(tmp_path / "other", seed=2) as other:
        other.append([started(str(number)) for number in range(9)])
        replaced = other.rows()
    fault = verify(replaced, anchors=[Head(seq=3, hash=rows[2].hash)]).fault
    assert fault is not None
    assert (fault.code, fault.seq) == ("replaced", 3)


def test_an_empty_chain_does_not_pass_a_checkpoint(rows: list[StoredRow]) -> None:
    assert verify([]).ok
    assert not verify([], anchors=[Head(seq=1, hash=rows[0].hash)]).ok


def test_two_checkpoints_that_contradict_each_other_are_a_fault(rows: list[StoredRow]) -> None:
    heads = [Head(seq=2, hash=rows[1].hash), Head(seq=2, hash=rows[0].hash)]
    assert verify(rows, anchors=heads).fault is not None


def test_a_checkpoint_at_the_trusted_start_must_be_that_start(rows: list[StoredRow]) -> None:
    start = Head(seq=2, hash=rows[1].hash)
    assert verify(rows[2:], start=start, anchors=[start]).ok
    assert not verify(rows[2:], start=start, anchors=[Head(seq=2, hash=GENESIS)]).ok


def test_erased_data_is_accepted_where_the_erasure_is_recorded(tmp_path: Path) -> None:
    with opened(tmp_path) as ledger:
        ledger.append([started(str(number)) for number in range(5)])
        ledger.erase([2, 3, 5], reason="retention")
        rows = ledger.rows()
    result = verify(rows)
    assert (result.ok, result.erased) == (True, 3)
    unexplained = verify(rows[:5]).fault
    assert unexplained is not None
    assert unexplained.code == "data-missing"


def test_data_in_the_blob_store_is_verified_there(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    with opened(tmp_path, blobs=blobs) as ledger:
        ledger.append([noted("x" * 20_000)])
        rows = ledger.rows()
    assert verify(rows, content=blobs.get).ok
    assert verify(rows).fault is not None
    blobs.kept[rows[0].data_digest] = b"something else"
    fault = verify(rows, content=blobs.get).fault
    assert fault is not None
    assert fault.code == "data"
