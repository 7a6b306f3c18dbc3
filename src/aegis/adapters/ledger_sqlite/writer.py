"""Writing the ledger: one thread, one transaction for whatever is queued, an answer only when it is on the disk.

Callers encode and digest in their own threads and wait on a future; the writer gives out numbers and versions, hashes,
and commits. A submission whose expectation has been overtaken fails alone, before anything of it is written. When the
disk fails, the whole transaction is undone, everybody in it is told, and the writer goes on from what is on the disk.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from aegis.adapters.ledger_sqlite.lock import WriterLock
from aegis.adapters.ledger_sqlite.reader import SqliteLedgerReader
from aegis.adapters.ledger_sqlite.schema import APPLICATION, COLUMNS, LAYOUT, TABLES, check_layout, failed
from aegis.core.errors import AegisError, Conflict, ExternalError, NotFound
from aegis.core.events import DataErased, Draft, Record
from aegis.core.ports import Blobs, Clock, Entropy, Head, Query
from aegis.ledger.chain import EMPTY, ERASURE, SALT_SIZE, Place, StoredRow
from aegis.ledger.store import Prepared, envelope, prepare, to_row

_BATCH: Final = 256
_KNOWN_SUBJECTS: Final = 20_000
_INSERT: Final = f"INSERT INTO records ({COLUMNS}) VALUES ({', '.join('?' * len(StoredRow._fields))})"  # noqa: S608 - constants and placeholders


@dataclass(slots=True)
class _Submission:
    prepared: tuple[Prepared, ...]
    expect: Mapping[str, int]
    erase: tuple[int, ...] = ()
    done: Future[tuple[Record, ...]] = field(default_factory=Future)


class SqliteLedger:
    """The `Ledger` port on a SQLite file, as its only writer.

    `recorded_by` names this server in every record. `blobs` keeps data beyond 16 KiB; without it such an event is
    refused. `Conflict` `writer-taken` when another writer holds the directory. Opening reads the head only.
    """

    def __init__(self, path: Path, *, clock: Clock, entropy: Entropy, blobs: Blobs | None, recorded_by: str) -> None:
        self._path, self._clock, self._entropy, self._blobs = path, clock, entropy, blobs
        self._recorded_by = recorded_by
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            self._writer_lock = WriterLock(path.with_name("writer.lock"))
            opened.callback(self._writer_lock.release)
            try:
                self._database = _open(path)
                opened.callback(self._database.close)
                self._head = _head(self._database)
            except sqlite3.Error as error:
                raise failed(error, path) from error
            self._reader = SqliteLedgerReader(path, blobs=blobs)
            opened.pop_all()
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
        return self._reader.read(after=after, limit=limit, query=query)

    def subject(self, subject: str) -> tuple[Record, ...]:
        """See the `Ledger` port: what `append` has answered is there."""
        return self._reader.subject(subject)

    def head(self) -> Head:
        """See the `Ledger` port."""
        return self._head

    def wait(self, after: int, timeout: float) -> bool:
        """See the `Ledger` port."""
        with self._moved:
            self._moved.wait_for(lambda: self._head.seq > after or self._closed, timeout)
            return self._head.seq > after

    # -- beyond the port ----------------------------------------------------------------------------------

    @property
    def reader(self) -> SqliteLedgerReader:
        """The reading side, for verification and export beside the writer."""
        return self._reader

    def rows(self, after: int = 0, limit: int = 1000) -> tuple[StoredRow, ...]:
        """Stored rows with `seq > after`, in order, exactly as they are kept."""
        return self._reader.rows(after, limit)

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
                self._blobs.delete(self._reader.rows(seq - 1, 1)[0].data_digest)
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
        self._reader.close()
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("PRAGMA optimize")
        self._database.close()
        self._writer_lock.release()

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
            self._database.execute("BEGIN IMMEDIATE")
            head = self._head
            for submission in batch:
                try:
                    rows = self._place(submission, head)
                except AegisError as error:
                    submission.done.set_exception(error)
                    continue
                if rows:
                    self._database.executemany(_INSERT, rows)
                    head = Head(seq=rows[-1].seq, hash=rows[-1].hash)
                records = tuple(
                    envelope(row, one.draft.data) for row, one in zip(rows, submission.prepared, strict=False)
                )
                kept.append((submission, records))
            self._database.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - a writer that dies would leave every caller waiting
            self._undo(batch, error)
            return
        with self._moved:
            self._head = head
            self._moved.notify_all()
        for submission, records in kept:
            submission.done.set_result(records)
        if any(submission.erase for submission, _ in kept):
            self._forget_old_pages()

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
            found = self._database.execute("SELECT max(subject_version) FROM records WHERE subject = ?", (subject,))
            known = found.fetchone()[0] or 0
            if len(self._versions) >= _KNOWN_SUBJECTS:
                self._versions.clear()
            self._versions[subject] = known
        return known

    def _erase(self, seqs: tuple[int, ...]) -> bool:
        """Whether anything was left to erase. Checks every number before it touches one."""
        fresh: list[tuple[int]] = []
        for seq in seqs:
            row = self._database.execute("SELECT type, place FROM records WHERE seq = ?", (seq,)).fetchone()
            if row is None:
                raise NotFound("no-record", f"the ledger has no record {seq}")
            if row[0] == ERASURE:
                raise Conflict("erasure-kept", f"record {seq} says what was erased; it is kept")
            if row[1] != Place.ERASED:
                fresh.append((seq,))
            if row[1] == Place.BLOB and self._blobs is None:
                raise ExternalError(
                    "ledger-blob", f"record {seq} has data in a blob store and cannot be erased without it"
                )
        statement = "UPDATE records SET place = 2, salt = NULL, data = NULL WHERE seq = ?"  # Place.ERASED
        self._database.executemany(statement, fresh)
        return bool(fresh)

    def _undo(self, batch: list[_Submission], error: Exception) -> None:
        known = failed(error, self._path) if isinstance(error, (sqlite3.Error, OSError)) else error
        self._versions.clear()
        try:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            self._head = _head(self._database)
        except sqlite3.Error as second:
            known = failed(second, self._path)
        for submission in batch:
            if not submission.done.done():
                submission.done.set_exception(known)

    def _forget_old_pages(self) -> None:
        # Erased bytes would stay readable in the log until it is next overwritten.
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    try:
        path.chmod(0o600)
        known = check_layout(database, path)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "cache_size = -16384"):
            database.execute(f"PRAGMA {pragma}").fetchone()
        if not known:
            database.executescript(
                f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {LAYOUT}; COMMIT;"
            )
    except BaseException:
        database.close()
        raise
    return database


def _head(database: sqlite3.Connection) -> Head:
    row: tuple[Any, ...] | None = database.execute("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1").fetchone()
    return Head(seq=row[0], hash=row[1]) if row else EMPTY


def _ranges(seqs: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Sorted numbers as inclusive ranges."""
    ranges: list[tuple[int, int]] = []
    for seq in seqs:
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return tuple(ranges)
