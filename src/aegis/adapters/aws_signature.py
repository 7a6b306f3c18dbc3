"""Signature Version 4 of the S3 protocol, for requests whose body's hash is known. Pure: the time is given.

After "Authenticating Requests: Using the Authorization Header" of the Amazon S3 API reference. Own code, since it is all
that is needed of the vendor's client, which is large and slow to load.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SAFE: Final = "-_.~"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """Whose requests these are, and where."""

    access_key: str
    secret_key: str
    region: str = "us-east-1"
    service: str = "s3"


def canonical_query(query: Mapping[str, str]) -> str:
    """The query string in the one form that is signed; it must also be sent so."""
    pairs = sorted((quote(key, safe=_SAFE), quote(value, safe=_SAFE)) for key, value in query.items())
    return "&".join(f"{key}={value}" for key, value in pairs)


def canonical_path(path: str) -> str:
    """The path in the one form that is signed; it must also be sent so."""
    return quote(path, safe="/" + _SAFE)


def signed_headers(
    credentials: Credentials, method: str, host: str, path: str, query: Mapping[str, str], payload: str, at: datetime
) -> dict[str, str]:
    """The headers that sign a request: `payload` is the SHA-256 of the body in hexadecimal."""
    moment = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{credentials.region}/{credentials.service}/aws4_request"
    headers = {"host": host, "x-amz-content-sha256": payload, "x-amz-date": moment}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    request = f"{method}\n{canonical_path(path)}\n{canonical_query(query)}\n{lines}\n{names}\n{payload}"
    text = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (moment[:8], credentials.region, credentials.service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    said = f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "Authorization": said}
