"""Reading the ledger's tables: queries by index, on pooled read-only connections that never block the writer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Final

import psycopg

from aegis.adapters.ledger_postgres.schema import COLUMNS, connect, failed
from aegis.adapters.postgres_address import shown
from aegis.core.errors import ExternalError, NotFound
from aegis.core.events import Record
from aegis.core.ports import Blobs, Head, Query
from aegis.ledger.chain import EMPTY, Content, StoredRow, microseconds
from aegis.ledger.store import to_record

_NO_LIMIT: Final = -1


class PostgresLedgerReader:
    """A ledger in a database, read-only, beside a running writer or without one. Safe from any thread; `close` it.

    `NotFound` where the database holds no ledger. A connection that has broken is replaced at the next question.
    """

    def __init__(self, address: str, *, blobs: Blobs | None = None) -> None:
        self._address = address
        self.content: Content | None = blobs.get if blobs is not None else None
        self._lock = threading.Lock()
        self._idle: list[psycopg.Connection[Any]] = []
        self._all: set[psycopg.Connection[Any]] = set()
        self._closed = False
        if not self._ask("SELECT to_regclass('records') IS NOT NULL")[0][0]:
            self.close()
            raise NotFound(
                "no-ledger", f"{shown(address)} holds no ledger", hint="it becomes one when a server starts on it"
            )

    def rows(self, after: int = 0, limit: int = 1000) -> tuple[StoredRow, ...]:
        """Stored rows with `seq > after`, in order, exactly as they are kept."""
        return self._rows(f"SELECT {COLUMNS} FROM records WHERE seq > %s ORDER BY seq LIMIT %s", (after, limit))  # noqa: S608 - constants and placeholders

    def read(self, *, after: int = 0, limit: int = 1000, query: Query | None = None) -> tuple[Record, ...]:
        """Records of a query; see the `Ledger` port."""
        sql, values = statement(query or Query(), after, limit)
        return tuple(to_record(row, self.content) for row in self._rows(sql, values))

    def subject(self, subject: str) -> tuple[Record, ...]:
        """All records of one subject, oldest first."""
        return self.read(limit=_NO_LIMIT, query=Query(subjects=(subject,)))

    def head(self) -> Head:
        """The last record's number and hash."""
        rows = self._ask("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1")
        return Head(seq=rows[0][0], hash=rows[0][1]) if rows else EMPTY

    def outside(self) -> frozenset[str]:
        """The digests of all data kept in the blob store: what a clean-up of blobs has to leave there."""
        return frozenset(row[0] for row in self._ask("SELECT data_digest FROM records WHERE place = 1"))

    def close(self) -> None:
        """Close every connection; reads that are under way end first or fail."""
        with self._lock:
            self._closed = True
            for connection in self._all:
                connection.close()
            self._all.clear()
            self._idle.clear()

    def _rows(self, sql: str, values: tuple[Any, ...]) -> tuple[StoredRow, ...]:
        return tuple(map(StoredRow._make, self._ask(sql, values)))

    def _ask(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._connection() as connection:
            return connection.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        with self._lock:
            if self._closed:
                raise ExternalError("ledger-closed", "the ledger is closed")
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = connect(self._address, name="aegis reader")
            connection.execute("SET default_transaction_read_only = on")
            with self._lock:
                self._all.add(connection)
        try:
            yield connection
        except psycopg.Error as error:
            raise failed(error, self._address) from error
        finally:
            with self._lock:
                if connection.closed or connection.broken:
                    self._all.discard(connection)
                elif not self._closed:
                    self._idle.append(connection)


def statement(query: Query, after: int, limit: int) -> tuple[str, tuple[Any, ...]]:
    """The SQL of a query and its values."""
    conditions: list[str] = []
    values: list[Any] = []
    if not query.newest_first or after > 0:
        conditions.append("seq < %s" if query.newest_first else "seq > %s")
        values.append(after)
    for column, text in (("project", query.project), ("service", query.service), ("environment", query.environment)):
        if text:
            conditions.append(f"{column} = %s AND {column} <> ''")
            values.append(text)
    for column, wanted in (("subject", query.subjects), ("type", query.types)):
        if wanted:
            conditions.append(f"{column} = ANY(%s)")
            values.append(list(wanted))
    for sign, bound in ((">=", query.since), ("<=", query.until)):
        if bound is not None:
            conditions.append(f"recorded_at {sign} %s")
            values.append(microseconds(bound))
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    order = f"ORDER BY seq {'DESC' if query.newest_first else 'ASC'}"
    bounded = "" if limit == _NO_LIMIT else " LIMIT %s"
    values += [] if limit == _NO_LIMIT else [limit]
    return f"SELECT {COLUMNS} FROM records {where} {order}{bounded}", tuple(values)  # noqa: S608 - constants and placeholders
