"""Signed checkpoints and exports that can be verified anywhere."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aegis.adapters.anchors_file import AnchorFile
from aegis.core.errors import CheckFailed, UserError
from aegis.core.ports import Head
from aegis.ledger.bundle import export, verify_export
from aegis.ledger.chain import StoredRow
from aegis.ledger.checkpoints import SignedHead, anchors, check, fingerprint, sign
from support.ledgers import FreshSigner, MemoryBlobs, noted, opened, started

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.fixture
def signer() -> FreshSigner:
    return FreshSigner()


def signed(signer: FreshSigner, head: Head, origin: str = "shop") -> SignedHead:
    return sign(head, origin=origin, at=AT, signer=signer)


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def rows(tmp_path: Path, blobs: MemoryBlobs) -> tuple[StoredRow, ...]:
    with opened(tmp_path, blobs=blobs) as ledger:
        ledger.append([started(str(number)) for number in range(5)])
        ledger.append([noted("한글 " + "x" * 20_000)])
        ledger.erase([2])
        return ledger.rows()


def head_of(rows: tuple[StoredRow, ...]) -> Head:
    return Head(seq=rows[-1].seq, hash=rows[-1].hash)


def test_a_checkpoint_is_vouched_for_by_its_key_only(signer: FreshSigner) -> None:
    one = signed(signer, Head(seq=3, hash="sha256:ab"))
    check(one, signer.public_key())
    assert one.key == fingerprint(signer.public_key())
    with pytest.raises(CheckFailed, match="not signed by"):
        check(one, FreshSigner().public_key())


@pytest.mark.parametrize("change", [{"seq": 4}, {"hash": "sha256:cd"}, {"origin": "other"}, {"signature": "AAAA"}])
def test_a_changed_checkpoint_is_forged(signer: FreshSigner, change: dict[str, object]) -> None:
    one = dataclasses.replace(signed(signer, Head(seq=3, hash="sha256:ab")), **change)  # type: ignore[arg-type]
    with pytest.raises(CheckFailed) as caught:
        check(one, signer.public_key())
    assert caught.value.code == "checkpoint-forged"


def test_checkpoints_of_two_ledgers_do_not_mix(signer: FreshSigner) -> None:
    mixed = [signed(signer, Head(seq=1, hash="sha256:ab")), signed(signer, Head(seq=2, hash="sha256:cd"), "other")]
    with pytest.raises(CheckFailed, match="two ledgers"):
        anchors(mixed, signer.public_key())


def test_what_is_no_key_is_said_to_be_none(signer: FreshSigner) -> None:
    with pytest.raises(UserError, match="PEM"):
        check(signed(signer, Head(seq=1, hash="sha256:ab")), "no key")


def test_checkpoints_are_kept_in_a_file_and_a_torn_line_is_cut_off(signer: FreshSigner, tmp_path: Path) -> None:
    file = AnchorFile(tmp_path / "checkpoints.jsonl")
    assert file.read() == ()
    first, second = (signed(signer, Head(seq=seq, hash="sha256:ab")) for seq in (1, 2))
    file.append(first)
    with (tmp_path / "checkpoints.jsonl").open("ab") as half:
        half.write(b'{"origin":"sh')
    assert file.read() == (first,)
    file.append(second)
    assert file.read() == (first, second)


def test_an_export_is_verified_without_anything_else(rows: tuple[StoredRow, ...], blobs: MemoryBlobs) -> None:
    proof = verify_export(export(rows, blobs.get))
    assert proof.verification.ok
    assert proof.whole
    assert (proof.verification.records, proof.verification.erased) == (7, 1)
    assert proof.verification.head == head_of(rows)


def test_a_part_of_a_ledger_can_be_exported_and_says_so(rows: tuple[StoredRow, ...], blobs: MemoryBlobs) -> None:
    proof = verify_export(export(rows[3:], blobs.get, after=Head(seq=3, hash=rows[2].hash)))
    assert proof.verification.ok
    assert not proof.whole


def test_every_changed_byte_of_an_export_is_found(rows: tuple[StoredRow, ...], blobs: MemoryBlobs) -> None:
    lines = list(export(rows[:1], blobs.get))
    assert verify_export(lines).verification.ok
    line = lines[1]
    for position in range(len(line)):
        changed = line[:position] + bytes([line[position] ^ 1]) + line[position + 1 :]
        try:
            proof = verify_export([lines[0], changed, lines[2]])
        except UserError:
            continue
        assert not proof.verification.ok, changed


def test_an_export_that_was_cut_is_found(rows: tuple[StoredRow, ...], blobs: MemoryBlobs) -> None:
    lines = list(export(rows[:1], blobs.get))
    for cut in (lines[:-1], [lines[0], lines[-1]]):
        fault = verify_export(cut).verification.fault
        assert fault is not None
        assert fault.code == "cut"


def test_an_export_with_a_key_needs_a_checkpoint_of_that_key(
    rows: tuple[StoredRow, ...], blobs: MemoryBlobs, signer: FreshSigner
) -> None:
    vouched = [signed(signer, head_of(rows))]
    assert verify_export(export(rows, blobs.get, checkpoints=vouched), public_key=signer.public_key()).verification.ok
    for checkpoints, code in (([], "no-checkpoint"), ([signed(FreshSigner(), head_of(rows))], "checkpoint-forged")):
        proof = verify_export(export(rows, blobs.get, checkpoints=checkpoints), public_key=signer.public_key())
        assert proof.verification.fault is not None
        assert proof.verification.fault.code == code


def test_a_wholly_replaced_export_fails_against_a_known_head(
    rows: tuple[StoredRow, ...], blobs: MemoryBlobs, tmp_path: Path
) -> None:
    with opened(tmp_path / "other", seed=9) as other:
        other.append([started("1")] * 9)
        invented = other.rows()
    assert verify_export(export(invented, blobs.get)).verification.ok
    fault = verify_export(export(invented, blobs.get), known=[head_of(rows)]).verification.fault
    assert fault is not None
    assert fault.code == "replaced"


def test_what_is_no_export_is_refused_with_its_line(rows: tuple[StoredRow, ...], blobs: MemoryBlobs) -> None:
    lines = list(export(rows, blobs.get))
    with pytest.raises(UserError, match="is empty"):
        verify_export([])
    with pytest.raises(UserError) as caught:
        verify_export([lines[0], b"nonsense\n"], file="x.jsonl")
    assert str(caught.value.where) == "x.jsonl:2:1"
    with pytest.raises(UserError, match="out of order"):
        verify_export([lines[1], lines[0]])
