"""Writing the ledger's tables: a lease that one process holds, with an epoch that every transaction checks.

The lease is an advisory lock of the writer's own session: PostgreSQL lets it go when that session ends, however it ends. Whoever
takes it raises the epoch; an append reads the epoch in its own transaction, locked, and writes only under its own number. So a
writer that was cut off and comes back too late writes nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg

from aegis.adapters.ledger_postgres.reader import PostgresLedgerReader
from aegis.adapters.ledger_postgres.schema import COLUMNS, LOCK, connect, failed, prepare_tables
from aegis.adapters.ledger_writer import LedgerWriter
from aegis.adapters.postgres_address import shown
from aegis.core.errors import AegisError, Conflict, ExternalError
from aegis.core.ports import Blobs, Clock, Entropy, Head
from aegis.ledger.chain import EMPTY, StoredRow

_INSERT: Final = f"INSERT INTO records ({COLUMNS}) VALUES ({', '.join(['%s'] * len(StoredRow._fields))})"  # noqa: S608 - constants and placeholders
_EVERY: Final = 0.25
"""Seconds between two attempts to take the lease."""
_GRACE: Final = 1.0


class PostgresRows:
    """The `RowStore` in a database, with the lease. `stores` names what else the server keeps, by its data directory.

    `waiting` is called once when another holds the lease; without it that is a `Conflict` `writer-taken`. It answers False to
    give up.
    """

    def __init__(self, address: str, *, writer: str, stores: str, waiting: Callable[[str], bool] | None = None) -> None:
        self._address, self._writer, self._stores = address, writer, stores
        self.lost: Callable[[], object] = lambda: None
        self._database = connect(address, name="aegis writer")
        try:
            prepare_tables(self._database, address)
            self._check_stores()
            self._wait(waiting)
            self.epoch = self._raise_epoch()
            self.head = self._stored_head()
        except psycopg.Error as error:
            self._database.close()
            raise failed(error, address) from error
        except BaseException:
            self._database.close()
            raise

    # -- the lease ----------------------------------------------------------------------------------------

    def _check_stores(self) -> None:
        row = self._database.execute("SELECT stores FROM aegis_ledger").fetchone()
        if row and row[0] and self._stores and row[0] != self._stores:
            raise Conflict(
                "several-servers",
                f"the ledger {shown(self._address)} belongs to a server with another data directory ({row[0]})",
                hint="several servers share one data directory; separate ones need an object store, GitLab and Kubernetes,"
                " for which there are no adapters yet",
            )

    def _wait(self, waiting: Callable[[str], bool] | None) -> None:
        told, begun = False, time.monotonic()
        while not self._take():
            if time.monotonic() - begun < _GRACE:
                # The session of a writer that has just ended may need a moment to go.
                time.sleep(_EVERY / 5)
                continue
            row = self._database.execute("SELECT writer FROM aegis_ledger").fetchone()
            holder = row[0] if row else "another server"
            if waiting is None or (not told and not waiting(holder)):
                raise Conflict(
                    "writer-taken", f"{holder} writes to the ledger {shown(self._address)}",
                    hint="stop it first, or start this one as a standby",
                )  # fmt: skip
            told = True
            time.sleep(_EVERY)

    def _take(self) -> bool:
        row = self._database.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
        return bool(row and row[0])

    def _raise_epoch(self) -> int:
        row = self._database.execute(
            "UPDATE aegis_ledger SET epoch = epoch + 1, writer = %s, since = now(),"
            " stores = CASE WHEN %s = '' THEN stores ELSE %s END RETURNING epoch",
            (self._writer, self._stores, self._stores),
        ).fetchone()
        if row is None:
            raise ExternalError("ledger-failed", f"the ledger {shown(self._address)} has lost its own row")
        return int(row[0])

    def _again(self) -> None:
        """After a broken connection: back to the lease, where nobody else had it meanwhile."""
        self._database.close()
        self._database = connect(self._address, name="aegis writer")
        row = self._database.execute("SELECT epoch FROM aegis_ledger").fetchone()
        if row is None or row[0] != self.epoch or not self._take():
            raise self._overtaken()

    def _overtaken(self) -> Conflict:
        self.lost()
        return Conflict(
            "writer-lost", f"another server has taken over the ledger {shown(self._address)}; this one writes no more",
            hint="this server ends by itself; the other goes on",
        )  # fmt: skip

    # -- the rows -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """See `RowStore`: the epoch is read and locked in the transaction that writes."""
        if self._database.closed or self._database.broken:
            self._again()
        self._database.execute("BEGIN")
        row = self._database.execute("SELECT epoch FROM aegis_ledger FOR UPDATE").fetchone()
        if row is None or row[0] != self.epoch:
            raise self._overtaken()

    def insert(self, rows: Sequence[StoredRow]) -> None:
        """See `RowStore`."""
        with self._database.cursor() as cursor:
            cursor.executemany(_INSERT, rows)

    def cursor(self) -> psycopg.Cursor[Any]:
        """A cursor in the transaction, for rows that come by the thousand."""
        return self._database.cursor()

    def commit(self) -> None:
        """See `RowStore`."""
        self._database.execute("COMMIT")

    def undo(self) -> Head:
        """See `RowStore`. A broken connection is made anew: whether its last commit came through is read there."""
        if self._database.closed or self._database.broken:
            self._again()
        else:
            self._database.execute("ROLLBACK")
        return self._stored_head()

    def _stored_head(self) -> Head:
        row = self._database.execute("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1").fetchone()
        return Head(seq=row[0], hash=row[1]) if row else EMPTY

    def version(self, subject: str) -> int:
        """See `RowStore`."""
        row = self._database.execute(
            "SELECT max(subject_version) FROM records WHERE subject = %s", (subject,)
        ).fetchone()
        return (row[0] if row else 0) or 0

    def kept(self, seq: int) -> tuple[str, int] | None:
        """See `RowStore`."""
        row = self._database.execute("SELECT type, place FROM records WHERE seq = %s", (seq,)).fetchone()
        return (row[0], row[1]) if row else None

    def forget(self, seqs: Sequence[int]) -> None:
        """See `RowStore`."""
        statement = "UPDATE records SET place = 2, salt = NULL, data = NULL WHERE seq = ANY(%s)"  # Place.ERASED
        self._database.execute(statement, (list(seqs),))

    def forgotten(self) -> None:
        """See `RowStore`: old versions of the rows go; the write-ahead log and backups are the database's own."""
        with contextlib.suppress(psycopg.Error):
            self._database.execute("VACUUM records")

    def told(self, error: Exception) -> AegisError | None:
        """See `RowStore`."""
        return failed(error, self._address) if isinstance(error, psycopg.Error) else None

    def close(self) -> None:
        """See `RowStore`: the lease goes with the session, and at once."""
        with contextlib.suppress(psycopg.Error):
            self._database.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
        self._database.close()


