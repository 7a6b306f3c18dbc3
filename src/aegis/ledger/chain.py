"""The chain: which bytes of a record are hashed, and whether stored rows still are what was written.

A header is text of a fixed number of lines, one field each, so that it can be rebuilt with `printf` in a hundred
years: no field may hold a control character, which makes the form unambiguous. The hash covers exactly these bytes,
`prev` among them. Data is bound by a salted digest only, so salt and data can be erased while the chain still holds
and nobody can guess what was erased.

Deliberately not here: where rows lie, what data means, who signs. Truncation of the tail cannot be seen by a chain
alone; anchors (heads known from elsewhere) are compared, their signatures are the business of `checkpoints`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final, NamedTuple

from aegis.core import codec
from aegis.core.errors import AegisError
from aegis.core.events import NAMES, DataErased
from aegis.core.ports import Head
from aegis.core.values import dataclass

FORMAT: Final = "aegis-ledger-record 1"
GENESIS: Final = "sha256:" + "0" * 64
EMPTY: Final = Head(seq=0, hash=GENESIS)
SALT_SIZE: Final = 16
ERASURE: Final = NAMES[DataErased][0]

_HEADER: Final = f"{FORMAT}\n" + "%s\n" * 15  # filled in one step: verification spends its time here
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Place(IntEnum):
    """Where a record's salt and data lie."""

    ROW = 0
    BLOB = 1
    """In the blob store under `data_digest`, as salt followed by data."""
    ERASED = 2


class StoredRow(NamedTuple):
    """A record as it is kept. `recorded_at` is microseconds since 1970 in UTC; digests are `sha256:<hex>`."""

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
    place: int
    salt: bytes | None
    data: bytes | None


Content = Callable[[str], bytes]
"""Answers salt and data kept under a digest outside the row; raises an `AegisError` where it cannot."""


def microseconds(moment: datetime) -> int:
    """An aware moment as microseconds since 1970; `ValueError` for a naive one."""
    if moment.tzinfo is None:
        msg = "a moment in the ledger needs a time zone"
        raise ValueError(msg)
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """The UTC time of microseconds since 1970, exactly."""
    return _EPOCH + timedelta(microseconds=microseconds)


def header(row: StoredRow) -> bytes:
    """The exact bytes that a record's hash covers."""
    return (_HEADER % row[:15]).encode()


def data_digest(salt: bytes, data: bytes) -> str:
    """What binds data to its header: the digest of salt and data in this order."""
    return f"sha256:{hashlib.sha256(salt + data).hexdigest()}"


def sealed(row: StoredRow) -> StoredRow:
    """`row` with the hash of its header."""
    return row._replace(hash=f"sha256:{hashlib.sha256(header(row)).hexdigest()}")


def check_fields(fields: Mapping[str, str]) -> None:
    """`ValueError` where a header field holds a control character, which would make headers ambiguous."""
    for name, text in fields.items():
        if not text.isprintable() and any(character < " " or character == "\x7f" for character in text):
            msg = f"{name} {text!r} holds a control character"
            raise ValueError(msg)


