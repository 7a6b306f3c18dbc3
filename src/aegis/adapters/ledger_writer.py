"""Writing a ledger, whatever keeps it: one thread, one transaction for whatever is queued, an answer only when it is durable.

Callers encode and digest in their own threads and wait on a future; the writer gives out numbers and versions, hashes,
and commits. A submission whose expectation has been overtaken fails alone, before anything of it is written. When the
store fails, the whole transaction is undone, everybody in it is told, and the writer goes on from what is stored.
`LedgerWriter` is this; a `RowStore` under it keeps the rows.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, Protocol, Self

from aegis.core.errors import AegisError, Conflict, ExternalError, NotFound
from aegis.core.events import DataErased, Draft, Record
from aegis.core.ports import Blobs, Clock, Entropy, Head, Query
from aegis.ledger.chain import ERASURE, SALT_SIZE, Place, StoredRow
from aegis.ledger.store import Prepared, envelope, prepare, to_row

_BATCH: Final = 256
_KNOWN_SUBJECTS: Final = 20_000


class RowReader(Protocol):
    """Reading beside the writer, from any thread."""

    def rows(self, after: int = 0, limit: int = 1000) -> tuple[StoredRow, ...]:
        """Stored rows with `seq > after`, in order, exactly as they are kept."""
        ...

    def read(self, *, after: int = 0, limit: int = 1000, query: Query | None = None) -> tuple[Record, ...]:
        """Records of a query; see the `Ledger` port."""
        ...

    def subject(self, subject: str) -> tuple[Record, ...]:
        """All records of one subject, oldest first."""
        ...

    def head(self) -> Head:
        """The last record's number and hash."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


