"""An export that can be verified anywhere, without the server, its database or its keys at hand.

JSON lines: a first line that names the format, the signed checkpoints, one line per record with its header fields, salt
and data as they were hashed (or `erased`), and a last line that says how many there were, so that a cut file shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from aegis.core import codec
from aegis.core.errors import CheckFailed, UserError, Where
from aegis.core.ports import Head
from aegis.ledger.chain import EMPTY, SALT_SIZE, Content, Fault, Place, StoredRow, Verification, Verifier
from aegis.ledger.checkpoints import SignedHead, anchors
from aegis.ledger.store import row_data

FORMAT: Final = "aegis.ledger-export/1"
_CHUNK: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _First:
    format: str
    after: int
    after_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A record. `salt` is hexadecimal; `data` the exact text that was hashed after it, None where it is erased."""

    seq: int
    id: str
    recorded_at: int
    recorded_by: str
    actor: str
    project: str
    service: str
    environment: str
    type: str
    version: int
    subject: str
    subject_version: int
    cause: str
    data_digest: str
    prev: str
    hash: str
    erased: bool
    salt: str | None
    data: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Last:
    records: int
    head: Head


@dataclass(frozen=True, slots=True, kw_only=True)
class _Any:
    """Any line of an export: exactly one of these is there."""

    first: _First | None = None
    record: _Line | None = None
    checkpoint: SignedHead | None = None
    last: _Last | None = None


_decoder: Final = msgspec.json.Decoder(_Any)


def export(
    rows: Iterable[StoredRow], content: Content | None, *, after: Head = EMPTY, checkpoints: Sequence[SignedHead] = ()
) -> Iterator[bytes]:
    """The lines of an export of `rows`, which follow `after`. Data kept outside is fetched and put in."""
    yield _encoded(first=_First(format=FORMAT, after=after.seq, after_hash=after.hash))
    for signed in checkpoints:
        yield _encoded(checkpoint=signed)
    head, count = after, 0
    for row in rows:
        yield _encoded(record=_line(row, content))
        head, count = Head(seq=row.seq, hash=row.hash), count + 1
    yield _encoded(last=_Last(records=count, head=head))


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a verified export showed. `whole` is False where it begins after the ledger's first record."""

    verification: Verification
    checkpoints: Sequence[SignedHead] = field(default=())
    whole: bool = True


def verify_export(
    lines: Iterable[bytes], *, public_key: str | None = None, known: Sequence[Head] = (), file: str = "export"
) -> Proof:
    """Verify an export offline. `UserError` where it is none; a fault is an answer, not an error.

    With `public_key` its checkpoints must be signed by that key, and there must be one; `known` are heads vouched for
    elsewhere. Without either a wholly invented chain would pass, so callers say what was compared.
    """
    reader = _Reader(file)
    verifier: Verifier | None = None
    batch: list[StoredRow] = []
    for line in lines:
        row = reader.take(line)
        if row is None:
            continue
        if verifier is None:
            verifier = _verifier(reader, public_key, known)
        batch.append(row)
        if len(batch) >= _CHUNK:
            verifier.feed(batch)
            batch.clear()
    if not reader.begun:
        raise UserError("not-an-export", f"{file} is empty", hint="make one with `aegis ledger export --out FILE`")
    verifier = verifier or _verifier(reader, public_key, known)
    verifier.feed(batch)
    result = verifier.finish()
    fault = result.fault
    if fault is None and reader.last is None:
        fault = Fault(seq=result.head.seq + 1, code="cut", message="the export ends without its last line: it was cut")
    elif fault is None and reader.last != _Last(records=result.records, head=result.head):
        fault = Fault(seq=result.head.seq, code="cut", message="the export's last line names another end")
    return Proof(
        verification=replace(result, fault=fault), checkpoints=tuple(reader.checkpoints), whole=reader.start == EMPTY
    )


def _verifier(reader: _Reader, public_key: str | None, known: Sequence[Head]) -> Verifier:
    """A verifier of what follows the checkpoints, which are all compared; with a key they must be signed by it."""
    fault = None
    if public_key is not None:
        try:
            if not anchors(reader.checkpoints, public_key):
                fault = Fault(seq=0, code="no-checkpoint", message="the export holds no checkpoint of that key")
        except CheckFailed as error:
            fault = Fault(seq=0, code=error.code, message=error.message)
    heads = (*known, *(one.head for one in reader.checkpoints))
    verifier = Verifier(start=reader.start, anchors=heads)
    verifier.fault = fault or verifier.fault
    return verifier


class _Reader:
    """Reads lines in the order an export has them: the first, checkpoints, records, the last."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._number = 0
        self.start = EMPTY
        self.begun = False
        self.checkpoints: list[SignedHead] = []
        self.last: _Last | None = None
        self._records = False

    def take(self, line: bytes) -> StoredRow | None:
        """The row on this line, or None where it holds something else."""
        self._number += 1
        if not line.strip():
            return None
        try:
            item = _decoder.decode(line)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise self._wrong(str(error)) from error
        if (item.first is None) != self.begun or self.last is not None or (item.checkpoint and self._records):
            raise self._wrong("lines are out of order")
        if item.first is not None:
            if item.first.format != FORMAT:
                raise self._wrong(f"its format is {item.first.format}")
            self.start, self.begun = Head(seq=item.first.after, hash=item.first.after_hash), True
        if item.checkpoint is not None:
            self.checkpoints.append(item.checkpoint)
        self.last = item.last
        if item.record is None:
            return None
        self._records = True
        return self._row(item.record)

    def _row(self, line: _Line) -> StoredRow:
        try:
            salt = None if line.salt is None else bytes.fromhex(line.salt)
        except ValueError as error:
            raise self._wrong("a salt is not hexadecimal") from error
        return StoredRow(
            line.seq, line.id, line.recorded_at, line.recorded_by, line.actor, line.project, line.service,
            line.environment, line.type, line.version, line.subject, line.subject_version, line.cause,
            line.data_digest, line.prev, line.hash, int(Place.ERASED if line.erased else Place.ROW), salt,
            None if line.data is None else line.data.encode(),
        )  # fmt: skip

    def _wrong(self, why: str) -> UserError:
        return UserError(
            "not-an-export",
            f"this is not a line of a ledger export: {why}",
            hint="make one with `aegis ledger export --out FILE`",
            where=Where(self._file, self._number),
        )


def _line(row: StoredRow, content: Content | None) -> _Line:
    salt, data = row.salt, row_data(row, content)
    if row.place == Place.BLOB and content is not None:
        salt = content(row.data_digest)[:SALT_SIZE]
    return _Line(
        seq=row.seq,
        id=row.id,
        recorded_at=row.recorded_at,
        recorded_by=row.recorded_by,
        actor=row.actor,
        project=row.project,
        service=row.service,
        environment=row.environment,
        type=row.type,
        version=row.version,
        subject=row.subject,
        subject_version=row.subject_version,
        cause=row.cause,
        data_digest=row.data_digest,
        prev=row.prev,
        hash=row.hash,
        erased=row.place == Place.ERASED,
        salt=None if salt is None else salt.hex(),
        data=None if data is None else data.decode(),
    )


def _encoded(
    *,
    first: _First | None = None,
    record: _Line | None = None,
    checkpoint: SignedHead | None = None,
    last: _Last | None = None,
) -> bytes:
    parts = {"first": first, "record": record, "checkpoint": checkpoint, "last": last}
    return codec.encode({name: part for name, part in parts.items() if part is not None}) + b"\n"
