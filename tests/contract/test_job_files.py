"""What every keeper of half-finished jobs' files has to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters.job_files_sqlite import SqliteJobFiles
from aegis.core.types import StoredFile


def file(name: str, kind: str = "junit", size: int = 1) -> StoredFile:
    return StoredFile(name=name, kind=kind, digest=f"sha256:{size:064x}", size=size)


class JobFilesContract:
    def make(self, root: Path) -> SqliteJobFiles:
        raise AssertionError(root)

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteJobFiles]:
        made = self.make(tmp_path)
        yield made
        made.close()

    def test_files_come_back_in_their_order_and_a_repeated_one_counts_once(self, store: SqliteJobFiles) -> None:
        for one in (file("a"), file("b"), file("a", size=2), file("a", kind="archive")):
            store.add("job", one)
        assert store.of("job") == (file("a", size=2), file("b"), file("a", kind="archive"))
        assert store.of("other") == ()

    def test_what_is_forgotten_is_gone_and_forgetting_nothing_is_no_error(self, store: SqliteJobFiles) -> None:
        store.add("job", file("a"))
        store.add("other", file("a"))
        store.forget("job")
        store.forget("nobody")
        assert store.of("job") == ()
        assert store.of("other") == (file("a"),)

    def test_they_survive_the_process(self, store: SqliteJobFiles, tmp_path: Path) -> None:
        store.add("job", file("a"))
        again = self.make(tmp_path)
        assert again.of("job") == (file("a"),)
        again.close()


class TestSqlite(JobFilesContract):
    def make(self, root: Path) -> SqliteJobFiles:
        return SqliteJobFiles(root / "job-files.sqlite")
