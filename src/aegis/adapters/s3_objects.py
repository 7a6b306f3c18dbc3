"""Requests to an S3-compatible store: signed, tried again, failures as `ExternalError`. It knows nothing of what is kept there.

The address style is `https://ENDPOINT/BUCKET/KEY`, which every compatible store understands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import httpx
from defusedxml.ElementTree import fromstring

from aegis.adapters.aws_signature import Credentials, canonical_path, canonical_query, signed_headers
from aegis.core.errors import ExternalError, NotFound

ATTEMPTS: Final = 3
EMPTY: Final = hashlib.sha256(b"").hexdigest()

Body = bytes | Callable[[], Iterator[bytes]]
"""Bytes, or what gives them anew for each attempt."""


class S3Objects:
    """The objects of a bucket. Safe from any thread."""

    def __init__(
        self, endpoint: str, bucket: str, credentials: Credentials, *, ca_file: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        parts = urlsplit(endpoint)
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.netloc
        self._root = f"{parts.path.rstrip('/')}/{bucket}"
        self._credentials = credentials
        self._now = now
        self._client = httpx.Client(verify=ca_file or True, timeout=60.0, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def listed(self, prefix: str, start_after: str) -> Iterator[tuple[str, float]]:
        """The keys below a prefix in order, each with the Unix time of its last change; asked for page by page."""
        token: str | None = ""
        while token is not None:
            place = {"continuation-token": token} if token else {"start-after": start_after} if start_after else {}
            page = fromstring(self.answer("GET", "", query={"list-type": "2", "prefix": prefix} | place).content)
            for entry in page.iter():
                if entry.tag.endswith("Contents"):
                    about = {one.tag.rpartition("}")[2]: one.text or "" for one in entry}
                    yield about["Key"], datetime.fromisoformat(about["LastModified"]).timestamp()
            token = next((one.text for one in page if one.tag.endswith("NextContinuationToken")), None)

    def answer(
        self, method: str, key: str, *, query: Mapping[str, str] | None = None, body: Body = b"", payload: str = EMPTY,
        length: int = 0,
    ) -> httpx.Response:  # fmt: skip
        """A whole, good answer. Everything asked for here may be asked for twice."""
        failure = failed("it was never asked")
        for _ in range(ATTEMPTS):
            try:
                answer = self._client.send(self._request(method, key, query or {}, body, payload, length))
            except httpx.HTTPError as error:
                failure = failed(f"{type(error).__name__}: {error}")
                continue
            if answer.status_code == 404:
                raise absent(key)
            if answer.is_success:
                return answer
            failure = failed(f"{method} was answered with {answer.status_code}: {answer.text[:300]}")
            if answer.status_code < 500:
                break
        raise failure

    @contextmanager
    def stream(self, method: str, key: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """A good answer whose body is read by the caller."""
        request = self._request(method, key, {}, b"", EMPTY, 0)
        request.headers.update(headers)
        try:
            answer = self._client.send(request, stream=True)
            try:
                if answer.status_code == 404:
                    raise absent(key)
                if not answer.is_success:
                    raise failed(f"{method} was answered with {answer.status_code}")
                yield answer
            finally:
                answer.close()
        except httpx.HTTPError as error:
            raise failed(f"{type(error).__name__}: {error}") from error

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


def absent(name: str) -> NotFound:
    """There is no such object."""
    return NotFound("blob-unknown", f"there is no blob {name[:80]}")


def failed(why: str) -> ExternalError:
    """The store did not do what it was asked for."""
    return ExternalError(
        "blob-store", f"the object store failed: {why}", hint="look at its address, bucket and credentials",
        retryable=True,
    )  # fmt: skip
