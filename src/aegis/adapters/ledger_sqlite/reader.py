"""Reading the ledger file: queries by index, on pooled read-only connections that never block the writer."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from aegis.adapters.ledger_sqlite.schema import COLUMNS, check_layout, failed
from aegis.core.errors import ExternalError, NotFound
from aegis.core.events import Record
from aegis.core.ports import Blobs, Head, Query
from aegis.ledger.chain import EMPTY, Content, StoredRow, microseconds
from aegis.ledger.store import to_record

_NO_LIMIT: Final = -1
_COMPOUND: Final = 100
"""Subjects or types up to which each is followed through its own index; SQLite joins at most 500 selects."""


class SqliteLedgerReader:
    """A ledger file read-only, beside a running writer or without one. Safe from any thread; `close` it at the end.

    `NotFound` where there is no such file.
    """

    def __init__(self, path: Path, *, blobs: Blobs | None = None) -> None:
        if not path.is_file():
            raise NotFound(
                "no-ledger", f"there is no ledger at {path}", hint="name the server's data directory with --data DIR"
            )
        self._path = path
        self.content: Content | None = blobs.get if blobs is not None else None
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._all: list[sqlite3.Connection] = []
        self._closed = False
        with self._connection() as connection:
            if not check_layout(connection, path):
                raise NotFound("no-ledger", f"{path} is empty", hint="it becomes a ledger when a server starts on it")

    def rows(self, after: int = 0, limit: int = 1000) -> tuple[StoredRow, ...]:
        """Stored rows with `seq > after`, in order, exactly as they are kept."""
        return self._rows(f"SELECT {COLUMNS} FROM records WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))  # noqa: S608 - constants and placeholders

    def read(self, *, after: int = 0, limit: int = 1000, query: Query | None = None) -> tuple[Record, ...]:
        """Records of a query; see the `Ledger` port."""
        sql, values = statement(query or Query(), after, limit)
        return tuple(to_record(row, self.content) for row in self._rows(sql, values))

    def subject(self, subject: str) -> tuple[Record, ...]:
        """All records of one subject, oldest first."""
        return self.read(limit=_NO_LIMIT, query=Query(subjects=(subject,)))

    def head(self) -> Head:
        """The last record's number and hash."""
        with self._connection() as connection:
            row = connection.execute("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1").fetchone()
        return Head(seq=row[0], hash=row[1]) if row else EMPTY

    def outside(self) -> frozenset[str]:
        """The digests of all data kept in the blob store: what a clean-up of blobs has to leave there."""
        with self._connection() as connection:
            return frozenset(row[0] for row in connection.execute("SELECT data_digest FROM records WHERE place = 1"))

    def close(self) -> None:
        """Close every connection; reads that are under way end first or fail as `ledger-closed`."""
        with self._lock:
            self._closed = True
            for connection in self._all:
                connection.close()
            self._all.clear()
            self._idle.clear()

    def _rows(self, sql: str, values: tuple[Any, ...]) -> tuple[StoredRow, ...]:
        with self._connection() as connection:
            return tuple(map(StoredRow._make, connection.execute(sql, values)))

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._closed:
                raise ExternalError("ledger-closed", "the ledger is closed")
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is None:
                connection = open_read_only(self._path)
                with self._lock:
                    self._all.append(connection)
            yield connection
        except sqlite3.Error as error:
            raise failed(error, self._path) from error
        finally:
            if connection is not None:
                with self._lock:
                    if not self._closed:
                        self._idle.append(connection)


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; a ledger on read-only media is taken as it stands."""
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = _connect(address)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        # WAL wants to write its index beside the file; where it may not and nothing is in the WAL, the file is whole.
        connection.close()
        if path.with_name(path.name + "-wal").exists():
            raise
        connection = _connect(address + "&immutable=1")
    return connection


def _connect(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=10.0)
    connection.execute("PRAGMA query_only = ON")
    return connection


def statement(query: Query, after: int, limit: int) -> tuple[str, tuple[Any, ...]]:
    """The SQL of a query and its values.

    With several subjects or types each is followed through its own index, in order and bounded, and the results are
    merged: a page of the newest never sorts all there are.
    """
    conditions, values = _conditions(query)
    if query.newest_first:
        order = "DESC"
        if after > 0:
            conditions, values = [*conditions, "seq < ?"], [*values, after]
    else:
        order = "ASC"
        conditions, values = [*conditions, "seq > ?"], [*values, after]
    column, wanted = ("subject", query.subjects) if query.subjects else ("type", query.types)
    if query.subjects and query.types:
        conditions = [*conditions, f"+type IN ({', '.join('?' * len(query.types))})"]
        values = [*values, *query.types]
    tail = f"ORDER BY seq {order} LIMIT ?"
    if len(set(wanted)) > _COMPOUND:
        conditions, values = [*conditions, f"{column} IN ({', '.join('?' * len(wanted))})"], [*values, *wanted]
        wanted = ()
    if not wanted:
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT {COLUMNS} FROM records {where} {tail}", (*values, limit)  # noqa: S608 - as above
    clause = " AND ".join([*conditions, f"{column} = ?"])
    ordered = "subject_version" if column == "subject" else "seq"
    one = f"SELECT * FROM (SELECT {COLUMNS} FROM records WHERE {clause} ORDER BY {ordered} {order} LIMIT ?)"  # noqa: S608 - as above
    parts = tuple(dict.fromkeys(wanted))
    everything = tuple(value for part in parts for value in (*values, part, limit))
    if len(parts) == 1:
        return one, everything
    return f"{' UNION ALL '.join([one] * len(parts))} {tail}", (*everything, limit)


def _conditions(query: Query) -> tuple[list[str], list[Any]]:
    # `+` keeps SQLite from preferring a second, worse index where a subject or type leads already.
    led = "+" if query.subjects or query.types else ""
    conditions: list[str] = []
    values: list[Any] = []
    for column, text in (("project", query.project), ("service", query.service), ("environment", query.environment)):
        if text:
            conditions.append(f"{led}{column} = ?")
            values.append(text)
            if not led:
                conditions.append(f"{column} <> ''")
    for sign, bound in ((">=", query.since), ("<=", query.until)):
        if bound is not None:
            conditions.append(f"{led}recorded_at {sign} ?")
            values.append(microseconds(bound))
    return conditions, values
