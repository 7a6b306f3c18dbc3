"""The tables, how to connect, and how PostgreSQL's complaints are told: what is stored, and nothing of what it means."""

from __future__ import annotations

from typing import Any, Final

import psycopg

from aegis.adapters.postgres_address import shown
from aegis.core.errors import AegisError, Conflict, ExternalError
from aegis.ledger.chain import StoredRow

LAYOUT: Final = 1
LOCK: Final = 0x4145474953  # "AEGIS", of the advisory lock
COLUMNS: Final = ", ".join(StoredRow._fields)
_WAIT: Final = 5
"""Seconds for a connection to be made; and about how long a silent peer counts as alive."""

# Text is compared byte by byte, as in the file; the partial indexes leave out the many records without the field.
TABLES: Final = """
CREATE TABLE IF NOT EXISTS aegis_ledger (
    one INTEGER PRIMARY KEY CHECK (one = 1), layout INTEGER NOT NULL, epoch BIGINT NOT NULL,
    writer TEXT NOT NULL, stores TEXT NOT NULL, since TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS records (
    seq BIGINT PRIMARY KEY,
    id TEXT NOT NULL, recorded_at BIGINT NOT NULL, recorded_by TEXT NOT NULL, actor TEXT NOT NULL,
    project TEXT COLLATE "C" NOT NULL, service TEXT COLLATE "C" NOT NULL, environment TEXT COLLATE "C" NOT NULL,
    type TEXT COLLATE "C" NOT NULL, version INTEGER NOT NULL,
    subject TEXT COLLATE "C" NOT NULL, subject_version BIGINT NOT NULL, cause TEXT NOT NULL, data_digest TEXT NOT NULL,
    prev TEXT NOT NULL, hash TEXT NOT NULL, place SMALLINT NOT NULL, salt BYTEA, data BYTEA
);
CREATE UNIQUE INDEX IF NOT EXISTS records_by_subject ON records (subject, subject_version);
CREATE INDEX IF NOT EXISTS records_by_type ON records (type, seq);
CREATE INDEX IF NOT EXISTS records_by_time ON records (recorded_at);
CREATE INDEX IF NOT EXISTS records_by_project ON records (project, seq) WHERE project <> '';
CREATE INDEX IF NOT EXISTS records_by_service ON records (service, environment, seq) WHERE service <> '';
CREATE INDEX IF NOT EXISTS records_by_environment ON records (environment, seq) WHERE environment <> '';
CREATE INDEX IF NOT EXISTS records_by_outside ON records (data_digest) WHERE place = 1;
CREATE TABLE IF NOT EXISTS lease (
    job_id TEXT PRIMARY KEY, run TEXT NOT NULL, runner TEXT NOT NULL, resumable BOOLEAN NOT NULL,
    expires DOUBLE PRECISION NOT NULL
);
CREATE TABLE IF NOT EXISTS bookmark (one INTEGER PRIMARY KEY CHECK (one = 1), seq BIGINT NOT NULL, runs TEXT NOT NULL);
"""


def connect(address: str, *, name: str) -> psycopg.Connection[Any]:
    """A connection in which every statement is its own transaction; `ExternalError` where there is none."""
    try:
        return psycopg.connect(
            address, autocommit=True, connect_timeout=_WAIT, application_name=name, keepalives_idle=2,
            keepalives_interval=1, keepalives_count=3,
            # A writer whose machine is gone must not hold the lease for hours.
            options="-c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3"
            " -c synchronous_commit=on -c timezone=UTC",
        )  # fmt: skip
    except psycopg.Error as error:
        raise failed(error, address) from error


def failed(error: Exception, address: str) -> AegisError:
    """What PostgreSQL said, as one of our errors."""
    where = shown(address)
    if isinstance(error, psycopg.errors.DiskFull):
        return ExternalError(
            "disk-full", f"the ledger {where} cannot grow: {error}; nothing was recorded",
            hint="free space where the database lies; the ledger goes on by itself", retryable=True,
        )  # fmt: skip
    if isinstance(error, psycopg.errors.UniqueViolation):
        return Conflict("writer-taken", f"another writer wrote to {where}: {error}", hint="end one of the two")
    text = " ".join(str(error).split())
    if isinstance(error, psycopg.OperationalError):
        return ExternalError(
            "ledger-unreachable", f"the ledger {where} cannot be reached: {text}",
            hint="see whether PostgreSQL runs and takes this user (password: PGPASSWORD or ~/.pgpass)", retryable=True,
        )  # fmt: skip
    return ExternalError("ledger-failed", f"the ledger {where} failed: {text}", retryable=True)


def prepare_tables(connection: psycopg.Connection[Any], address: str) -> None:
    """Make what is not there yet; `ExternalError` where a newer program made it."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK + 1,))
        connection.execute(TABLES)
        connection.execute(
            "INSERT INTO aegis_ledger (one, layout, epoch, writer, stores) VALUES (1, %s, 0, '', '') ON CONFLICT DO NOTHING",
            (LAYOUT,),
        )
    row = connection.execute("SELECT layout FROM aegis_ledger").fetchone()
    if row is None or row[0] > LAYOUT:
        raise ExternalError(
            "ledger-newer", f"the ledger {shown(address)} has a newer layout; this program knows {LAYOUT}",
            hint="use the Aegis that wrote it or a later one",
        )  # fmt: skip
