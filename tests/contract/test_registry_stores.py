"""The contracts of the registry's ports: `ImageStore`, `IndexStore`, `Uploads`."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aegis.adapters import uploads_directory
from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.adapters.registry_sqlite import SqliteImages, SqliteIndexes
from aegis.adapters.uploads_directory import DirectoryUploads
from aegis.core.errors import Conflict, ExternalError, NotFound
from aegis.registry.ports import ImageStore, IndexStore, ManifestRecord, PackageFile, Uploads

ONE, TWO, THREE = (f"sha256:{letter * 64}" for letter in "123")


def record(digest: str, **more: object) -> ManifestRecord:
    return ManifestRecord(digest=digest, media_type="application/json", size=10, **more)  # type: ignore[arg-type]


def package(filename: str = "tiny-1.0.tar.gz", digest: str = ONE, project: str = "tiny") -> PackageFile:
    at = datetime(2026, 1, 5, 9, tzinfo=UTC)
    return PackageFile(
        project=project, version="1.0", filename=filename, digest=digest, size=3, uploaded_at=at, uploaded_by="job"
    )  # fmt: skip


class ImageStoreContract:
    @pytest.fixture
    def images(self, tmp_path: Path) -> Iterator[ImageStore]:
        raise LookupError(tmp_path)

    def test_a_blob_belongs_to_the_repositories_it_was_linked_to(self, images: ImageStore) -> None:
        images.link_blob("a", ONE, 3)
        images.link_blob("a", ONE, 3)
        assert (images.blob_size("a", ONE), images.blob_size("b", ONE)) == (3, None)
        assert images.in_use(ONE)
        assert (images.unlink_blob("a", ONE), images.unlink_blob("a", ONE)) == (True, False)
        assert not images.in_use(ONE)

    def test_a_manifest_is_found_by_digest_and_tag(self, images: ImageStore) -> None:
        known = record(ONE, annotations={"a": "b"}, references=(TWO,), artifact_type="x", subject=THREE)
        images.put_manifest("a", known, tag="one")
        images.put_manifest("a", known, tag=None)
        assert images.manifest("a", ONE) == known
        assert images.tagged("a", "one") == ONE
        assert images.manifest("b", ONE) is None
        assert images.tagged("a", "two") is None
        assert images.in_use(ONE)

    def test_a_tag_moves_unless_it_is_fixed(self, images: ImageStore) -> None:
        images.put_manifest("a", record(ONE), tag="t")
        images.put_manifest("a", record(TWO), tag="t")
        assert images.tagged("a", "t") == TWO
        with pytest.raises(Conflict):
            images.put_manifest("a", record(THREE), tag="t", fixed=True)
        assert images.manifest("a", THREE) is None
        images.put_manifest("a", record(TWO), tag="t", fixed=True)

    def test_tags_are_ordered_without_regard_to_case_and_paged(self, images: ImageStore) -> None:
        assert images.tags("a") is None
        for tag in ("b", "A", "a", "c"):
            images.put_manifest("a", record(ONE), tag=tag)
        assert images.tags("a") == ("A", "a", "b", "c")
        assert images.tags("a", after="A", limit=2) == ("a", "b")
        assert images.tags("a", after="c") == ()
        assert images.tags_of("a", ONE) == ("A", "a", "b", "c")

    def test_deleting_a_manifest_takes_its_tags_and_untagging_leaves_it(self, images: ImageStore) -> None:
        images.put_manifest("a", record(ONE), tag="t")
        images.put_manifest("a", record(ONE), tag="u")
        assert (images.untag("a", "t"), images.untag("a", "t")) == (True, False)
        assert images.manifest("a", ONE) is not None
        assert (images.delete_manifest("a", ONE), images.delete_manifest("a", ONE)) == (True, False)
        assert images.tagged("a", "u") is None

    def test_referrers_come_oldest_first(self, images: ImageStore) -> None:
        images.put_manifest("a", record(TWO, subject=ONE), tag=None)
        images.put_manifest("a", record(THREE, subject=ONE), tag=None)
        images.put_manifest("b", record(ONE, subject=ONE), tag=None)
        assert [found.digest for found in images.referrers("a", ONE)] == [TWO, THREE]
        assert images.referrers("a", TWO) == ()

    def test_repositories_are_paged(self, images: ImageStore) -> None:
        for name in ("b", "a", "c"):
            images.put_manifest(name, record(ONE), tag=None)
        assert images.repositories() == ("a", "b", "c")
        assert images.repositories(after="a", limit=1) == ("b",)

    def test_many_threads_write_at_once(self, images: ImageStore) -> None:
        def write(number: int) -> None:
            for count in range(5):
                images.put_manifest("a", record(ONE), tag=f"{number}-{count}")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(images.tags("a") or ()) == 20


class TestSqliteImages(ImageStoreContract):
    @pytest.fixture
    def images(self, tmp_path: Path) -> Iterator[SqliteImages]:
        made = SqliteImages(tmp_path / "registry.db")
        yield made
        made.close()

    def test_what_was_written_is_there_after_a_restart(self, images: SqliteImages, tmp_path: Path) -> None:
        images.put_manifest("a", record(ONE), tag="t")
        other = SqliteImages(tmp_path / "registry.db")
        assert other.tagged("a", "t") == ONE
        other.close()

    def test_a_file_that_is_no_database_is_an_external_error(self, tmp_path: Path) -> None:
        (tmp_path / "broken.db").write_bytes(b"no database at all" * 100)
        with pytest.raises(ExternalError):
            SqliteImages(tmp_path / "broken.db")


class IndexStoreContract:
    @pytest.fixture
    def indexes(self, tmp_path: Path) -> Iterator[IndexStore]:
        raise LookupError(tmp_path)

    def test_a_file_is_listed_in_its_index_only(self, indexes: IndexStore) -> None:
        indexes.add("shop", package())
        assert indexes.files("shop", "tiny") == (package(),)
        assert indexes.file("shop", "tiny-1.0.tar.gz") == package()
        assert indexes.projects("shop") == ("tiny",)
        assert (indexes.files("other", "tiny"), indexes.projects("other")) == ((), ())

    def test_a_name_is_given_once_even_after_a_removal(self, indexes: IndexStore) -> None:
        indexes.add("shop", package())
        indexes.add("shop", package())
        with pytest.raises(Conflict):
            indexes.add("shop", package(digest=TWO))
        assert (indexes.remove("shop", "tiny-1.0.tar.gz"), indexes.remove("shop", "tiny-1.0.tar.gz")) == (True, False)
        assert indexes.file("shop", "tiny-1.0.tar.gz") is None
        assert indexes.projects("shop") == ()
        with pytest.raises(Conflict):
            indexes.add("shop", package(digest=TWO))
        indexes.add("shop", package())
        assert len(indexes.files("shop", "tiny")) == 1

    def test_yanking_keeps_the_reason_and_can_be_taken_back(self, indexes: IndexStore) -> None:
        indexes.add("shop", package())
        assert indexes.yank("shop", "tiny-1.0.tar.gz", "")
        assert indexes.files("shop", "tiny")[0].yanked == ""
        assert indexes.yank("shop", "tiny-1.0.tar.gz", None)
        assert indexes.files("shop", "tiny")[0].yanked is None
        assert not indexes.yank("shop", "other", "why")


class TestSqliteIndexes(IndexStoreContract):
    @pytest.fixture
    def indexes(self, tmp_path: Path) -> Iterator[SqliteIndexes]:
        made = SqliteIndexes(tmp_path / "registry.db")
        yield made
        made.close()


class UploadsContract:
    @pytest.fixture
    def uploads(self, tmp_path: Path) -> Uploads:
        raise LookupError(tmp_path)

    def test_bytes_arrive_in_order_in_pieces(self, uploads: Uploads) -> None:
        name = uploads.start("a")
        assert uploads.append(name, "a", [b"he", b"llo"]) == 5
        assert uploads.append(name, "a", [b"!"], offset=5) == 6
        with pytest.raises(Conflict):
            uploads.append(name, "a", [b"?"], offset=5)
        assert uploads.size(name, "a") == 6
        assert b"".join(uploads.read(name, "a")) == b"hello!"

    def test_what_arrived_before_a_broken_connection_is_kept(self, uploads: Uploads) -> None:
        def broken() -> Iterator[bytes]:
            yield b"part"
            raise ConnectionError

        name = uploads.start("a")
        with pytest.raises((ConnectionError, ExternalError)):
            uploads.append(name, "a", broken())
        assert uploads.append(name, "a", [b"rest"], offset=4) == 8

    def test_another_owner_does_not_know_it(self, uploads: Uploads) -> None:
        name = uploads.start("a")
        for call in (uploads.size, uploads.discard, lambda *who: list(uploads.read(*who))):
            with pytest.raises(NotFound):
                call(name, "b")
        with pytest.raises(NotFound):
            uploads.append("../../etc/passwd", "a", [])

    def test_a_finished_upload_becomes_a_blob_by_either_digest(self, uploads: Uploads) -> None:
        for algorithm in ("sha256", "sha512"):
            digest = f"{algorithm}:{hashlib.new(algorithm, b'hello').hexdigest()}"
            name = uploads.start("a")
            uploads.append(name, "a", [b"he", b"llo"])
            with pytest.raises(Conflict):
                uploads.commit(name, "a", digest.replace("2", "3"))
            assert uploads.commit(name, "a", digest) == 5
            with pytest.raises(NotFound):
                uploads.size(name, "a")

    def test_what_was_discarded_is_gone(self, uploads: Uploads) -> None:
        name = uploads.start("a")
        uploads.discard(name, "a")
        with pytest.raises(NotFound):
            uploads.size(name, "a")

    def test_there_is_one_writer_at_a_time(self, uploads: Uploads) -> None:
        name = uploads.start("a")

        def nested() -> Iterator[bytes]:
            with pytest.raises(Conflict):
                uploads.append(name, "a", [b"other"])
            yield b"mine"

        assert uploads.append(name, "a", nested()) == 4


class TestDirectoryUploads(UploadsContract):
    @pytest.fixture
    def uploads(self, tmp_path: Path) -> DirectoryUploads:
        return DirectoryUploads(tmp_path / "uploads", DirectoryBlobs(tmp_path / "blobs"))

    def test_an_upload_is_finished_after_a_restart(self, uploads: DirectoryUploads, tmp_path: Path) -> None:
        name = uploads.start("a")
        uploads.append(name, "a", [b"he"])
        blobs = DirectoryBlobs(tmp_path / "blobs")
        again = DirectoryUploads(tmp_path / "uploads", blobs)
        again.append(name, "a", [b"llo"])
        digest = f"sha256:{hashlib.sha256(b'hello').hexdigest()}"
        assert again.commit(name, "a", digest) == 5
        assert blobs.get(digest) == b"hello"

    def test_a_full_disk_leaves_an_upload_as_it_was(self, uploads: DirectoryUploads) -> None:
        name = uploads.start("a")
        uploads.append(name, "a", [b"he"])
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3, before[1]))  # one byte of the next three is written
        try:
            with pytest.raises(ExternalError, match="disk"):
                uploads.append(name, "a", [b"llo"])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert uploads.append(name, "a", [b"llo"], offset=2) == 5
        assert uploads.commit(name, "a", f"sha256:{hashlib.sha256(b'hello').hexdigest()}") == 5

    def test_what_the_disk_did_not_take_is_not_finished_by_asking_again(
        self, uploads: DirectoryUploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uploads_directory, "_WRITEBACK", 3)
        name, digest = uploads.start("a"), f"sha256:{hashlib.sha256(b'hello').hexdigest()}"
        uploads.append(name, "a", [b"hel", b"lo"])

        def failing(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", failing)
            with pytest.raises(ExternalError):
                uploads.commit(name, "a", digest)
        with pytest.raises(NotFound):
            uploads.commit(name, "a", digest)
        assert DirectoryBlobs(tmp_path / "blobs").size(digest) is None

    def test_leavings_of_more_than_a_day_are_swept(self, uploads: DirectoryUploads, tmp_path: Path) -> None:
        old, new = uploads.start("a"), uploads.start("a")
        day_ago = time.time() - 25 * 3600
        for path in (tmp_path / "uploads").glob(f"{old}*"):
            os.utime(path, (day_ago, day_ago))
        DirectoryUploads(tmp_path / "uploads", DirectoryBlobs(tmp_path / "blobs"))
        assert {path.name for path in (tmp_path / "uploads").iterdir()} == {new, f"{new}.owner"}
