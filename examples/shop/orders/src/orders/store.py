"""Orders in SQLite.

Requests run on several threads and share one connection under a lock; SQLite has one writer anyway.
"""

from __future__ import annotations

import sqlite3
import threading

from orders.model import Order

_SCHEMA = "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT"


class Store:
    """`database` is a file path or `:memory:`."""

    def __init__(self, database: str) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(database, check_same_thread=False, timeout=5)
        self._connection.execute("PRAGMA journal_mode = WAL")
        with self._connection:
            self._connection.execute(_SCHEMA)

    def add(self, order: Order) -> bool:
        """Keep a new order; False, and nothing changed, when there is one of that id."""
        with self._lock, self._connection:
            statement = "INSERT INTO orders VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
            return self._connection.execute(statement, (order.id, order.model_dump_json())).rowcount == 1

    def replace(self, order: Order) -> None:
        """Keep an order's new state."""
        with self._lock, self._connection:
            self._connection.execute("UPDATE orders SET document = ? WHERE id = ?", (order.model_dump_json(), order.id))

    def get(self, order_id: str) -> Order | None:
        """The order, or None."""
        with self._lock:
            row = self._connection.execute("SELECT document FROM orders WHERE id = ?", (order_id,)).fetchone()
        return Order.model_validate_json(row[0]) if row else None

    def latest(self, limit: int) -> list[Order]:
        """The newest orders, newest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT document FROM orders ORDER BY rowid DESC LIMIT ?", (limit,)
            ).fetchall()
        return [Order.model_validate_json(row[0]) for row in rows]

    def check(self) -> None:
        """Raise when the database does not answer."""
        with self._lock:
            self._connection.execute("SELECT 1 FROM orders LIMIT 1").fetchall()

    def close(self) -> None:
        """Close the connection; the store is of no use afterwards."""
        with self._lock:
            self._connection.close()
