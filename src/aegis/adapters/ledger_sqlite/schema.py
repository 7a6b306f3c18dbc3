"""The file's layout and how SQLite's complaints are told: what is on disk, and nothing of what it means."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import Final

from aegis.core.errors import ExternalError
from aegis.ledger.chain import StoredRow

APPLICATION: Final = 0x41454749  # "AEGI", so that `file` and we know the file
LAYOUT: Final = 1

COLUMNS: Final = ", ".join(StoredRow._fields)

# The partial indexes leave out the many records without a project, service or environment.
TABLES: Final = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    recorded_by TEXT NOT NULL,
    actor TEXT NOT NULL,
    project TEXT NOT NULL,
    service TEXT NOT NULL,
    environment TEXT NOT NULL,
    type TEXT NOT NULL,
    version INTEGER NOT NULL,
    subject TEXT NOT NULL,
    subject_version INTEGER NOT NULL,
    cause TEXT NOT NULL,
    data_digest TEXT NOT NULL,
    prev TEXT NOT NULL,
    hash TEXT NOT NULL,
    place INTEGER NOT NULL,
    salt BLOB,
    data BLOB
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS by_subject ON records (subject, subject_version);
CREATE INDEX IF NOT EXISTS by_type ON records (type);
CREATE INDEX IF NOT EXISTS by_time ON records (recorded_at);
CREATE INDEX IF NOT EXISTS by_project ON records (project) WHERE project <> '';
CREATE INDEX IF NOT EXISTS by_service ON records (service, environment) WHERE service <> '';
CREATE INDEX IF NOT EXISTS by_environment ON records (environment) WHERE environment <> '';
CREATE INDEX IF NOT EXISTS by_outside ON records (data_digest) WHERE place = 1;
"""

_FULL: Final = ("full", "no space", "disk quota", "file too large")


def failed(error: Exception, path: Path) -> ExternalError:
    """What SQLite or the system said, as one of our errors: `disk-full`, `ledger-damaged` or `ledger-failed`."""
    text = str(error).lower()
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or any(word in text for word in _FULL):
        return ExternalError(
            "disk-full",
            f"the ledger {path} cannot grow: {error}; nothing was recorded",
            hint=f"free space where {path.parent} lies; the ledger goes on by itself",
            retryable=True,
        )
    if isinstance(error, sqlite3.DatabaseError) and ("malformed" in text or "not a database" in text):
        return ExternalError(
            "ledger-damaged", f"the ledger {path} is damaged: {error}", hint="restore it from its last backup"
        )
    return ExternalError("ledger-failed", f"the ledger {path} failed: {error}", retryable=True)


def check_layout(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file holds a ledger of this layout already; `ExternalError` when it is something else or newer."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    layout = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION and layout == LAYOUT:
        return True
    if application == APPLICATION and layout > LAYOUT:
        raise ExternalError(
            "ledger-newer",
            f"the ledger {path} has layout {layout}; this program knows {LAYOUT}",
            hint="use the Aegis that wrote it or a later one",
        )
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise ExternalError("not-a-ledger", f"{path} is a database of something else", hint="name another directory")
    return False
