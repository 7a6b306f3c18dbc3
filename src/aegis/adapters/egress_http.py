"""`Egress` over HTTP: only declared hosts, no private addresses, the address pinned, sizes and times bounded.

Every hop of a redirect is checked anew: its host against the allow-list, its addresses against the private ranges. The
connection goes to the address that was checked, never to a second answer of the name service (DNS rebinding), while
TLS and the Host header keep the name. What a caller sent along (tokens, cookies) does not follow a redirect to another
origin. A private host must be declared as such, by host and port.

Through a declared proxy it is the proxy that resolves names: the allow-list and the refusal of private literal addresses hold,
pinning cannot.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx

from aegis.adapters.addresses import is_public
from aegis.core.errors import ExternalError
from aegis.core.ports import Response, Streamed

Resolve = Callable[[str, int], Sequence[str]]

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAXIMUM_REDIRECTS: Final = 5
_KEPT_HEADERS: Final = frozenset({"accept", "accept-encoding", "accept-language", "user-agent", "if-none-match"})


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRules:
    """Where traffic may go. `allowed` are host names with wildcards (`*` alone: every public host).

    `private` are `host:port` pairs that may have private addresses. `proxy` is a proxy's URL, `ca_file` a PEM bundle that
    is trusted besides the system's authorities.
    """

    allowed: tuple[str, ...] = ()
    private: frozenset[str] = frozenset()
    proxy: str | None = None
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class _Target:
    scheme: str
    host: str
    port: int
    url: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


class HttpEgress:
    """All traffic to hosts outside. Safe from any thread: every request has a connection of its own."""

    def __init__(self, rules: EgressRules, *, resolve: Resolve | None = None) -> None:
        self._rules = rules
        self._resolve = resolve or _addresses
        self._context = ssl.create_default_context()
        if rules.ca_file:
            self._context.load_verify_locations(rules.ca_file)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = 64 * 1024 * 1024,
        timeout: float = 30.0,
    ) -> Response:
        """The answer, whatever its status; `ExternalError` when there is none or the host is not allowed."""
        with self.stream(method, url, headers=headers, body=body, limit=limit, timeout=timeout) as answer:
            return Response(status=answer.status, headers=answer.headers, body=b"".join(answer.pieces))

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = 64 * 1024 * 1024,
        timeout: float = 30.0,
    ) -> Iterator[Streamed]:
        """The answer with its body as it arrives; it ends with the `with` block."""
        deadline = time.monotonic() + timeout
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        target = self._target(url)
        for _ in range(_MAXIMUM_REDIRECTS + 1):
            with self._once(method, target, sent, body, limit=limit, deadline=deadline) as answer:
                location = answer.headers.get("location")
                if answer.status not in _REDIRECTS or not location:
                    yield answer
                    return
            following = self._target(urljoin(target.url, location))
            if target.scheme == "https" and following.scheme == "http":
                raise ExternalError("egress-downgrade", f"{target.host} redirects from https to http")
            if following.origin != target.origin:
                sent = {name: value for name, value in sent.items() if name in _KEPT_HEADERS}
                body = None if method not in {"GET", "HEAD"} else body
            if answer.status == 303 or (answer.status in {301, 302} and method == "POST"):
                method, body = "GET", None
            target = following
        raise ExternalError("egress-redirects", f"{url} redirects more than {_MAXIMUM_REDIRECTS} times")

    def _target(self, url: str) -> _Target:
        """The parts of a URL that may be reached, or the refusal."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError as error:
            raise ExternalError("egress-url", f"not a URL: {error}") from error
        if parts.scheme not in {"http", "https"} or not host:
            raise ExternalError("egress-url", f"{parts.scheme or 'no'} is not http or https, or no host is named")
        if parts.username or parts.password:
            raise ExternalError("egress-credentials", "credentials in an address are refused; send a header")
        number = port or (443 if parts.scheme == "https" else 80)
        declared = f"{host}:{number}" in self._rules.private
        if not declared and not any(fnmatchcase(host, pattern) for pattern in self._rules.allowed):
            raise ExternalError(
                "egress-host",
                f"{host} is not among the hosts that may be reached",
                hint="add it to the declaration's egress hosts",
            )
        return _Target(scheme=parts.scheme, host=host, port=number, url=url)

    @contextlib.contextmanager
    def _once(
        self,
        method: str,
        target: _Target,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        limit: int,
        deadline: float,
    ) -> Iterator[Streamed]:
        with contextlib.ExitStack() as stack:
            yield self._reached(stack, method, target, headers, body, limit=limit, deadline=deadline)

    def _reached(
        self,
        stack: contextlib.ExitStack,
        method: str,
        target: _Target,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        limit: int,
        deadline: float,
    ) -> Streamed:
        """The answer of the first of the host's addresses that takes the connection."""
        addresses: tuple[str, ...] = (target.host,)
        if self._rules.proxy and f"{target.host}:{target.port}" not in self._rules.private:
            self._refuse_private_literal(target)
        else:
            addresses = self._checked(target)
        failure: ExternalError | None = None
        for address in addresses:
            try:
                return stack.enter_context(
                    self._send(method, target, address, headers, body, limit=limit, deadline=deadline)
                )
            except ExternalError as error:
                if error.code != "egress-connect":
                    raise
                failure = error
        raise failure or ExternalError("egress-name", f"{target.host} has no address", retryable=True)

    def _checked(self, target: _Target) -> tuple[str, ...]:
        """The host's addresses when all of them may be reached."""
        addresses = tuple(dict.fromkeys(self._resolve(target.host, target.port)))
        if f"{target.host}:{target.port}" not in self._rules.private:
            bad = next((address for address in addresses if not is_public(address)), None)
            if bad is not None:
                raise ExternalError(
                    "egress-private",
                    f"{target.host} has the address {bad}, which is not a public one",
                    hint=f"declare {target.host}:{target.port} as a private host when that is meant",
                )
        return addresses

    def _refuse_private_literal(self, target: _Target) -> None:
        try:
            ipaddress.ip_address(target.host)
        except ValueError:
            return
        if not is_public(target.host):
            raise ExternalError("egress-private", f"{target.host} is not a public address")

    @contextlib.contextmanager
    def _send(
        self,
        method: str,
        target: _Target,
        address: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        limit: int,
        deadline: float,
    ) -> Iterator[Streamed]:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _late(target)
        direct = address != target.host
        url = httpx.URL(target.url).copy_with(host=address, port=target.port)
        sent = {**headers, "host": _host_header(target)}
        extensions = {"sni_hostname": target.host} if direct and target.scheme == "https" else {}
        proxy = None if f"{target.host}:{target.port}" in self._rules.private else self._rules.proxy
        try:
            with (
                httpx.Client(verify=self._context, trust_env=False, proxy=proxy, timeout=left) as client,
                client.stream(method, url, headers=sent, content=body, extensions=extensions) as answer,
            ):
                yield Streamed(
                    status=answer.status_code,
                    headers={name.lower(): value for name, value in answer.headers.items()},
                    pieces=_pieces(answer, target, limit, deadline),
                )
        except httpx.TimeoutException as error:
            raise _late(target) from error
        except (httpx.ConnectError, httpx.ProxyError) as error:
            raise ExternalError(
                "egress-connect", f"{target.host}:{target.port} cannot be reached: {error}", retryable=True
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ExternalError("egress-failed", f"{target.host}: {error}", retryable=True) from error


def _pieces(answer: httpx.Response, target: _Target, limit: int, deadline: float) -> Iterator[bytes]:
    """The body as it arrives, decoded; refused beyond `limit` bytes or after the deadline."""
    size = 0
    for chunk in answer.iter_bytes():
        size += len(chunk)
        if size > limit:
            raise ExternalError("egress-too-large", f"{target.host} answers with more than {limit} bytes")
        if time.monotonic() > deadline:
            raise _late(target)
        yield chunk


def _late(target: _Target) -> ExternalError:
    return ExternalError("egress-timeout", f"{target.host} did not answer in time", retryable=True)


def _host_header(target: _Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    usual = {"http": 80, "https": 443}[target.scheme]
    return host if target.port == usual else f"{host}:{target.port}"


def _addresses(host: str, port: int) -> Sequence[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ExternalError("egress-name", f"{host} has no address: {error}", retryable=True) from error
    return [str(entry[4][0]) for entry in found]
