"""What a ledger keeps and how it is read: drafts become rows, rows become records, in every version ever written.

Decides the limit above which data goes to the blob store, how an event's class becomes a type and version, and how
an old version becomes the present one. Storage itself is an adapter's. Nothing unknown is dropped: a type or version
that this program does not know is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime
from typing import Any, Final

from aegis.core import codec, ids
from aegis.core.errors import AegisError, ExternalError
from aegis.core.events import NAMES, REGISTRY, Draft, Record
from aegis.core.values import dataclass
from aegis.ledger.chain import (
    SALT_SIZE,
    Content,
    Place,
    StoredRow,
    check_fields,
    data_digest,
    microseconds,
    moment,
    sealed,
)

INLINE_LIMIT: Final = 16 * 1024
"""Bytes of data kept in the row; what is longer goes to the blob store."""

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTERS: Final[dict[tuple[str, int], Upcaster]] = {}
"""(type, version) to the pure function that makes the next version's plain data of it. Never shrinks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A draft ready for the writer: encoded, salted, digested. `draft.data` is what the caller gave."""

    draft: Draft
    type: str
    version: int
    salt: bytes
    data: bytes
    digest: str

    @property
    def outside(self) -> bool:
        """Whether the data belongs in the blob store."""
        return len(self.data) > INLINE_LIMIT


def prepare(draft: Draft, salt: bytes) -> Prepared:
    """Encode a draft. `ValueError` for a class that is no event, or a field that a header cannot hold: our mistakes."""
    kind = type(draft.data)
    if kind not in NAMES:
        msg = f"{kind.__name__} is not a registered event"
        raise ValueError(msg)
    if len(salt) != SALT_SIZE:
        msg = f"a salt has {SALT_SIZE} bytes, not {len(salt)}"
        raise ValueError(msg)
    if not draft.subject or not draft.actor:
        msg = "an event needs a subject and an actor"
        raise ValueError(msg)
    check_fields(
        {
            "subject": draft.subject,
            "actor": draft.actor,
            "project": draft.project,
            "service": draft.service,
            "environment": draft.environment,
            "cause": draft.cause,
        }
    )
    name, version = NAMES[kind]
    data = codec.encode(draft.data)
    return Prepared(draft=draft, type=name, version=version, salt=salt, data=data, digest=data_digest(salt, data))


def to_row(
    prepared: Prepared, *, seq: int, prev: str, subject_version: int, at: datetime, recorded_by: str, entropy: bytes
) -> StoredRow:
    """The row of a prepared draft at its place in the chain, sealed. `entropy` (10 bytes) goes into its id."""
    draft, micros = prepared.draft, microseconds(at)
    outside = prepared.outside
    return sealed(
        StoredRow(
            seq=seq,
            id=ids.ulid(micros // 1000, entropy),
            recorded_at=micros,
            recorded_by=recorded_by,
            actor=draft.actor,
            project=draft.project,
            service=draft.service,
            environment=draft.environment,
            type=prepared.type,
            version=prepared.version,
            subject=draft.subject,
            subject_version=subject_version,
            cause=draft.cause,
            data_digest=prepared.digest,
            prev=prev,
            hash="",
            place=Place.BLOB if outside else Place.ROW,
            salt=None if outside else prepared.salt,
            data=None if outside else prepared.data,
        )
    )


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions that can be read: classes by (type, version), and the steps between them."""

    registry: Mapping[tuple[str, int], type] = field(default_factory=lambda: REGISTRY)
    upcasters: Mapping[tuple[str, int], Upcaster] = field(default_factory=lambda: UPCASTERS)

    def read(self, name: str, version: int, data: bytes) -> object:
        """The event as its newest class. `ExternalError` that names what cannot be read, and why."""
        if (name, version + 1) not in self.registry:
            kind = self.registry.get((name, version))
            if kind is None:
                raise self._unknown(name, version)
            return self._decoded(name, version, data, kind)
        plain = codec.decode(data, dict[str, Any])
        while (name, version + 1) in self.registry:
            step = self.upcasters.get((name, version))
            if step is None:
                raise ExternalError(
                    "event-step-missing", f"no upcaster leads from event {name} v{version} to v{version + 1}"
                )
            plain, version = step(plain), version + 1
        return self._decoded(name, version, codec.encode(plain), self.registry[name, version])

    def _unknown(self, name: str, version: int) -> ExternalError:
        known = sorted(number for other, number in self.registry if other == name)
        what = f"versions {known} are known" if known else "no version of it is known"
        return ExternalError(
            "event-unknown",
            f"the ledger holds event {name} v{version}; {what} to this program",
            hint="it was written by a newer Aegis: use that version or a later one",
        )

    @staticmethod
    def _decoded(name: str, version: int, data: bytes, kind: type) -> object:
        try:
            return codec.decode(data, kind)
        except AegisError as error:
            raise ExternalError(
                "event-unreadable", f"event {name} v{version} cannot be read: {error.message}"
            ) from error


VERSIONS: Final = Versions()


def row_data(row: StoredRow, content: Content | None) -> bytes | None:
    """A row's data bytes wherever they lie; None where they are erased."""
    if row.place == Place.ROW:
        return row.data
    if row.place == Place.ERASED:
        return None
    if content is None:
        raise ExternalError(
            "ledger-blob",
            f"record {row.seq}: its data lies in a blob store, and none is given",
            hint="name its directory",
        )
    kept = content(row.data_digest)
    if data_digest(kept[:SALT_SIZE], kept[SALT_SIZE:]) != row.data_digest:
        raise ExternalError("ledger-blob", f"record {row.seq}: its data is not what its header vouches for")
    return kept[SALT_SIZE:]


def to_record(row: StoredRow, content: Content | None, versions: Versions = VERSIONS) -> Record:
    """The record that a row holds, its data as the newest version of its event."""
    data = row_data(row, content)
    return envelope(row, None if data is None else versions.read(row.type, row.version, data))


def envelope(row: StoredRow, data: object | None) -> Record:
    """A row's header around data that is known already."""
    return Record(
        seq=row.seq,
        id=row.id,
        recorded_at=moment(row.recorded_at),
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
        data=data,
    )
