"""The contract of `execution.ports.Shelf`: inherit `ShelfContract` and give `shelf`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters.aws_signature import Credentials
from aegis.adapters.s3_objects import S3Objects
from aegis.adapters.shelf_directory import DirectoryShelf
from aegis.adapters.shelf_s3 import S3Shelf
from aegis.core.errors import ExternalError
from aegis.execution.ports import Shelf
from support.s3_server import ACCESS, BUCKET, SECRET, s3_server


class ShelfContract:
    @pytest.fixture
    def shelf(self) -> Shelf:
        raise LookupError

    def test_what_was_put_is_found_until_it_is_replaced_or_deleted(self, shelf: Shelf) -> None:
        assert shelf.get("ab/x.json") is None
        assert list(shelf.names()) == []
        shelf.put("ab/x.json", b"one")
        shelf.put("ab/y.json", b"")
        shelf.put("ab/x.json", b"two")
        assert (shelf.get("ab/x.json"), shelf.get("ab/y.json"), shelf.get("cd/x.json")) == (b"two", b"", None)
        assert [name for name, _ in shelf.names()] == ["ab/x.json", "ab/y.json"]
        assert all(since > 1e9 for _, since in shelf.names())
        for _ in range(2):
            shelf.delete("ab/x.json")
        assert shelf.get("ab/x.json") is None
        assert [name for name, _ in shelf.names()] == ["ab/y.json"]

    def test_a_reader_sees_an_old_value_or_a_new_one(self, shelf: Shelf) -> None:
        values = [str(number).encode() * 10_000 for number in range(5)]
        shelf.put("ab/x.json", values[0])

        def write() -> None:
            for value in values:
                shelf.put("ab/x.json", value)

        writers = [threading.Thread(target=write) for _ in range(2)]
        for one in writers:
            one.start()
        seen = {shelf.get("ab/x.json") for _ in range(30)}
        for one in writers:
            one.join()
        assert seen <= set(values)


class TestDirectoryShelf(ShelfContract):
    @pytest.fixture
    def shelf(self, tmp_path: Path) -> Shelf:
        return DirectoryShelf(tmp_path / "shelf")

    def test_what_cannot_be_written_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        shelf = DirectoryShelf(tmp_path / "file")
        with pytest.raises(ExternalError):
            shelf.put("ab/x", b"")
        with pytest.raises(ExternalError):
            shelf.get("ab/x")


class TestS3Shelf(ShelfContract):
    @pytest.fixture
    def shelf(self) -> Iterator[Shelf]:
        with s3_server() as store:
            objects = S3Objects(store.url, BUCKET, Credentials(access_key=ACCESS, secret_key=SECRET))
            yield S3Shelf(objects, "team/caches")
            objects.close()
