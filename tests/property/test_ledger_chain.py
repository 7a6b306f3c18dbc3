"""Properties of the chain: any interleaving keeps it valid, and no flipped bit goes unnoticed."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.core.errors import Conflict
from aegis.ledger.chain import Head, StoredRow, header, verify
from support.ledgers import noted, opened, started

SUBJECTS = st.integers(0, 2)
SUBMISSIONS = st.lists(st.tuples(st.lists(SUBJECTS, min_size=1, max_size=3), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(plans=st.lists(SUBMISSIONS, min_size=2, max_size=4))
def test_any_interleaving_of_threads_keeps_the_chain_valid_and_versions_dense(
    plans: list[list[tuple[list[int], bool]]],
) -> None:
    acknowledged: list[int] = []
    refused: list[int] = []

    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as ledger:

        def carry_out(plan: list[tuple[list[int], bool]]) -> None:
            for subjects, guarded in plan:
                expect = {f"run/{subjects[0]}": len(ledger.subject(f"run/{subjects[0]}"))} if guarded else None
                try:
                    records = ledger.append([started(str(one)) for one in subjects], expect=expect)
                except Conflict:
                    refused.append(len(subjects))
                else:
                    acknowledged.extend(one.seq for one in records)
                    if guarded:
                        # Exact: the version expected was the one before the first of ours on that subject.
                        first = next(one for one in records if one.subject == f"run/{subjects[0]}")
                        assert expect == {first.subject: first.subject_version - 1}

        threads = [threading.Thread(target=carry_out, args=(plan,)) for plan in plans]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rows = ledger.rows(limit=10_000)
        assert verify(rows).ok
        assert sorted(acknowledged) == [row.seq for row in rows] == list(range(1, len(rows) + 1))
        assert sum(refused) + len(rows) == sum(len(subjects) for plan in plans for subjects, _ in plan)
        for subject in {row.subject for row in rows}:
            versions = [row.subject_version for row in rows if row.subject == subject]
            assert versions == list(range(1, len(versions) + 1))


def _rows() -> tuple[StoredRow, ...]:
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as ledger:
        ledger.append([started(str(number), project="shop/orders", service="orders") for number in range(4)])
        ledger.append([noted("a note")])
        return ledger.rows()


ROWS = _rows()
FIELDS = [name for name in StoredRow._fields if name != "place"]


def _flipped(value: int | str | bytes, position: int, bit: int) -> int | str | bytes:
    if isinstance(value, int):
        return value ^ (1 << (bit % 8))
    if isinstance(value, str):
        if not value:
            return chr(32 + bit)
        at = position % len(value)
        return value[:at] + chr(ord(value[at]) ^ (1 << (bit % 7))) + value[at + 1 :]
    at = position % len(value)
    return value[:at] + bytes([value[at] ^ (1 << (bit % 8))]) + value[at + 1 :]


@given(
    index=st.integers(0, len(ROWS) - 1),
    field=st.sampled_from(FIELDS),
    position=st.integers(0, 200),
    bit=st.integers(0, 7),
)
def test_any_flipped_bit_of_header_salt_or_data_is_found_at_its_record(
    index: int, field: str, position: int, bit: int
) -> None:
    row = ROWS[index]
    forged = row._replace(**{field: _flipped(getattr(row, field), position, bit)})
    rows = (*ROWS[:index], forged, *ROWS[index + 1 :])
    result = verify(rows)
    assert result.fault is not None
    assert result.fault.seq == (index + 1 if forged.seq == row.seq else result.fault.seq)


@given(first=st.integers(1, len(ROWS)), second=st.integers(1, len(ROWS)))
def test_leaving_out_swapping_or_repeating_records_is_found(first: int, second: int) -> None:
    rows = list(ROWS)
    if first == second:
        del rows[first - 1]
        expected_ok = first == len(ROWS)  # a cut tail needs an anchor
    else:
        rows[first - 1], rows[second - 1] = rows[second - 1], rows[first - 1]
        expected_ok = False
    anchor = Head(seq=ROWS[-1].seq, hash=ROWS[-1].hash)
    assert verify(rows).ok is expected_ok
    assert not verify(rows, anchors=[anchor]).ok


@given(
    one=st.tuples(st.text(alphabet="ab/", max_size=4), st.text(alphabet="ab/", max_size=4)),
    other=st.tuples(st.text(alphabet="ab/", max_size=4), st.text(alphabet="ab/", max_size=4)),
)
def test_headers_of_different_fields_are_different_bytes(one: tuple[str, str], other: tuple[str, str]) -> None:
    row = ROWS[0]
    same = header(row._replace(project=one[0], service=one[1])) == header(
        row._replace(project=other[0], service=other[1])
    )
    assert same is (one == other)


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, len(ROWS)), max_size=4))
def test_verifying_piece_by_piece_finds_what_verifying_at_once_finds(cuts: list[int]) -> None:
    whole = verify(ROWS)
    start = Head(seq=0, hash=ROWS[0].prev)
    for cut in sorted({*cuts, len(ROWS)}):
        piece = verify(ROWS[start.seq : cut], start=start)
        assert piece.ok
        start = piece.head
    assert start == whole.head
