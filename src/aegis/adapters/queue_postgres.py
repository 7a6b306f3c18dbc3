"""`QueueStore` in PostgreSQL: leases and the recovery bookmark, beside the ledger. It may be emptied at any time; it is rebuilt."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import psycopg

from aegis.adapters.ledger_postgres.schema import connect, failed, prepare_tables
from aegis.execution.ports import Lease


class PostgresQueue:
    """A queue store in the database `address`. Thread-safe; the process that holds the ledger's lease uses it.

    Commits do not wait for the disk: an older bookmark only makes recovery read more. A broken connection is made anew.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._database = self._connect()
        prepare_tables(self._database, address)

    def _connect(self) -> psycopg.Connection[Any]:
        database = connect(self._address, name="aegis queue")
        database.execute("SET synchronous_commit = off")
        return database

    def put(self, lease: Lease) -> None:
        """See `QueueStore`."""
        self._ask(
            "INSERT INTO lease VALUES (%s, %s, %s, %s, %s) ON CONFLICT (job_id) DO UPDATE SET run = excluded.run,"
            " runner = excluded.runner, resumable = excluded.resumable, expires = excluded.expires",
            (lease.job_id, lease.run, lease.runner, lease.resumable, lease.expires),
        )

    def remove(self, job_id: str) -> None:
        """See `QueueStore`."""
        self._ask("DELETE FROM lease WHERE job_id = %s", (job_id,))

    def leases(self) -> tuple[Lease, ...]:
        """See `QueueStore`."""
        rows = self._ask("SELECT job_id, run, runner, resumable, expires FROM lease", ())
        return tuple(
            Lease(job_id=job_id, run=run, runner=runner, resumable=resumable, expires=expires)
            for job_id, run, runner, resumable, expires in rows
        )

    def mark(self, seq: int, open_runs: Sequence[str]) -> None:
        """See `QueueStore`."""
        self._ask(
            "INSERT INTO bookmark VALUES (1, %s, %s) ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, runs = excluded.runs",
            (seq, json.dumps(list(open_runs))),
        )

    def bookmark(self) -> tuple[int, tuple[str, ...]]:
        """See `QueueStore`."""
        rows = self._ask("SELECT seq, runs FROM bookmark", ())
        return (rows[0][0], tuple(json.loads(rows[0][1]))) if rows else (0, ())

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            self._database.close()

    def _ask(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                if self._database.closed or self._database.broken:
                    self._database = self._connect()
                cursor = self._database.execute(sql, values)
                return cursor.fetchall() if cursor.description else []
            except psycopg.Error as error:
                raise failed(error, self._address) from error
