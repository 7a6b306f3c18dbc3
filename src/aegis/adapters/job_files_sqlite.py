"""`JobFiles` in SQLite: what remote runners uploaded of jobs that still run. Leavings of a month are swept at the start."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Final

from aegis.core.errors import ExternalError
from aegis.core.types import StoredFile

_STALE_SECONDS: Final = 30 * 86400
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS job_file (
  place INTEGER PRIMARY KEY, job_id TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,
  size INTEGER NOT NULL, at REAL NOT NULL, UNIQUE (job_id, kind, name)
);
"""


class SqliteJobFiles:
    """Files of jobs in the database `path`. Thread-safe; one process uses it. Every `add` is durable when it returns."""

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(str(path), check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_SCHEMA)
        self._database.execute("DELETE FROM job_file WHERE at < ?", (time.time() - _STALE_SECONDS,))

    def add(self, job_id: str, file: StoredFile) -> None:
        """See `JobFiles`."""
        self._write(
            "INSERT INTO job_file (job_id, kind, name, digest, size, at) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (job_id, kind, name) DO UPDATE SET digest = excluded.digest, size = excluded.size",
            (job_id, file.kind, file.name, file.digest, file.size, time.time()),
        )

    def of(self, job_id: str) -> tuple[StoredFile, ...]:
        """See `JobFiles`."""
        with self._lock:
            rows = self._database.execute(
                "SELECT name, kind, digest, size FROM job_file WHERE job_id = ? ORDER BY place", (job_id,)
            ).fetchall()
        return tuple(StoredFile(name=name, kind=kind, digest=digest, size=size) for name, kind, digest, size in rows)

    def forget(self, job_id: str) -> None:
        """See `JobFiles`."""
        self._write("DELETE FROM job_file WHERE job_id = ?", (job_id,))

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._database.close()

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
        try:
            with self._lock:
                self._database.execute(sql, values)
        except sqlite3.Error as error:
            raise ExternalError(
                "job-files", f"what a runner uploaded could not be noted: {error}", retryable=True
            ) from error
