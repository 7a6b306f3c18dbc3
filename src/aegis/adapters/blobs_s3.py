"""`Blobs` in an S3-compatible store: one object per digest, written whole or not at all, verified when read.

A stream is spooled to a file and hashed before anything is sent, so that nothing wrong ever gets there; every body is sent
with its SHA-256, which the store checks, too. Large ones go in parts, which nobody sees before the last is there.

It deliberately does not decide what may be forgotten, makes no bucket and sets no policy on it.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, BinaryIO, Final

from defusedxml.ElementTree import fromstring

from aegis.adapters.blob_holds import Holds
from aegis.adapters.blobs_directory import CHUNK, hasher
from aegis.adapters.s3_objects import S3Objects, absent, failed
from aegis.adapters.written_ahead import each
from aegis.core.errors import Conflict, ExternalError, NotFound

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_PART: Final = 64 * 1024 * 1024


class S3Blobs:
    """Blobs under `prefix` of a bucket. Safe from any thread; streams are spooled under `spool`."""

    def __init__(self, objects: S3Objects, *, spool: Path, prefix: str = "", part: int = _PART) -> None:
        self._objects = objects
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._spool = spool
        self._part = part
        self._holds = Holds()
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)

    def close(self) -> None:
        """Close the connections."""
        self._objects.close()

    def put(self, data: bytes) -> str:
        """Keep `data`; its sha256 digest. Durable when it returns."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._holds.mark(digest)
        if self.size(digest) != len(data):
            self._objects.answer(
                "PUT", self._key(digest), body=data, payload=digest.removeprefix("sha256:"), length=len(data)
            )
        return digest

    def put_stream(self, source: BinaryIO | Iterable[bytes], *, expected: str | None = None) -> tuple[str, int]:
        """Keep a stream in constant memory; digest and size. `Conflict` when it is not `expected`."""
        hashed, plain = hasher(expected), hashlib.sha256()
        size = 0
        try:
            with tempfile.TemporaryFile(dir=self._spool) as file:
                for chunk in _chunks(source):
                    hashed.update(chunk)
                    plain.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
                digest = f"{hashed.name}:{hashed.hexdigest()}"
                if expected is not None and digest != expected:
                    raise Conflict("blob-digest", f"the content has the digest {digest}, expected was {expected}")
                self._holds.mark(digest)
                if self.size(digest) != size:
                    self._send(digest, file, size, plain.hexdigest())
        except OSError as error:
            raise ExternalError("blob-store", f"the spool failed: {error}", hint="is the disk full?") from error
        return digest, size

    def put_each(self, parts: Iterable[bytes]) -> Iterator[str]:
        """See `Blobs`."""
        return each(self.put, parts)

    def get(self, digest: str) -> bytes:
        """The bytes; `NotFound`; `ExternalError` when what is stored no longer matches its digest."""
        return b"".join(self.open(digest))

    def open(self, digest: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes in chunks of at most 1 MiB; a whole read is verified before its last chunk."""
        if offset < 0 or (length is not None and length < 0):
            raise Conflict("blob-range", f"no such range: offset {offset}, length {length}")
        size = self.size(digest)
        if size is None:
            raise absent(digest)
        wanted = max(0, size - offset) if length is None else min(length, max(0, size - offset))
        return self._read(digest, offset, wanted, whole=wanted == size)

    def file(self, digest: str) -> BinaryIO | None:
        """Nothing lies at hand here."""
        _ = digest
        return None

    def check(self, digest: str) -> bool:
        """Read it whole; whether it still has its digest. `NotFound`."""
        try:
            for _ in self.open(digest):
                pass
        except ExternalError as error:
            if error.code == "blob-damaged":
                return False
            raise
        return True

    def digests(self, after: str = "") -> Iterator[tuple[str, float]]:
        """What is kept beyond `after`, in the order of digests, page by page: keys are listed in their own order."""
        begin = self._key(after)[1:] if _DIGEST.fullmatch(after) else f"{self._prefix}{after.replace(':', '/')}"
        for key, since in self._objects.listed(self._prefix, begin if after else ""):
            algorithm, _, rest = key.removeprefix(self._prefix).partition("/")
            digest = f"{algorithm}:{rest.rpartition('/')[2]}"
            if _DIGEST.fullmatch(digest) and digest > after:
                yield digest, since

    def size(self, digest: str) -> int | None:
        """Bytes, or None where it is not kept."""
        if _DIGEST.fullmatch(digest) is None:
            return None
        try:
            return int(self._objects.answer("HEAD", self._key(digest)).headers["content-length"])
        except NotFound:
            return None

    def delete(self, digest: str) -> None:
        """Forget it; no error when it is not there."""
        if _DIGEST.fullmatch(digest) is not None:
            try:
                self._objects.answer("DELETE", self._key(digest))
            except NotFound:
                return

    def hold(self) -> AbstractContextManager[None]:
        """See `Blobs`."""
        return self._holds.hold()

    def forget(self, digest: str) -> bool:
        """See `Blobs`."""
        with self._holds.idle(digest) as idle:
            if idle:
                self.delete(digest)
        return idle

    # -- inside -------------------------------------------------------------------------------------------

    def _key(self, digest: str) -> str:
        if _DIGEST.fullmatch(digest) is None:
            raise absent(digest)
        algorithm, _, name = digest.partition(":")
        return f"/{self._prefix}{algorithm}/{name[:2]}/{name}"

    def _read(self, digest: str, offset: int, wanted: int, *, whole: bool) -> Iterator[bytes]:
        hashed, left = hasher(digest), wanted
        headers = {} if whole else {"Range": f"bytes={offset}-{offset + wanted - 1}"}
        if wanted:
            with self._objects.stream("GET", self._key(digest), headers) as answer:
                for chunk in answer.iter_raw(CHUNK):
                    hashed.update(chunk)
                    left -= len(chunk)
                    if whole and left <= 0:
                        break
                    yield chunk
                last = chunk if whole else b""
        if whole and (left != 0 or f"{hashed.name}:{hashed.hexdigest()}" != digest):
            raise _damaged(digest)
        if whole and wanted:
            yield last

    def _send(self, digest: str, file: IO[bytes], size: int, sha256: str) -> None:
        key = self._key(digest)
        if size <= self._part:
            self._objects.answer("PUT", key, body=lambda: _range(file, 0, size), payload=sha256, length=size)
            return
        begun = fromstring(self._objects.answer("POST", key, query={"uploads": ""}).content)
        upload = next(one.text or "" for one in begun.iter() if one.tag.endswith("UploadId"))
        try:
            tags = [self._send_part(key, upload, number, file, size) for number in range(-(-size // self._part))]
            listed = "".join(
                f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
                for number, tag in enumerate(tags, 1)
            )  # fmt: skip
            body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
            done = self._objects.answer(
                "POST", key, query={"uploadId": upload}, body=body, payload=hashlib.sha256(body).hexdigest(),
                length=len(body),
            )  # fmt: skip
        except BaseException:
            self._objects.answer("DELETE", key, query={"uploadId": upload})
            raise
        if b"<Error>" in done.content:  # the protocol may find out late, after it has answered 200
            raise failed(f"the parts were refused: {done.text[:300]}")

    def _send_part(self, key: str, upload: str, number: int, file: IO[bytes], size: int) -> str:
        begin, end = number * self._part, min(size, (number + 1) * self._part)
        hashed = hashlib.sha256()
        for chunk in _range(file, begin, end):
            hashed.update(chunk)
        answer = self._objects.answer(
            "PUT", key, query={"partNumber": str(number + 1), "uploadId": upload}, body=lambda: _range(file, begin, end),
            payload=hashed.hexdigest(), length=end - begin,
        )  # fmt: skip
        return answer.headers["etag"]


def _chunks(source: BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    read = getattr(source, "read", None)
    if read is None:
        yield from source
        return
    while chunk := read(CHUNK):
        yield chunk


def _range(file: IO[bytes], begin: int, end: int) -> Iterator[bytes]:
    file.seek(begin)
    while begin < end and (chunk := file.read(min(CHUNK, end - begin))):
        begin += len(chunk)
        yield chunk


def _damaged(digest: str) -> ExternalError:
    return ExternalError(
        "blob-damaged",
        f"what is stored as {digest} no longer has that digest",
        hint="restore the object, or delete it and let it be built again",
    )
