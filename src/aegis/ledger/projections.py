"""Projections: what is shown, folded from the ledger by cursor, with checkpoints that bound what a start must fold.

Decides from where a projection goes on, when it is saved, and when a checkpoint counts for nothing: another version,
a dump that cannot be read, or a cursor whose record is not the one in this ledger (a restored or replaced file). Then
it is rebuilt from the beginning. It has no thread and no clock: who drives it calls `catch_up`, in one thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from aegis.core.errors import AegisError, ExternalError
from aegis.core.events import Record
from aegis.core.ports import Ledger
from aegis.ledger.chain import GENESIS

PAGE: Final = 2000


class Projection(Protocol):
    """A fold over records. Its state follows from the records alone: no clock, no I/O, no randomness.

    `version` changes when the meaning or form of the state changes; an older checkpoint is then thrown away.
    """

    @property
    def name(self) -> str:
        """A stable name, unique among projections."""
        ...

    @property
    def version(self) -> int:
        """The state's version."""
        ...

    def apply(self, record: Record) -> None:
        """Take one record, the next in order. Records that mean nothing here are ignored; erased data is None."""
        ...

    def dump(self) -> bytes:
        """The whole state; a fresh projection's dump is the empty state."""
        ...

    def load(self, data: bytes) -> None:
        """Replace the whole state by a dump's; `ValueError` when it cannot be read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A projection's state after record `cursor`, whose hash ties it to one ledger."""

    name: str
    version: int
    cursor: int
    hash: str
    dump: bytes


class CheckpointStore(Protocol):
    """One checkpoint per projection. It may lose any of them: they can be rebuilt. Safe from any thread."""

    def load(self, name: str) -> Checkpoint | None:
        """The last one saved and kept, or None; damage is None too."""
        ...

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the projection's checkpoint, whole or not at all; `ExternalError` when it cannot be kept."""
        ...


P = TypeVar("P", bound=Projection)


@dataclass(slots=True, eq=False)
class Followed(Generic[P]):
    """A projection with its cursor. `saved` is the cursor of its last checkpoint."""

    projection: P
    cursor: int = 0
    hash: str = GENESIS
    saved: int = 0

    def offer(self, record: Record) -> None:
        """Apply a record once: what is at or before the cursor is ignored, a gap is refused."""
        if record.seq <= self.cursor:
            return
        if record.seq != self.cursor + 1:
            raise ExternalError(
                "projection-gap", f"{self.projection.name} is at {self.cursor} and was given record {record.seq}"
            )
        self.projection.apply(record)
        self.cursor, self.hash = record.seq, record.hash


@dataclass(slots=True, eq=False)
class ProjectionRunner:
    """Keeps projections at the ledger's head. Not thread-safe: one thread drives it, readers look in the same one.

    `every` records at most lie between two checkpoints of a projection, so a start folds at most so many again.
    """

    ledger: Ledger
    store: CheckpointStore
    every: int = 20_000
    unsaved: AegisError | None = None
    """Why the last checkpoint could not be saved; the projections go on, only the next start is slower."""
    _followed: list[Followed[Projection]] = field(default_factory=list)

    def follow(self, projection: P) -> P:
        """Take on a fresh projection, at its checkpoint where one counts; `catch_up` brings it to the head."""
        if any(one.projection.name == projection.name for one in self._followed):
            msg = f"projection {projection.name} is followed twice"
            raise ValueError(msg)
        followed: Followed[Projection] = Followed(projection)
        self._restore(followed)
        self._followed.append(followed)
        return projection

    def catch_up(self, limit: int | None = None) -> int:
        """Fold what is new (at most `limit` records); how many records were read."""
        read = 0
        while limit is None or read < limit:
            size = PAGE if limit is None else min(PAGE, limit - read)
            records = self.ledger.read(after=self.position(), limit=size)
            if not records:
                break
            self.fold(records)
            read += len(records)
        return read

    def fold(self, records: Iterable[Record]) -> None:
        """Apply records in order to every projection that has not seen them, and save what is due."""
        for record in records:
            for followed in self._followed:
                followed.offer(record)
        for followed in self._followed:
            if followed.cursor - followed.saved >= self.every:
                self._save(followed)

    def position(self) -> int:
        """The record up to which every projection has come."""
        return min((one.cursor for one in self._followed), default=self.ledger.head().seq)

    def lag(self) -> int:
        """How many durable records the slowest projection has not seen."""
        return max(0, self.ledger.head().seq - self.position())

    def save(self) -> None:
        """Save every projection that has moved: at the end, or when there is leisure."""
        for followed in self._followed:
            if followed.cursor != followed.saved:
                self._save(followed)

    def _save(self, followed: Followed[Projection]) -> None:
        one = followed.projection
        checkpoint = Checkpoint(
            name=one.name, version=one.version, cursor=followed.cursor, hash=followed.hash, dump=one.dump()
        )
        try:
            self.store.save(checkpoint)
        except AegisError as error:
            self.unsaved = error
        else:
            self.unsaved = None
        # Also after a failure: a full disk must not cost a dump per page.
        followed.saved = followed.cursor

    def _restore(self, followed: Followed[Projection]) -> None:
        projection = followed.projection
        kept = self.store.load(projection.name)
        if kept is None or kept.version != projection.version or not self._ours(kept):
            return
        empty = projection.dump()
        try:
            projection.load(kept.dump)
        except ValueError:
            projection.load(empty)
            return
        followed.cursor = followed.saved = kept.cursor
        followed.hash = kept.hash

    def _ours(self, kept: Checkpoint) -> bool:
        if kept.cursor == 0:
            return kept.hash == GENESIS
        found = self.ledger.read(after=kept.cursor - 1, limit=1)
        return bool(found) and found[0].seq == kept.cursor and found[0].hash == kept.hash