# -- verification -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The first thing that is wrong: the record's number (the missing one where one is missing), a code, why."""

    seq: int
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found of a range. `erased` counts records whose data is gone by a recorded erasure."""

    first: int
    head: Head
    records: int
    erased: int
    anchors: int
    fault: Fault | None = None

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return self.fault is None


@dataclass(slots=True)
class Verifier:
    """Verifies rows as they come; the first fault is kept and everything after it ignored.

    `start` is a head already trusted (the chain's beginning by default); `anchors` are heads that this chain must
    pass through; `content` fetches data kept outside the rows.
    """

    start: Head = EMPTY
    anchors: Sequence[Head] = ()
    content: Content | None = None
    fault: Fault | None = None
    records: int = 0
    _seq: int = field(init=False)
    _hash: str = field(init=False)
    _pending: dict[int, str] = field(init=False)
    _missing: list[int] = field(default_factory=list)
    _erased: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._seq, self._hash = self.start.seq, self.start.hash
        self._pending = {}
        for anchor in self.anchors:
            known = self._pending.setdefault(anchor.seq, anchor.hash)
            if known != anchor.hash:
                self.fault = Fault(
                    seq=anchor.seq, code="anchors-differ", message="two checkpoints name different heads"
                )
        for seq in [one for one in self._pending if one <= self.start.seq]:
            if seq == self.start.seq and self._pending[seq] != self.start.hash:
                self._anchor_missed(seq)
            del self._pending[seq]

    def feed(self, rows: Iterable[StoredRow]) -> bool:
        """Take the next rows; False once there is a fault."""
        if self.fault is not None:
            return False
        sha256, seq, prev = hashlib.sha256, self._seq, self._hash
        for row in rows:
            code = ""
            if row[0] != seq + 1:
                code = "gap" if row[0] > seq + 1 else "order"
            elif row[14] != prev:
                code = "link"
            elif row[15] != f"sha256:{sha256(header(row)).hexdigest()}":
                code = "hash"
            elif row[16] == Place.ROW:
                salt, data = row[17], row[18]
                if salt is None or data is None:
                    self._missing.append(row[0])
                elif row[13] != f"sha256:{sha256(salt + data).hexdigest()}":
                    code = "data"
            else:
                code = self._elsewhere(row)
            if code:
                self.fault = _fault(code, row, seq + 1)
                return False
            seq, prev = row[0], row[15]
            self.records += 1
            self._seq, self._hash = seq, prev
            if self._pending and self._pending.pop(seq, prev) != prev:
                self._anchor_missed(seq)
                return False
            if row[8] == ERASURE:
                self._note_erasure(row)
        return True

    def finish(self) -> Verification:
        """What came out. Anchors beyond the last row and unrecorded erasures are faults."""
        erased = 0
        if self.fault is None:
            for seq in self._missing:
                if not any(first <= seq <= last for first, last in self._erased):
                    self.fault = Fault(
                        seq=seq,
                        code="data-missing",
                        message=f"record {seq}: its data is gone and no erasure is recorded",
                    )
                    break
                erased += 1
        if self.fault is None and self._pending:
            seq = min(self._pending)
            self.fault = Fault(
                seq=self._seq + 1,
                code="truncated",
                message=f"the chain ends at record {self._seq}, but a checkpoint vouches for record {seq}",
            )
        return Verification(
            first=self.start.seq + 1,
            head=Head(seq=self._seq, hash=self._hash),
            records=self.records,
            erased=erased,
            anchors=len(self.anchors),
            fault=self.fault,
        )

    def _elsewhere(self, row: StoredRow) -> str:
        if row.place == Place.ERASED:
            self._missing.append(row.seq)
            return ""
        if row.place != Place.BLOB:
            return "place"
        if self.content is None:
            return "content-unreachable"
        try:
            kept = self.content(row.data_digest)
        except AegisError:
            return "content-unreachable"
        return "" if f"sha256:{hashlib.sha256(kept).hexdigest()}" == row.data_digest else "data"

    def _note_erasure(self, row: StoredRow) -> None:
        kept = row.data if row.place == Place.ROW else None
        if kept is None and row.place == Place.BLOB and self.content is not None:
            kept = self.content(row.data_digest)[SALT_SIZE:]
        if kept is not None:
            self._erased.extend(codec.decode(kept, DataErased).ranges)

    def _anchor_missed(self, seq: int) -> None:
        self.fault = Fault(
            seq=seq,
            code="replaced",
            message=f"record {seq} is not the one that a checkpoint vouches for: the chain was replaced or restored",
        )


def verify(
    rows: Iterable[StoredRow], *, start: Head = EMPTY, anchors: Sequence[Head] = (), content: Content | None = None
) -> Verification:
    """Verify `rows`, which follow `start`, in one go."""
    verifier = Verifier(start=start, anchors=anchors, content=content)
    verifier.feed(rows)
    return verifier.finish()


_WHY: Final = {
    "gap": "record {expected} is missing; record {seq} follows instead",
    "order": "record {seq} stands where record {expected} should",
    "link": "record {seq} does not name its predecessor's hash",
    "hash": "record {seq}: its header is not what was hashed when it was written",
    "data": "record {seq}: its data is not what its header vouches for",
    "place": "record {seq} does not say where its data lies",
    "content-unreachable": "record {seq}: its data lies in the blob store and cannot be read there",
}


def _fault(code: str, row: StoredRow, expected: int) -> Fault:
    seq = expected if code == "gap" else row.seq
    return Fault(seq=seq, code=code, message=_WHY[code].format(seq=row.seq, expected=expected))
