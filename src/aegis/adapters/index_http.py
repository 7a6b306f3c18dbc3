"""Uploads wheels and sdists to a package index with the legacy upload protocol, as twine does.

Follows the upload API of the packaging user guide: multipart, protocol version 1, the metadata of the file itself.
A file that the index has already, byte for byte, is a success: publishing may be repeated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from email.parser import HeaderParser
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import httpx

from aegis.core.errors import Conflict, Denied, ExternalError

_LISTS: Final = {"Classifier": "classifiers", "Requires-Dist": "requires_dist", "Project-URL": "project_urls"}
_SINGLES: Final = {
    "Metadata-Version": "metadata_version", "Name": "name", "Version": "version", "Summary": "summary",
    "Requires-Python": "requires_python", "License-Expression": "license_expression", "Author": "author",
    "Author-email": "author_email", "Keywords": "keywords",
}  # fmt: skip


def upload(
    url: str, filename: str, data: bytes, metadata: bytes, *, user: str = "", password: str = "", timeout: float = 60.0
) -> None:
    """Upload one file whose core metadata is `metadata`. Credentials may also stand in the URL."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    clean = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    auth = httpx.BasicAuth(user or parts.username or "token", password or parts.password or "")
    headers = HeaderParser().parsestr(metadata.decode("utf-8", "replace"))
    fields: dict[str, str | Sequence[str]] = {":action": "file_upload", "protocol_version": "1", **_kind(filename)}
    fields |= {field: headers[key] for key, field in _SINGLES.items() if headers[key]}
    fields |= {field: headers.get_all(key) or [] for key, field in _LISTS.items() if headers[key]}
    fields["sha256_digest"] = hashlib.sha256(data).hexdigest()
    files = {"content": (filename, data, "application/octet-stream")}
    try:
        with httpx.Client(timeout=timeout, trust_env=parts.hostname not in {"127.0.0.1", "localhost", "::1"}) as client:
            answer = client.post(clean, data=_form(fields), files=files, auth=auth)
    except httpx.HTTPError as error:
        raise ExternalError("index-unreachable", f"{host}: {error}", retryable=True) from error
    if answer.is_success:
        return
    said = f"{host} answered {answer.status_code} to {filename}: {answer.text[:500].strip()}"
    if answer.status_code in (401, 403):
        raise Denied(
            "index-denied", said, hint="give a token that may upload: AEGIS_UPLOAD_TOKEN, or CI_JOB_TOKEN in a job"
        )
    if answer.status_code == 409:
        raise Conflict("index-conflict", said, hint="a file name is given once: raise the version")
    raise ExternalError("index-answer", said)


def _form(fields: Mapping[str, str | Sequence[str]]) -> dict[str, str | list[str]]:
    return {key: value if isinstance(value, str) else list(value) for key, value in fields.items()}


def _kind(filename: str) -> dict[str, str]:
    if filename.endswith(".whl"):
        return {"filetype": "bdist_wheel", "pyversion": filename.removesuffix(".whl").split("-")[-3]}
    return {"filetype": "sdist", "pyversion": "source"}
