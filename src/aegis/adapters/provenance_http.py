"""Asks a package index for the provenance of locked files (PEP 691, PEP 740). Only the index itself is asked, nobody it points to."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from aegis.adapters.registry_http import is_loopback
from aegis.adapters.wire_http import Wire
from aegis.core.errors import ExternalError

_PAGE: Final = "application/vnd.pypi.simple.v1+json"
_NOT_THERE: Final = 404


class IndexProvenance:
    """One index, by its simple address; credentials may stand in it. For one thread."""

    def __init__(self, index: str) -> None:
        parts = urlsplit(index)
        self._host = parts.netloc.rpartition("@")[2]
        self._origin = (parts.scheme, self._host)
        self._base = urlunsplit((parts.scheme, self._host, parts.path.rstrip("/") + "/", "", ""))
        self._headers = {"Accept": _PAGE}
        if parts.password or parts.username:
            known = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(known).decode()}"
        self._wire = Wire(proxied=not is_loopback(self._host))

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def of(self, name: str, digests: frozenset[str]) -> Iterator[tuple[str, str, bytes]]:
        """Name, digest and provenance of those files of a project that have one of the digests and a provenance.

        `ExternalError` where the index cannot be asked; nothing where it does not know the project.
        """
        page = self._base + f"{name}/"
        found = self._ask(page)
        for file in _files(found):
            digest = f"sha256:{(file.get('hashes') or {}).get('sha256', '')}"
            where = urljoin(page, str(file.get("provenance") or ""))
            if digest in digests and file.get("provenance"):
                if urlsplit(where)[:2] != self._origin:
                    raise ExternalError("provenance-elsewhere", f"{self._host} points to {urlsplit(where).hostname}")
                yield str(file.get("filename")), digest, self._ask(where)

    def _ask(self, url: str) -> bytes:
        answer = self._wire.request("GET", url, headers=self._headers)
        if answer.status == _NOT_THERE:
            return b""
        if not answer.ok:
            raise ExternalError(
                "provenance-unavailable", f"{self._host} answered {answer.status}", retryable=answer.status >= 500
            )
        return answer.body


def _files(page: bytes) -> list[dict[str, Any]]:
    if not page:
        return []
    try:
        found: list[dict[str, Any]] = json.loads(page)["files"]
    except (ValueError, KeyError, TypeError):
        return []  # an index that does not speak JSON publishes no provenance in it
    return found
