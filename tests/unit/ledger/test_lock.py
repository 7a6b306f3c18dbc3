"""The lock of a ledger's one writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.adapters.ledger_sqlite.lock import WriterLock
from aegis.core.errors import Conflict


def test_one_writer_at_a_time_is_named_to_the_second(tmp_path: Path) -> None:
    first = WriterLock(tmp_path / "writer.lock")
    with pytest.raises(Conflict, match="another Aegis"):
        WriterLock(tmp_path / "writer.lock")
    first.release()
    WriterLock(tmp_path / "writer.lock").release()


def test_a_second_release_touches_nothing_that_was_opened_since(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path / "writer.lock")
    lock.release()
    # The first free number, which was the lock's.
    with (tmp_path / "other").open("w+") as other:
        other.write("kept")
        other.flush()
        lock.release()
        other.seek(0)
        assert other.read() == "kept"
