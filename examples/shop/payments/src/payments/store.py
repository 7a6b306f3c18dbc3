"""Payments in SQLite. One row per idempotency key: that is what makes "at most once" true.

Requests run on several threads and share one connection under a lock; SQLite has one writer anyway.
"""

from __future__ import annotations

import sqlite3
import threading

from payments.model import Payment

_SCHEMA = """
CREATE TABLE IF NOT EXISTS payment (
  id TEXT PRIMARY KEY,
  idempotency_key TEXT NOT NULL UNIQUE,
  order_id TEXT NOT NULL,
  document TEXT NOT NULL
) STRICT
"""


class KeyReused(Exception):
    """The idempotency key belongs to a payment of another order or amount."""


class Store:
    """`database` is a file path or `:memory:`."""

    def __init__(self, database: str) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(database, check_same_thread=False, timeout=5)
        self._connection.execute("PRAGMA journal_mode = WAL")
        with self._connection:
            self._connection.execute(_SCHEMA)

    def take_once(self, key: str, proposed: Payment) -> tuple[Payment, bool]:
        """Keep `proposed` under `key`, or answer what is kept there already; True when it is new.

        `KeyReused` when what is kept there is for another order or amount.
        """
        with self._lock, self._connection:
            inserted = self._connection.execute(
                "INSERT INTO payment VALUES (?, ?, ?, ?) ON CONFLICT (idempotency_key) DO NOTHING",
                (proposed.id, key, proposed.order_id, proposed.model_dump_json()),
            ).rowcount
            row = self._connection.execute("SELECT document FROM payment WHERE idempotency_key = ?", (key,)).fetchone()
        kept = Payment.model_validate_json(row[0])
        if (kept.order_id, kept.amount) != (proposed.order_id, proposed.amount):
            raise KeyReused(key)
        return kept, bool(inserted)

    def get(self, payment_id: str) -> Payment | None:
        """The payment, or None."""
        with self._lock:
            row = self._connection.execute("SELECT document FROM payment WHERE id = ?", (payment_id,)).fetchone()
        return Payment.model_validate_json(row[0]) if row else None

    def of_order(self, order_id: str) -> list[Payment]:
        """Every payment of an order, oldest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT document FROM payment WHERE order_id = ? ORDER BY rowid", (order_id,)
            ).fetchall()
        return [Payment.model_validate_json(row[0]) for row in rows]

    def check(self) -> None:
        """Raise when the database does not answer."""
        with self._lock:
            self._connection.execute("SELECT 1 FROM payment LIMIT 1").fetchall()

    def close(self) -> None:
        """Close the connection; the store is of no use afterwards."""
        with self._lock:
            self._connection.close()