class RowStore(Protocol):
    """Where rows are kept. Called by the writer's thread alone, `begin` first, then `commit` or `undo`."""

    def begin(self) -> None:
        """Begin a transaction; an error where this process may not write any more."""
        ...

    def insert(self, rows: Sequence[StoredRow]) -> None:
        """Add rows to the transaction."""
        ...

    def commit(self) -> None:
        """Make the transaction durable."""
        ...

    def undo(self) -> Head:
        """Undo what is under way; the head as it is stored."""
        ...

    def version(self, subject: str) -> int:
        """The last version of a subject (0: none), with what the transaction holds."""
        ...

    def kept(self, seq: int) -> tuple[str, int] | None:
        """The type and the place of the data of a record; None where it is not there."""
        ...

    def forget(self, seqs: Sequence[int]) -> None:
        """Delete salt and data of records in the transaction."""
        ...

    def forgotten(self) -> None:
        """Data was erased and the transaction is durable: nothing of it may be left lying about."""
        ...

    def told(self, error: Exception) -> AegisError | None:
        """An error of the store as one of ours; None for any other."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


@dataclass(slots=True)
class _Submission:
    prepared: tuple[Prepared, ...]
    expect: Mapping[str, int]
    erase: tuple[int, ...] = ()
    done: Future[tuple[Record, ...]] = field(default_factory=Future)


class LedgerWriter:
    """The `Ledger` port over a store, as its only writer. `blobs` keeps data beyond 16 KiB; without it such is refused."""

    def __init__(
        self, store: RowStore, reader: RowReader, head: Head,
        *, clock: Clock, entropy: Entropy, blobs: Blobs | None, recorded_by: str,
    ) -> None:  # fmt: skip
        self._store, self._rows_reader, self._head = store, reader, head
        self._clock, self._entropy, self._blobs, self._recorded_by = clock, entropy, blobs, recorded_by
        self._moved = threading.Condition()
        self._gate = threading.Lock()
        self._closed = False
        self._versions: dict[str, int] = {}
        self._queue: queue.SimpleQueue[_Submission | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="ledger-writer", daemon=True)
        self._thread.start()

    # -- the port -----------------------------------------------------------------------------------------

    def append(self, events: Sequence[Draft], *, expect: Mapping[str, int] | None = None) -> tuple[Record, ...]:
        """Durable when it returns; see the `Ledger` port. `ValueError` for what is no event: our mistake."""
        prepared = tuple(prepare(draft, self._entropy.take(SALT_SIZE)) for draft in events)
        outside = [one for one in prepared if one.outside]
        for one in outside:
            self._put_outside(one)
        try:
            return self._submit(_Submission(prepared, dict(expect or {})))
        except AegisError:
            # Salted, so nothing else can share the blob.
            for one in outside:
                if self._blobs is not None:
                    self._blobs.delete(one.digest)
            raise

    def read(self, *, after: int = 0, limit: int = 1000, query: Query | None = None) -> tuple[Record, ...]:
        """See the `Ledger` port."""
        return self._rows_reader.read(after=after, limit=limit, query=query)

    def subject(self, subject: str) -> tuple[Record, ...]:
        """See the `Ledger` port: what `append` has answered is there."""
        return self._rows_reader.subject(subject)

    def head(self) -> Head:
        """See the `Ledger` port."""
        return self._head

    def wait(self, after: int, timeout: float) -> bool:
        """See the `Ledger` port."""
        with self._moved:
            self._moved.wait_for(lambda: self._head.seq > after or self._closed, timeout)
            return self._head.seq > after

    @property
    def epoch(self) -> int:
        """The number of this writer; the file's only one is the first."""
        return 1

    def on_lost(self, call: Callable[[], object]) -> None:
        """What to call when another writer has taken over: never, where the lock is the process' own."""

    def check(self) -> None:
        """`Conflict` `writer-lost` where this process may not write any more."""

    # -- beyond the port ----------------------------------------------------------------------------------

    def rows(self, after: int = 0, limit: int = 1000) -> tuple[StoredRow, ...]:
        """Stored rows with `seq > after`, in order, exactly as they are kept."""
        return self._rows_reader.rows(after, limit)

    def erase(self, seqs: Iterable[int], *, reason: str = "retention", actor: str = "server") -> tuple[Record, ...]:
        """Delete salt and data of records (headers stay) and record it as `DataErased`; the records that were new.

        Erased already is no error and records nothing. `NotFound` for a number that is not there, `Conflict`
        `erasure-kept` for a record of an erasure: without it the gap it explains would look like damage.
        """
        wanted = tuple(sorted(set(seqs)))
        draft = Draft(subject="ledger", actor=actor, data=DataErased(ranges=_ranges(wanted), reason=reason, by=actor))
        recorded = self._submit(_Submission((prepare(draft, self._entropy.take(SALT_SIZE)),), {}, erase=wanted))
        # After the commit, and for what was erased before too: an interruption in between is mended by asking again.
        if self._blobs is not None:
            for seq in wanted:
                self._blobs.delete(self._rows_reader.rows(seq - 1, 1)[0].data_digest)
        return recorded

    def close(self) -> None:
        """Write what is queued, stop the writer, close every connection, let another writer in. Twice is fine."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        with self._moved:
            self._moved.notify_all()
        self._rows_reader.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the writer's side --------------------------------------------------------------------------------

    def _put_outside(self, one: Prepared) -> None:
        if self._blobs is None:
            raise ExternalError(
                "ledger-blob", f"an event {one.type} has {len(one.data)} bytes of data and no blob store is given"
            )
        self._blobs.put(one.salt + one.data)

    def _submit_empty(self) -> None:
        """A transaction without rows: shows whether this process may still write."""
        self._submit(_Submission((), {}))

    def _submit(self, submission: _Submission) -> tuple[Record, ...]:
        with self._gate:
            if self._closed:
                raise ExternalError("ledger-closed", "the ledger is closed; nothing was recorded")
            self._queue.put(submission)
        return submission.done.result()

    def _write(self) -> None:
        stopping = False
        while not stopping:
            batch: list[_Submission] = []
            one = self._queue.get()
            while one is not None:
                batch.append(one)
                if len(batch) == _BATCH:
                    break
                try:
                    one = self._queue.get_nowait()
                except queue.Empty:
                    break
            else:
                stopping = True
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[_Submission]) -> None:
        """One transaction. Whatever goes wrong is told to those in it, and the writer lives on."""
        kept: list[tuple[_Submission, tuple[Record, ...]]] = []
        try:
            self._store.begin()
            head = self._head
            for submission in batch:
                try:
                    rows = self._place(submission, head)
                except AegisError as error:
                    submission.done.set_exception(error)
                    continue
                if rows:
                    self._store.insert(rows)
                    head = Head(seq=rows[-1].seq, hash=rows[-1].hash)
                records = tuple(
                    envelope(row, one.draft.data) for row, one in zip(rows, submission.prepared, strict=False)
                )
                kept.append((submission, records))
            self._store.commit()
        except Exception as error:  # noqa: BLE001 - a writer that dies would leave every caller waiting
            self._undo(batch, error)
            return
        with self._moved:
            self._head = head
            self._moved.notify_all()
        for submission, records in kept:
            submission.done.set_result(records)
        if any(submission.erase for submission, _ in kept):
            self._store.forgotten()

    def _place(self, submission: _Submission, head: Head) -> list[StoredRow]:
        """The rows of a submission after `head`; `Conflict` before anything of it is written."""
        for subject, expected in submission.expect.items():
            actual = self._version(subject)
            if actual != expected:
                raise Conflict(
                    "subject-moved",
                    f"{subject} is at version {actual}, not {expected}: something happened to it meanwhile",
                    hint="look at it again and decide anew",
                    retryable=True,
                )
        if submission.erase and not self._erase(submission.erase):
            return []
        rows: list[StoredRow] = []
        seq, prev = head.seq, head.hash
        for one in submission.prepared:
            version = self._version(one.draft.subject) + 1
            seq += 1
            row = to_row(
                one,
                seq=seq,
                prev=prev,
                subject_version=version,
                at=self._clock.now(),
                recorded_by=self._recorded_by,
                entropy=self._entropy.take(10),
            )
            rows.append(row)
            self._versions[one.draft.subject] = version
            prev = row.hash
        return rows

    def _version(self, subject: str) -> int:
        known = self._versions.get(subject)
        if known is None:
            known = self._store.version(subject)
            if len(self._versions) >= _KNOWN_SUBJECTS:
                self._versions.clear()
            self._versions[subject] = known
        return known

    def _erase(self, seqs: tuple[int, ...]) -> bool:
        """Whether anything was left to erase. Checks every number before it touches one."""
        fresh: list[int] = []
        for seq in seqs:
            kept = self._store.kept(seq)
            if kept is None:
                raise NotFound("no-record", f"the ledger has no record {seq}")
            if kept[0] == ERASURE:
                raise Conflict("erasure-kept", f"record {seq} says what was erased; it is kept")
            if kept[1] != Place.ERASED:
                fresh.append(seq)
            if kept[1] == Place.BLOB and self._blobs is None:
                raise ExternalError(
                    "ledger-blob", f"record {seq} has data in a blob store and cannot be erased without it"
                )
        self._store.forget(fresh)
        return bool(fresh)

    def _undo(self, batch: list[_Submission], error: Exception) -> None:
        known = self._store.told(error) or error
        self._versions.clear()
        try:
            self._head = self._store.undo()
        except Exception as second:  # noqa: BLE001 - as above: nobody may be left waiting
            known = self._store.told(second) or second
        for submission in batch:
            if not submission.done.done():
                submission.done.set_exception(known)


def _ranges(seqs: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Sorted numbers as inclusive ranges."""
    ranges: list[tuple[int, int]] = []
    for seq in seqs:
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return tuple(ranges)
