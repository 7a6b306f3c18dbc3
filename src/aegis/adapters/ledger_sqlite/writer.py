"""Writing the ledger file: what `LedgerWriter` needs of SQLite, durable when a commit returns."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from aegis.adapters.ledger_sqlite.lock import WriterLock
from aegis.adapters.ledger_sqlite.reader import SqliteLedgerReader
from aegis.adapters.ledger_sqlite.schema import APPLICATION, COLUMNS, LAYOUT, TABLES, check_layout, failed
from aegis.adapters.ledger_writer import LedgerWriter
from aegis.core.errors import AegisError
from aegis.core.ports import Blobs, Clock, Entropy, Head
from aegis.ledger.chain import EMPTY, StoredRow

_INSERT: Final = f"INSERT INTO records ({COLUMNS}) VALUES ({', '.join('?' * len(StoredRow._fields))})"  # noqa: S608 - constants and placeholders


class SqliteRows:
    """The `RowStore` in one file, whose directory it locks. `Conflict` `writer-taken` when another writer holds that."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            self._writer_lock = WriterLock(path.with_name("writer.lock"))
            opened.callback(self._writer_lock.release)
            try:
                self._database = _open(path)
                opened.callback(self._database.close)
                self.head = _head(self._database)
            except sqlite3.Error as error:
                raise failed(error, path) from error
            opened.pop_all()

    def begin(self) -> None:
        """See `RowStore`."""
        self._database.execute("BEGIN IMMEDIATE")

    def insert(self, rows: Sequence[StoredRow]) -> None:
        """See `RowStore`."""
        self._database.executemany(_INSERT, rows)

    def commit(self) -> None:
        """See `RowStore`."""
        self._database.execute("COMMIT")

    def undo(self) -> Head:
        """See `RowStore`."""
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")
        return _head(self._database)

    def version(self, subject: str) -> int:
        """See `RowStore`."""
        found = self._database.execute("SELECT max(subject_version) FROM records WHERE subject = ?", (subject,))
        return found.fetchone()[0] or 0

    def kept(self, seq: int) -> tuple[str, int] | None:
        """See `RowStore`."""
        row = self._database.execute("SELECT type, place FROM records WHERE seq = ?", (seq,)).fetchone()
        return (row[0], row[1]) if row else None

    def forget(self, seqs: Sequence[int]) -> None:
        """See `RowStore`."""
        statement = "UPDATE records SET place = 2, salt = NULL, data = NULL WHERE seq = ?"  # Place.ERASED
        self._database.executemany(statement, [(seq,) for seq in seqs])

    def forgotten(self) -> None:
        """See `RowStore`: erased bytes would stay readable in the log until it is next overwritten."""
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def told(self, error: Exception) -> AegisError | None:
        """See `RowStore`."""
        return failed(error, self._path) if isinstance(error, (sqlite3.Error, OSError)) else None

    def close(self) -> None:
        """See `RowStore`."""
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("PRAGMA optimize")
        self._database.close()
        self._writer_lock.release()


class SqliteLedger(LedgerWriter):
    """The `Ledger` port on a SQLite file, as its only writer.

    `recorded_by` names this server in every record. `blobs` keeps data beyond 16 KiB; without it such an event is
    refused. `Conflict` `writer-taken` when another writer holds the directory. Opening reads the head only.
    """

    def __init__(self, path: Path, *, clock: Clock, entropy: Entropy, blobs: Blobs | None, recorded_by: str) -> None:
        rows = SqliteRows(path)
        try:
            self._reader = SqliteLedgerReader(path, blobs=blobs)
        except BaseException:
            rows.close()
            raise
        super().__init__(
            rows, self._reader, rows.head, clock=clock, entropy=entropy, blobs=blobs, recorded_by=recorded_by
        )

    @property
    def reader(self) -> SqliteLedgerReader:
        """The reading side, for verification and export beside the writer."""
        return self._reader


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
