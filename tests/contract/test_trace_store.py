"""What every trace store has to do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aegis.adapters.traces_directory import DirectoryTraces
from aegis.core.errors import Conflict, UserError
from aegis.execution.ports import TraceStore


class TraceStoreContract:
    def make(self, root: Path) -> TraceStore:
        raise AssertionError(root)

    @pytest.fixture
    def store(self, tmp_path: Path) -> TraceStore:
        return self.make(tmp_path / "traces")

    def test_bytes_are_read_by_offset(self, store: TraceStore) -> None:
        assert store.read("job", 0, 10) == b""
        assert store.append("job", 0, b"hello") == 5
        assert store.append("job", 3, b"lo world") == 11
        assert store.append("job", 0, b"hel") == 11
        assert store.read("job", 6, 3) == b"wor"
        assert store.size("job") == 11
        store.close("job")

    def test_a_gap_is_refused(self, store: TraceStore) -> None:
        with pytest.raises(Conflict):
            store.append("job", 1, b"x")
        store.close("job")

    def test_a_closed_trace_only_reads(self, store: TraceStore) -> None:
        store.append("job", 0, b"x")
        store.close("job")
        store.close("job")
        assert store.closed("job")
        with pytest.raises(Conflict):
            store.append("job", 1, b"y")
        assert store.read("job", 0, 9) == b"x"
        store.delete("job")
        assert store.size("job") == 0

    def test_followers_are_woken_by_bytes_and_by_the_end(self, store: TraceStore) -> None:
        assert not store.wait("job", 0, 0.0)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(store.wait, "job", 0, 20)
            store.append("job", 0, b"x")
            assert waiting.result(20)
            waiting = threads.submit(store.wait, "job", 1, 20)
            store.close("job")
            assert waiting.result(20)

    def test_a_name_that_is_a_path_is_refused(self, store: TraceStore) -> None:
        for name in ("../x", "a/b", "", ".x"):
            with pytest.raises(UserError):
                store.append(name, 0, b"x")


class TestDirectoryTraces(TraceStoreContract):
    def make(self, root: Path) -> TraceStore:
        return DirectoryTraces(root)

    def test_a_trace_goes_on_after_a_restart(self, tmp_path: Path) -> None:
        first = DirectoryTraces(tmp_path)
        first.append("job", 0, b"one ")
        first.release()
        second = DirectoryTraces(tmp_path)
        assert second.append("job", 4, b"two") == 7
        assert second.read("job", 0, 99) == b"one two"
        second.release()
