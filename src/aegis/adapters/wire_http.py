"""HTTP over kept connections with the standard library alone: what a command needs that must start at once.

One connection per origin, redirects of reads followed without credentials for another origin, a proxy where the system
names one. A request over a kept connection that the other side has closed is sent once more. For one thread.
"""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final
from urllib.parse import SplitResult, urljoin, urlsplit

from aegis.core.errors import ExternalError

_CHUNK: Final = 1 << 20
_REDIRECTS: Final = 5
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_LIMIT: Final = 64 << 20

Content = bytes | Callable[[], BinaryIO] | None
"""A body: bytes, or what opens a file (it is sent anew when the request is)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. Header names are lower-case; `url` is where it came from in the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300


class Wire:
    """Connections to wherever they are needed; `close` ends them. `proxied` says whether proxies may be used."""

    def __init__(self, *, timeout: float = 60.0, proxied: bool = True) -> None:
        self._timeout = timeout
        self._proxied = proxied
        self._kept: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def close(self) -> None:
        """Close the connections."""
        for connection in self._kept.values():
            connection.close()
        self._kept.clear()

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: Content = None, size: int = 0
    ) -> Answer:
        """The whole answer, at most 64 MiB; `ExternalError` (`unreachable`) where there is none."""
        answer, where = self._send(method, url, headers or {}, content, size)
        try:
            body = answer.read(_LIMIT + 1)
            answer.read()
        except (http.client.HTTPException, OSError) as error:
            raise self._failed(where, error) from error
        if len(body) > _LIMIT:
            raise self._failed(where, ValueError("the answer is too large"))
        return Answer(status=answer.status, headers=_headers(answer), body=body, url=where)

    def stream(self, url: str, *, headers: Mapping[str, str] | None = None) -> tuple[Answer, Iterator[bytes]]:
        """A read whose body comes in chunks of at most 1 MiB; the chunks must be taken before the next request."""
        answer, where = self._send("GET", url, headers or {}, None, 0)

        def chunks() -> Iterator[bytes]:
            try:
                while chunk := answer.read(_CHUNK):
                    yield chunk
            except (http.client.HTTPException, OSError) as error:
                raise self._failed(where, error) from error

        return Answer(status=answer.status, headers=_headers(answer), body=b"", url=where), chunks()

    # -- inside -------------------------------------------------------------------------------------------

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], content: Content, size: int
    ) -> tuple[http.client.HTTPResponse, str]:
        sent = {"User-Agent": "aegis", "Accept-Encoding": "identity", **headers}
        for _ in range(_REDIRECTS + 1):
            answer = self._once(method, url, sent, content, size)
            where = answer.getheader("location")
            if method not in {"GET", "HEAD"} or answer.status not in _MOVED or not where:
                return answer, url
            answer.read()
            target = urljoin(url, where)
            if urlsplit(target)[:2] != urlsplit(url)[:2]:
                sent.pop("Authorization", None)
            url = target
        raise self._failed(url, ValueError("it leads around in circles"))

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], content: Content, size: int
    ) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        again = key in self._kept
        try:
            try:
                return self._exchange(self._connection(parts), method, parts, headers, content, size)
            except (
                http.client.RemoteDisconnected,
                ConnectionResetError,
                BrokenPipeError,
                http.client.CannotSendRequest,
            ):
                self._drop(key)
                if not again:
                    raise
                return self._exchange(self._connection(parts), method, parts, headers, content, size)
        except (http.client.HTTPException, OSError, ValueError) as error:
            self._drop(key)
            raise self._failed(url, error) from error

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, parts: SplitResult, headers: Mapping[str, str],
        content: Content, size: int,
    ) -> http.client.HTTPResponse:  # fmt: skip
        path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        if callable(content):
            with content() as file:
                connection.request(method, path, body=file, headers={**headers, "Content-Length": str(size)})
                return connection.getresponse()
        connection.request(method, path, body=content, headers=dict(headers))
        return connection.getresponse()

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        key = (parts.scheme, parts.netloc)
        if key not in self._kept:
            self._kept[key] = self._opened(parts)
        return self._kept[key]

    def _opened(self, parts: SplitResult) -> http.client.HTTPConnection:
        host, port = parts.hostname or "", parts.port
        proxy = _proxy(parts) if self._proxied else None
        if parts.scheme == "http" and proxy is None:
            return http.client.HTTPConnection(host, port, timeout=self._timeout, blocksize=_CHUNK)
        if parts.scheme not in {"http", "https"}:
            raise ValueError(f"{parts.scheme!r} is not spoken here")
        context = ssl.create_default_context()
        if proxy is None:
            return http.client.HTTPSConnection(
                host, port, timeout=self._timeout, blocksize=_CHUNK, context=context
            )  # fmt: skip
        made: http.client.HTTPConnection
        if parts.scheme == "https":
            made = http.client.HTTPSConnection(
                proxy.hostname or "", proxy.port, timeout=self._timeout, blocksize=_CHUNK, context=context
            )
        else:
            made = http.client.HTTPConnection(proxy.hostname or "", proxy.port, timeout=self._timeout, blocksize=_CHUNK)
        known = f"{proxy.username}:{proxy.password}".encode() if proxy.password else b""
        login = {"Proxy-Authorization": f"Basic {base64.b64encode(known).decode()}"} if known else {}
        made.set_tunnel(host, port or (443 if parts.scheme == "https" else 80), headers=login)
        return made

    def _drop(self, key: tuple[str, str]) -> None:
        connection = self._kept.pop(key, None)
        if connection is not None:
            connection.close()

    def _failed(self, url: str, error: Exception) -> ExternalError:
        host = urlsplit(url).netloc.rpartition("@")[2]
        return ExternalError("unreachable", f"{host}: {str(error) or type(error).__name__}", retryable=True)


def _headers(answer: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.getheaders()}


def _proxy(parts: SplitResult) -> SplitResult | None:
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - heavy, and never needed on loopback

    found = getproxies().get(parts.scheme)
    if not found or proxy_bypass(parts.hostname or ""):
        return None
    return urlsplit(found if "://" in found else f"http://{found}")
