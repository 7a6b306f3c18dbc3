"""`QueueStore` in SQLite: leases and the recovery bookmark. It may be deleted at any time; it is rebuilt."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aegis.core.errors import ExternalError
from aegis.execution.ports import Lease

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS lease (
  job_id TEXT PRIMARY KEY, run TEXT NOT NULL, runner TEXT NOT NULL, resumable INTEGER NOT NULL, expires REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bookmark (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, runs TEXT NOT NULL);
"""


class SqliteQueue:
    """A queue store in the file `path`; `:memory:` keeps nothing. Thread-safe; one process uses it.

    Commits are not flushed to the disk one by one: after a power failure an older bookmark only makes recovery read more.
    A file that is not readable as such is begun anew.
    """

    def __init__(self, path: Path | str = ":memory:") -> None:
        self._lock = threading.Lock()
        try:
            self._database = self._begin(str(path))
        except sqlite3.DatabaseError:
            Path(path).unlink(missing_ok=True)
            self._database = self._begin(str(path))

    @staticmethod
    def _begin(path: str) -> sqlite3.Connection:
        database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.executescript(_SCHEMA)
        return database

    def put(self, lease: Lease) -> None:
        """See `QueueStore`."""
        values = (lease.job_id, lease.run, lease.runner, int(lease.resumable), lease.expires)
        self._write("INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?)", values)

    def remove(self, job_id: str) -> None:
        """See `QueueStore`."""
        self._write("DELETE FROM lease WHERE job_id = ?", (job_id,))

    def leases(self) -> tuple[Lease, ...]:
        """See `QueueStore`."""
        with self._lock:
            rows = self._database.execute("SELECT job_id, run, runner, resumable, expires FROM lease").fetchall()
        return tuple(
            Lease(job_id=job_id, run=run, runner=runner, resumable=bool(resumable), expires=expires)
            for job_id, run, runner, resumable, expires in rows
        )

    def mark(self, seq: int, open_runs: Sequence[str]) -> None:
        """See `QueueStore`."""
        self._write("INSERT OR REPLACE INTO bookmark VALUES (1, ?, ?)", (seq, json.dumps(list(open_runs))))

    def bookmark(self) -> tuple[int, tuple[str, ...]]:
        """See `QueueStore`."""
        with self._lock:
            row = self._database.execute("SELECT seq, runs FROM bookmark").fetchone()
        return (row[0], tuple(json.loads(row[1]))) if row else (0, ())

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._database.close()

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
        try:
            with self._lock:
                self._database.execute(sql, values)
        except sqlite3.Error as error:
            raise ExternalError("queue-store", f"the job queue's store failed: {error}") from error
