"""Taking in a ledger's rows as they are: for a copy from another store, into an empty database or after its own end."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

import psycopg

from aegis.adapters.ledger_postgres.schema import COLUMNS, failed
from aegis.adapters.ledger_postgres.writer import PostgresRows
from aegis.core.ports import Head
from aegis.ledger.chain import StoredRow


class CopyTarget:
    """A database that rows are copied into, under the writer's lease; `Conflict` `writer-taken` while a server runs."""

    def __init__(self, address: str, *, stores: str = "") -> None:
        self._address = address
        self._rows = PostgresRows(address, writer="aegis ledger copy", stores=stores)

    @property
    def head(self) -> Head:
        """The last record that is there already."""
        return self._rows.head

    def take(self, rows: Iterable[StoredRow]) -> None:
        """Add rows, all or none."""
        try:
            self._rows.begin()
            with self._rows.cursor() as cursor, cursor.copy(f"COPY records ({COLUMNS}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            self._rows.commit()
        except psycopg.Error as error:
            raise failed(error, self._address) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._rows.close()
