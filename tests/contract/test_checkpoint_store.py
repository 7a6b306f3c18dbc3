"""The contract of the `CheckpointStore` port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters.checkpoints_sqlite import SqliteCheckpoints
from aegis.ledger.projections import Checkpoint, CheckpointStore


def checkpoint(name: str = "status", cursor: int = 7, dump: bytes = b"\x00state") -> Checkpoint:
    return Checkpoint(name=name, version=3, cursor=cursor, hash="sha256:ab", dump=dump)


class CheckpointStoreContract:
    """Inherit it and give a `store` fixture."""

    def test_an_unknown_projection_has_none(self, store: CheckpointStore) -> None:
        assert store.load("status") is None

    def test_the_last_one_saved_is_loaded(self, store: CheckpointStore) -> None:
        store.save(checkpoint(cursor=7))
        store.save(checkpoint(cursor=9, dump=b"later"))
        store.save(checkpoint("other"))
        assert store.load("status") == checkpoint(cursor=9, dump=b"later")
        assert store.load("other") == checkpoint("other")


class TestSqliteCheckpoints(CheckpointStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[CheckpointStore]:
        store = SqliteCheckpoints(tmp_path / "checkpoints.sqlite")
        yield store
        store.close()


def test_checkpoints_survive_closing(tmp_path: Path) -> None:
    store = SqliteCheckpoints(tmp_path / "checkpoints.sqlite")
    store.save(checkpoint())
    store.close()
    again = SqliteCheckpoints(tmp_path / "checkpoints.sqlite")
    assert again.load("status") == checkpoint()
    again.close()


def test_a_damaged_file_is_set_aside_and_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    path.write_bytes(b"this is no database, and longer than a header would be" * 100)
    store = SqliteCheckpoints(path)
    assert store.load("status") is None
    store.save(checkpoint())
    assert store.load("status") == checkpoint()
    store.close()
    assert (tmp_path / "checkpoints.sqlite.damaged").exists()
