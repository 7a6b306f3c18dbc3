"""`Blobs` in an object store: the contract against a simulator, and against a server of others in `make test-real`."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from aegis.adapters.aws_signature import Credentials, signed_headers
from aegis.adapters.blobs_s3 import S3Blobs
from aegis.adapters.s3_objects import S3Objects
from aegis.adapters.uploads_directory import DirectoryUploads
from aegis.bootstrap.blobs import blobs_of
from aegis.core.errors import ExternalError, UserError
from contract.test_blobs import BlobsContract
from contract.test_registry_stores import UploadsContract
from support.real_programs import python_program
from support.s3_server import ACCESS, BUCKET, SECRET, Store, s3_server
from support.server import free_port

CREDENTIALS = Credentials(access_key=ACCESS, secret_key=SECRET)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Store]:
    with s3_server() as made:
        yield made


@pytest.fixture
def store(simulator: Store) -> Store:
    simulator.objects.clear()
    simulator.failing = 0
    simulator.page = 1000
    return simulator


class TestS3Blobs(BlobsContract):
    @pytest.fixture
    def blobs(self, store: Store, tmp_path: Path) -> Iterator[S3Blobs]:
        made = S3Blobs(
            S3Objects(store.url, BUCKET, CREDENTIALS), spool=tmp_path / "spool", prefix="team/blobs", part=1024 * 1024
        )
        yield made
        made.close()

    def test_a_large_stream_goes_in_parts_that_nobody_sees_before_the_last(self, blobs: S3Blobs, store: Store) -> None:
        data = os.urandom(3 * 1024 * 1024 + 7)
        digest, size = blobs.put_stream([data])
        assert size == len(data)
        assert blobs.get(digest) == data
        assert list(store.objects) == [f"team/blobs/sha256/{digest[7:9]}/{digest[7:]}"]
        assert store.parts == {}

    def test_a_store_that_fails_for_a_moment_is_asked_again(self, blobs: S3Blobs, store: Store) -> None:
        store.failing = 2
        assert blobs.get(blobs.put(b"patience")) == b"patience"
        store.failing = 10
        with pytest.raises(ExternalError):
            blobs.put(b"no more")
        store.failing = 0

    def test_parts_of_a_broken_upload_are_taken_away(
        self, blobs: S3Blobs, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object) -> str:
            raise ExternalError("blob-store", "cut")

        monkeypatch.setattr(blobs, "_send_part", broken)
        with pytest.raises(ExternalError):
            blobs.put_stream([bytes(3 * 1024 * 1024)])
        assert (store.objects, store.parts) == ({}, {})

    def test_damage_is_found_before_the_last_piece(self, blobs: S3Blobs, store: Store) -> None:
        digest = blobs.put(b"whole")
        (key,) = store.objects
        store.objects[key] = b"whale"
        with pytest.raises(ExternalError):
            blobs.get(digest)
        assert not blobs.check(digest)
        store.objects[key] = b"wh"
        assert not blobs.check(digest)
        blobs.put(b"whole")
        assert blobs.check(digest)

    def test_long_lists_come_in_pages(self, blobs: S3Blobs, store: Store) -> None:
        store.page = 2
        kept = {blobs.put(str(number).encode()) for number in range(5)}
        assert {digest for digest, _ in blobs.digests()} == kept

    def test_a_list_that_begins_late_is_not_read_from_the_beginning(self, blobs: S3Blobs, store: Store) -> None:
        store.page = 2
        kept = sorted(blobs.put(str(number).encode()) for number in range(9))
        before = store.listed
        assert next(blobs.digests(kept[5]))[0] == kept[6]
        assert store.listed == before + 1

    def test_wrong_credentials_are_refused(self, store: Store, tmp_path: Path) -> None:
        other = Credentials(access_key=ACCESS, secret_key="another")
        blobs = S3Blobs(S3Objects(store.url, BUCKET, other), spool=tmp_path / "spool")
        with pytest.raises(ExternalError, match="403"):
            blobs.put(b"x")
        blobs.close()


class TestUploadsToS3(UploadsContract):
    @pytest.fixture
    def uploads(self, store: Store, tmp_path: Path) -> Iterator[DirectoryUploads]:
        blobs = S3Blobs(S3Objects(store.url, BUCKET, CREDENTIALS), spool=tmp_path / "spool")
        yield DirectoryUploads(tmp_path / "uploads", blobs)
        blobs.close()


def test_a_server_takes_its_store_from_the_environment(store: Store, tmp_path: Path) -> None:
    environ = {
        "AEGIS_BLOBS": f"s3://{BUCKET}/team", "AEGIS_BLOBS_ENDPOINT": store.url, "AWS_ACCESS_KEY_ID": ACCESS,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }  # fmt: skip
    blobs = blobs_of(tmp_path, environ)
    assert isinstance(blobs, S3Blobs)
    assert blobs.get(blobs.put(b"there")) == b"there"
    assert next(iter(store.objects)).startswith("team/sha256/")
    blobs.close()
    for missing in ("AEGIS_BLOBS_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        with pytest.raises(UserError):
            blobs_of(tmp_path, {key: value for key, value in environ.items() if key != missing})
    with pytest.raises(UserError):
        blobs_of(tmp_path, {"AEGIS_BLOBS": "/somewhere"})
    assert blobs_of(tmp_path, {}).digests() is not None


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    program = python_program("moto_server")
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("w") as out:
        process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"
    try:
        ends = time.monotonic() + 60
        while True:
            try:
                httpx.get(url, trust_env=False)
                break
            except httpx.HTTPError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < ends
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.real
class TestS3BlobsOnMoto(BlobsContract):
    """Against `moto`, which follows the vendor's own service."""

    @pytest.fixture
    def blobs(self, address: str, tmp_path: Path) -> Iterator[S3Blobs]:
        bucket = f"b{abs(hash(tmp_path))}"
        empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        host = address.removeprefix("http://")
        headers = signed_headers(CREDENTIALS, "PUT", host, f"/{bucket}", {}, empty, datetime.now(UTC))
        assert httpx.put(f"{address}/{bucket}", headers=headers, trust_env=False).is_success
        made = S3Blobs(
            S3Objects(address, bucket, CREDENTIALS), spool=tmp_path / "spool", prefix="team", part=5 * 1024 * 1024
        )
        yield made
        made.close()

    def test_parts_are_put_together(self, blobs: S3Blobs) -> None:
        data = os.urandom(12 * 1024 * 1024)
        digest, _ = blobs.put_stream([data])
        assert blobs.get(digest) == data
