"""`Blobs` in an S3-compatible store: one object per digest, written whole or not at all, verified when read.

A stream is spooled to a file and hashed before anything is sent, so that nothing wrong ever gets there; every body is sent
with its SHA-256, which the store checks, too. Large ones go in parts, which nobody sees before the last is there. Requests are
signed by `aws_signature`; the address style is `https://ENDPOINT/BUCKET/KEY`, which every compatible store understands.

It deliberately does not decide what may be forgotten, makes no bucket and sets no policy on it.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, BinaryIO, Final
from urllib.parse import urlsplit

import httpx
from defusedxml.ElementTree import fromstring

from aegis.adapters.aws_signature import Credentials, canonical_path, canonical_query, signed_headers
from aegis.adapters.blob_holds import Holds
from aegis.adapters.blobs_directory import CHUNK, hasher
from aegis.core.errors import Conflict, ExternalError, NotFound

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_ATTEMPTS: Final = 3
_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_PART: Final = 64 * 1024 * 1024

Body = bytes | Callable[[], Iterator[bytes]]
"""Bytes, or what gives them anew for each attempt."""


class S3Blobs:
    """Blobs under `prefix` of a bucket. Safe from any thread; streams are spooled under `spool`."""

    def __init__(
        self, endpoint: str, bucket: str, credentials: Credentials, *, spool: Path, prefix: str = "", part: int = _PART,
        ca_file: str | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        parts = urlsplit(endpoint)
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.netloc
        self._root = f"{parts.path.rstrip('/')}/{bucket}"
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._credentials = credentials
        self._spool = spool
        self._part = part
        self._now = now
        self._holds = Holds()
        self._client = httpx.Client(verify=ca_file or True, timeout=60.0, trust_env=False)
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def put(self, data: bytes) -> str:
        """Keep `data`; its sha256 digest. Durable when it returns."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._holds.mark(digest)
        if self.size(digest) != len(data):
            self._answer("PUT", self._key(digest), body=data, payload=digest.removeprefix("sha256:"), length=len(data))
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
        """See `Blobs`: at most two contents are in memory beside the one that is being made."""
        with ThreadPoolExecutor(1, thread_name_prefix="blobs") as pool:
            written: Future[str] | None = None
            for part in parts:
                if written is not None:
                    yield written.result()
                written = pool.submit(self.put, part)
            if written is not None:
                yield written.result()

    def get(self, digest: str) -> bytes:
        """The bytes; `NotFound`; `ExternalError` when what is stored no longer matches its digest."""
        return b"".join(self.open(digest))

    def open(self, digest: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes in chunks of at most 1 MiB; a whole read is verified before its last chunk."""
        if offset < 0 or (length is not None and length < 0):
            raise Conflict("blob-range", f"no such range: offset {offset}, length {length}")
        size = self.size(digest)
        if size is None:
            raise _absent(digest)
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
        begin = {"start-after": self._key(after)[1:]} if _DIGEST.fullmatch(after) else {}
        token: str | None = ""
        while token is not None:
            place = {"continuation-token": token} if token else begin
            query = {"list-type": "2", "prefix": self._prefix} | place
            page = fromstring(self._answer("GET", "", query=query).content)
            for entry in page.iter():
                if not entry.tag.endswith("Contents"):
                    continue
                about = {one.tag.rpartition("}")[2]: one.text or "" for one in entry}
                algorithm, _, rest = about["Key"].removeprefix(self._prefix).partition("/")
                digest = f"{algorithm}:{rest.rpartition('/')[2]}"
                if _DIGEST.fullmatch(digest) and digest > after:
                    yield digest, datetime.fromisoformat(about["LastModified"]).timestamp()
            token = next((one.text for one in page if one.tag.endswith("NextContinuationToken")), None)

    def size(self, digest: str) -> int | None:
        """Bytes, or None where it is not kept."""
        if _DIGEST.fullmatch(digest) is None:
            return None
        try:
            return int(self._answer("HEAD", self._key(digest)).headers["content-length"])
        except NotFound:
            return None

    def delete(self, digest: str) -> None:
        """Forget it; no error when it is not there."""
        if _DIGEST.fullmatch(digest) is not None:
            try:
                self._answer("DELETE", self._key(digest))
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
            raise _absent(digest)
        algorithm, _, name = digest.partition(":")
        return f"/{self._prefix}{algorithm}/{name[:2]}/{name}"

    def _read(self, digest: str, offset: int, wanted: int, *, whole: bool) -> Iterator[bytes]:
        hashed, left = hasher(digest), wanted
        headers = {} if whole else {"Range": f"bytes={offset}-{offset + wanted - 1}"}
        if wanted:
            with self._stream("GET", self._key(digest), headers) as answer:
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
            self._answer("PUT", key, body=lambda: _range(file, 0, size), payload=sha256, length=size)
            return
        begun = fromstring(self._answer("POST", key, query={"uploads": ""}).content)
        upload = next(one.text or "" for one in begun.iter() if one.tag.endswith("UploadId"))
        try:
            tags = [self._send_part(key, upload, number, file, size) for number in range(-(-size // self._part))]
            listed = "".join(
                f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
                for number, tag in enumerate(tags, 1)
            )  # fmt: skip
            body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
            done = self._answer(
                "POST", key, query={"uploadId": upload}, body=body, payload=hashlib.sha256(body).hexdigest(),
                length=len(body),
            )  # fmt: skip
        except BaseException:
            self._answer("DELETE", key, query={"uploadId": upload})
            raise
        if b"<Error>" in done.content:  # the protocol may find out late, after it has answered 200
            raise _failed(f"the parts were refused: {done.text[:300]}")

    def _send_part(self, key: str, upload: str, number: int, file: IO[bytes], size: int) -> str:
        begin, end = number * self._part, min(size, (number + 1) * self._part)
        hashed = hashlib.sha256()
        for chunk in _range(file, begin, end):
            hashed.update(chunk)
        answer = self._answer(
            "PUT", key, query={"partNumber": str(number + 1), "uploadId": upload}, body=lambda: _range(file, begin, end),
            payload=hashed.hexdigest(), length=end - begin,
        )  # fmt: skip
        return answer.headers["etag"]

    def _answer(
        self, method: str, key: str, *, query: Mapping[str, str] | None = None, body: Body = b"", payload: str = _EMPTY,
        length: int = 0,
    ) -> httpx.Response:  # fmt: skip
        """A whole, good answer. Everything asked for here may be asked for twice."""
        failure = _failed("it was never asked")
        for _ in range(_ATTEMPTS):
            try:
                answer = self._client.send(self._request(method, key, query or {}, body, payload, length))
            except httpx.HTTPError as error:
                failure = _failed(f"{type(error).__name__}: {error}")
                continue
            if answer.status_code == 404:
                raise _absent(key)
            if answer.is_success:
                return answer
            failure = _failed(f"{method} was answered with {answer.status_code}: {answer.text[:300]}")
            if answer.status_code < 500:
                break
        raise failure

    @contextmanager
    def _stream(self, method: str, key: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        request = self._request(method, key, {}, b"", _EMPTY, 0)
        request.headers.update(headers)
        try:
            answer = self._client.send(request, stream=True)
            try:
                if answer.status_code == 404:
                    raise _absent(key)
                if not answer.is_success:
                    raise _failed(f"{method} was answered with {answer.status_code}")
                yield answer
            finally:
                answer.close()
        except httpx.HTTPError as error:
            raise _failed(f"{type(error).__name__}: {error}") from error

    def _request(
        self, method: str, key: str, query: Mapping[str, str], body: Body, payload: str, length: int
    ) -> httpx.Request:  # fmt: skip
        path = f"{self._root}{key}"
        headers = signed_headers(self._credentials, method, self._host, path, query, payload, self._now())
        url = f"{self._base}{canonical_path(path)}" + (f"?{canonical_query(query)}" if query else "")
        if method in ("PUT", "POST"):
            headers["Content-Length"] = str(length)
        content = body if isinstance(body, bytes) else body()
        return self._client.build_request(
            method, url, headers={**headers, "Accept-Encoding": "identity"}, content=content
        )


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


def _absent(name: str) -> NotFound:
    return NotFound("blob-unknown", f"there is no blob {name[:80]}")


def _damaged(digest: str) -> ExternalError:
    return ExternalError(
        "blob-damaged",
        f"what is stored as {digest} no longer has that digest",
        hint="restore the object, or delete it and let it be built again",
    )


def _failed(why: str) -> ExternalError:
    return ExternalError(
        "blob-store",
        f"the object store failed: {why}",
        hint="look at its address, bucket and credentials",
        retryable=True,
    )
