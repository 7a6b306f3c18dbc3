"""Checkpoints of projections in a SQLite file of their own, which may be deleted at any time.

Kept apart from the ledger so that a large dump never stands in the writer's way, and so that damage here costs a
rebuild and nothing else: a file that cannot be read is set aside and begun anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path
from typing import Final

from aegis.core.errors import ExternalError
from aegis.ledger.projections import Checkpoint

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS checkpoints"
    " (name TEXT PRIMARY KEY, version INTEGER, cursor INTEGER, hash TEXT, dump BLOB) STRICT"
)


class SqliteCheckpoints:
    """The `CheckpointStore` port on the file `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._database = self._open()
        except sqlite3.DatabaseError:
            self._set_aside()
            self._database = self._open()

    def load(self, name: str) -> Checkpoint | None:
        """The checkpoint of a projection, or None."""
        columns = "name, version, cursor, hash, dump"
        try:
            with self._lock:
                row = self._database.execute(f"SELECT {columns} FROM checkpoints WHERE name = ?", (name,)).fetchone()  # noqa: S608 - constant
        except sqlite3.DatabaseError:
            return None
        return Checkpoint(name=row[0], version=row[1], cursor=row[2], hash=row[3], dump=row[4]) if row else None

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint of a projection."""
        values = (checkpoint.name, checkpoint.version, checkpoint.cursor, checkpoint.hash, checkpoint.dump)
        try:
            with self._lock:
                self._database.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?)", values)
        except sqlite3.Error as error:
            raise ExternalError(
                "checkpoint-unsaved",
                f"the checkpoint of {checkpoint.name} could not be saved: {error}",
                hint=f"look at the space and rights of {self._path.parent}",
                retryable=True,
            ) from error

    def close(self) -> None:
        """Close the file; twice is fine."""
        with self._lock:
            self._database.close()

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10.0)
        try:
            database.execute("PRAGMA journal_mode = WAL").fetchone()
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(_TABLE)
            database.execute("SELECT count(*) FROM checkpoints").fetchone()
        except BaseException:
            database.close()
            raise
        return database

    def _set_aside(self) -> None:
        self._path.replace(self._path.with_name(self._path.name + ".damaged"))
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).unlink()
