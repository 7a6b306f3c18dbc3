"""The contract of the `QueueStore` port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters.queue_postgres import PostgresQueue
from aegis.adapters.queue_sqlite import SqliteQueue
from aegis.execution.ports import Lease, QueueStore
from support.postgres import Postgres


def lease(job: str = "j", *, expires: float = 10.5, resumable: bool = True) -> Lease:
    return Lease(job_id=job, run="r", runner="built-in", resumable=resumable, expires=expires)


class QueueStoreContract:
    """Inherit it and give a `queue` fixture."""

    def test_a_new_one_knows_nothing(self, queue: QueueStore) -> None:
        assert (queue.leases(), queue.bookmark()) == ((), (0, ()))

    def test_a_lease_is_kept_as_it_was_put_last(self, queue: QueueStore) -> None:
        queue.put(lease("a"))
        queue.put(lease("b", resumable=False))
        queue.put(lease("a", expires=20.25))
        assert sorted(queue.leases(), key=lambda one: one.job_id) == [
            lease("a", expires=20.25),
            lease("b", resumable=False),
        ]

    def test_a_lease_ends_once_and_ending_it_again_is_no_error(self, queue: QueueStore) -> None:
        queue.put(lease("a"))
        queue.put(lease("b"))
        queue.remove("a")
        queue.remove("a")
        queue.remove("never")
        assert queue.leases() == (lease("b"),)

    def test_the_bookmark_is_the_last_mark(self, queue: QueueStore) -> None:
        queue.mark(7, ["one", "two"])
        queue.mark(9, ["two"])
        assert queue.bookmark() == (9, ("two",))
        queue.mark(12, [])
        assert queue.bookmark() == (12, ())


class TestSqliteQueue(QueueStoreContract):
    @pytest.fixture
    def queue(self, tmp_path: Path) -> Iterator[QueueStore]:
        queue = SqliteQueue(tmp_path / "queue.sqlite")
        yield queue
        queue.close()


class TestPostgresQueue(QueueStoreContract):
    @pytest.fixture
    def queue(self, postgres: Postgres) -> Iterator[QueueStore]:
        queue = PostgresQueue(postgres.database())
        yield queue
        queue.close()


def test_a_file_that_is_no_database_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    path.write_bytes(b"this is no database, and longer than a header would be" * 100)
    queue = SqliteQueue(path)
    assert queue.bookmark() == (0, ())
    queue.put(lease())
    queue.close()
    again = SqliteQueue(path)
    assert again.leases() == (lease(),)
    again.close()
