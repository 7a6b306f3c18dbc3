"""The contract of `core.ports.Blobs`: inherit `BlobsContract` and give `blobs`."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.core.errors import Conflict, ExternalError, NotFound
from aegis.core.ports import Blobs

ABSENT = "sha256:" + "0" * 64


class BlobsContract:
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        raise LookupError(tmp_path)

    def test_what_was_put_is_read_by_its_sha256_digest(self, blobs: Blobs) -> None:
        digest = blobs.put(b"hello")
        assert digest == "sha256:" + hashlib.sha256(b"hello").hexdigest()
        assert blobs.get(digest) == b"hello"
        assert blobs.size(digest) == 5

    def test_putting_the_same_content_again_succeeds(self, blobs: Blobs) -> None:
        assert blobs.put(b"same") == blobs.put(b"same") == blobs.put_stream([b"sa", b"me"])[0]

    def test_many_contents_are_kept_in_order(self, blobs: Blobs) -> None:
        parts = [b"one", b"two", b"one", b""]
        digests = list(blobs.put_each(iter(parts)))
        assert digests == [f"sha256:{hashlib.sha256(part).hexdigest()}" for part in parts]
        assert [blobs.get(digest) for digest in digests] == parts
        assert list(blobs.put_each([])) == []

    def test_what_makes_the_contents_may_fail(self, blobs: Blobs) -> None:
        def parts() -> Iterator[bytes]:
            yield b"first"
            raise ValueError("no second")

        with pytest.raises(ValueError, match="no second"):
            list(blobs.put_each(parts()))

    def test_what_is_held_is_not_forgotten(self, blobs: Blobs) -> None:
        before = blobs.put(b"before")
        with blobs.hold():
            assert blobs.forget(before)
            held = list(blobs.put_each([b"held", b"before"]))
            with blobs.hold():
                pass
            assert [blobs.forget(one) for one in held] == [False, False]
            assert [blobs.get(one) for one in held] == [b"held", b"before"]
        assert [blobs.forget(one) for one in held] == [True, True]
        assert blobs.size(before) is None

    def test_the_empty_blob_is_a_blob(self, blobs: Blobs) -> None:
        digest = blobs.put(b"")
        assert blobs.size(digest) == 0
        assert blobs.get(digest) == b""
        assert list(blobs.open(digest)) == []

    def test_a_stream_is_kept_from_a_file_or_from_chunks(self, blobs: Blobs) -> None:
        data = os.urandom(3 * 1024 * 1024 + 7)
        assert blobs.put_stream(io.BytesIO(data)) == (blobs.put(data), len(data))
        digest, size = blobs.put_stream(iter([data[:10], b"", data[10:]]))
        assert size == len(data)
        assert blobs.get(digest) == data

    def test_a_stream_that_is_not_what_was_expected_is_refused_and_not_kept(self, blobs: Blobs) -> None:
        with pytest.raises(Conflict):
            blobs.put_stream([b"other"], expected=ABSENT)
        assert blobs.size("sha256:" + hashlib.sha256(b"other").hexdigest()) is None

    def test_an_expected_stream_is_kept(self, blobs: Blobs) -> None:
        expected = "sha256:" + hashlib.sha256(b"mine").hexdigest()
        assert blobs.put_stream([b"mine"], expected=expected) == (expected, 4)

    def test_content_is_kept_by_sha512_where_that_is_expected(self, blobs: Blobs) -> None:
        expected = "sha512:" + hashlib.sha512(b"mine").hexdigest()
        assert blobs.put_stream([b"mine"], expected=expected) == (expected, 4)
        assert blobs.get(expected) == b"mine"
        assert b"".join(blobs.open(expected)) == b"mine"
        with pytest.raises(Conflict):
            blobs.put_stream([b"other"], expected=expected)

    def test_a_file_at_hand_holds_what_was_put(self, blobs: Blobs) -> None:
        digest = blobs.put(b"0123456789")
        file = blobs.file(digest)
        if file is not None:  # a store that is elsewhere has none
            with file:
                assert file.read() == b"0123456789"
        assert blobs.file(ABSENT) is None

    def test_what_is_kept_can_be_listed_and_checked(self, blobs: Blobs) -> None:
        begun = time.time()
        kept = {blobs.put(b"one"), blobs.put(b"two")}
        listed = dict(blobs.digests())
        assert set(listed) == kept
        assert all(begun - 60 < since < begun + 600 for since in listed.values())
        assert all(blobs.check(digest) for digest in kept)
        with pytest.raises(NotFound):
            blobs.check(ABSENT)

    def test_a_list_goes_on_in_the_order_of_digests_beyond_where_another_ended(self, blobs: Blobs) -> None:
        long = hashlib.sha512(b"long")
        kept = {blobs.put(f"number {number}".encode()) for number in range(20)}
        kept.add(blobs.put_stream([b"long"], expected=f"sha512:{long.hexdigest()}")[0])
        listed = [digest for digest, _ in blobs.digests()]
        assert listed == sorted(kept)
        for number, digest in enumerate(listed):
            assert [one for one, _ in blobs.digests(digest)] == listed[number + 1 :]
        assert [one for one, _ in blobs.digests("sha256:7")] == [one for one in listed if one > "sha256:7"]
        assert list(blobs.digests("sha9")) == []

    def test_reading_in_chunks_gives_ranges_in_chunks_of_at_most_one_mebibyte(self, blobs: Blobs) -> None:
        data = os.urandom(2 * 1024 * 1024 + 5)
        digest = blobs.put(data)
        whole = list(blobs.open(digest))
        assert b"".join(whole) == data
        assert max(map(len, whole)) <= 1024 * 1024
        assert b"".join(blobs.open(digest, offset=5, length=7)) == data[5:12]
        assert b"".join(blobs.open(digest, offset=len(data) - 3)) == data[-3:]
        assert b"".join(blobs.open(digest, offset=len(data) + 3)) == b""

    def test_what_is_not_there_is_not_found(self, blobs: Blobs) -> None:
        assert blobs.size(ABSENT) is None
        with pytest.raises(NotFound):
            blobs.get(ABSENT)
        with pytest.raises(NotFound):
            blobs.open(ABSENT)
        blobs.delete(ABSENT)

    @pytest.mark.parametrize("name", ["", "sha256:../../etc/passwd", "sha256:ABC", "../x", "sha256:" + "g" * 64])
    def test_a_name_that_is_no_digest_is_not_found(self, blobs: Blobs, name: str) -> None:
        assert blobs.size(name) is None
        blobs.delete(name)
        with pytest.raises(NotFound):
            blobs.get(name)

    def test_what_was_deleted_is_not_found_and_can_be_put_again(self, blobs: Blobs) -> None:
        digest = blobs.put(b"gone")
        blobs.delete(digest)
        assert blobs.size(digest) is None
        assert blobs.put(b"gone") == digest
        assert blobs.get(digest) == b"gone"

    def test_many_threads_may_put_the_same_content_at_once(self, blobs: Blobs) -> None:
        data = os.urandom(100_000)
        seen: list[str] = []
        threads = [threading.Thread(target=lambda: seen.append(blobs.put(data))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 8
        assert blobs.get(seen[0]) == data


class TestDirectoryBlobs(BlobsContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> DirectoryBlobs:
        return DirectoryBlobs(tmp_path / "blobs")

    def test_a_damaged_file_is_never_returned(self, blobs: DirectoryBlobs, tmp_path: Path) -> None:
        digest = blobs.put(b"whole")
        name = digest.removeprefix("sha256:")
        (tmp_path / "blobs" / "sha256" / name[:2] / name).write_bytes(b"whale")
        with pytest.raises(ExternalError):
            blobs.get(digest)
        with pytest.raises(ExternalError):
            list(blobs.open(digest))

    def test_a_file_that_was_emptied_is_damage_and_no_empty_blob(self, blobs: DirectoryBlobs, tmp_path: Path) -> None:
        name = blobs.put(b"whole").removeprefix("sha256:")
        (tmp_path / "blobs" / "sha256" / name[:2] / name).write_bytes(b"")
        with pytest.raises(ExternalError):
            list(blobs.open(f"sha256:{name}"))

    def test_a_file_is_handed_out_only_while_nobody_has_written_to_it(
        self, blobs: DirectoryBlobs, tmp_path: Path
    ) -> None:
        digest = blobs.put(b"whole")
        name = digest.removeprefix("sha256:")
        path = tmp_path / "blobs" / "sha256" / name[:2] / name
        path.write_bytes(b"whale")
        os.utime(path, (1, 1))
        assert blobs.file(digest) is None
        assert not blobs.check(digest)
        path.write_bytes(b"whole")
        assert blobs.check(digest)
        handed = blobs.file(digest)
        assert handed is not None
        handed.close()

    def test_a_file_is_adopted_by_moving_it(self, blobs: DirectoryBlobs, tmp_path: Path) -> None:
        for _ in range(2):
            (tmp_path / "aside").write_bytes(b"mine")
            digest = "sha256:" + hashlib.sha256(b"mine").hexdigest()
            blobs.adopt(tmp_path / "aside", digest)
            assert blobs.get(digest) == b"mine"
            assert not (tmp_path / "aside").exists()

    def test_a_torn_file_is_mended_by_putting_it_again(self, blobs: DirectoryBlobs, tmp_path: Path) -> None:
        digest = blobs.put(b"whole")
        name = digest.removeprefix("sha256:")
        (tmp_path / "blobs" / "sha256" / name[:2] / name).write_bytes(b"who")
        blobs.put(b"whole")
        assert blobs.get(digest) == b"whole"

    def test_nothing_is_left_aside_and_old_leavings_are_swept(self, blobs: DirectoryBlobs, tmp_path: Path) -> None:
        aside = tmp_path / "blobs" / "tmp"
        blobs.put_stream([b"x"])
        with pytest.raises(ZeroDivisionError):
            blobs.put_stream(b"%d" % (1 // zero) for zero in (1, 0))
        assert list(aside.iterdir()) == []
        (aside / "old").write_bytes(b"")
        (aside / "new").write_bytes(b"")
        day_ago = time.time() - 25 * 3600
        os.utime(aside / "old", (day_ago, day_ago))
        DirectoryBlobs(tmp_path / "blobs")
        assert [left.name for left in aside.iterdir()] == ["new"]