class PostgresLedger(LedgerWriter):
    """The `Ledger` port in a PostgreSQL database, as its only writer; see `PostgresRows` for the lease.

    `recorded_by` names this server in every record. `lost` is called when another has taken over.
    """

    def __init__(
        self, address: str, *, clock: Clock, entropy: Entropy, blobs: Blobs | None, recorded_by: str,
        stores: str = "", writer: str = "", waiting: Callable[[str], bool] | None = None,
    ) -> None:  # fmt: skip
        rows = PostgresRows(address, writer=writer or recorded_by, stores=stores, waiting=waiting)
        try:
            self._reader = PostgresLedgerReader(address, blobs=blobs)
        except BaseException:
            rows.close()
            raise
        self._lease = rows
        self.address = address
        super().__init__(
            rows, self._reader, rows.head, clock=clock, entropy=entropy, blobs=blobs, recorded_by=recorded_by
        )

    @property
    def reader(self) -> PostgresLedgerReader:
        """The reading side, for verification and export beside the writer."""
        return self._reader

    @property
    def epoch(self) -> int:
        """The number of this writer: the next one's is higher."""
        return self._lease.epoch

    def on_lost(self, call: Callable[[], object]) -> None:
        """What to call when another server has taken over."""
        self._lease.lost = call

    def check(self) -> None:
        """Whether this process still holds the lease; `Conflict` `writer-lost`, `ExternalError`. Appends nothing."""
        self._submit_empty()
