"""Pages of the simple API as values become them: PEP 503, 592, 629, 658, 691, 700, 714 and 740. Pure.

Version 1.1 of the API, with the `provenance` of PEP 740 beside it. Addresses are relative, so that an index works under any name.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final
from urllib.parse import quote

from packaging.version import InvalidVersion, Version

from aegis.core import codec
from aegis.registry.ports import PackageFile

API_VERSION: Final = "1.1"
JSON_TYPE: Final = "application/vnd.pypi.simple.v1+json"
HTML_TYPE: Final = "application/vnd.pypi.simple.v1+html"
LEGACY_TYPE: Final = "text/html"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageBody:
    """A page of the simple API in the form that was asked for."""

    content_type: str
    body: bytes


def project_list(names: Sequence[str], accept: str) -> PageBody:
    """The page of all projects, in the form that `accept` (an HTTP Accept header) prefers."""
    kind = negotiate(accept)
    if kind == JSON_TYPE:
        data = {"meta": {"api-version": API_VERSION}, "projects": [{"name": one} for one in names]}
        return PageBody(content_type=kind, body=codec.encode(data))
    return PageBody(
        content_type=kind, body=_html("Simple index", [f'<a href="{name}/">{name}</a><br/>' for name in names])
    )


def project_page(name: str, files: Sequence[PackageFile], accept: str) -> PageBody:
    """The page of one project."""
    kind = negotiate(accept)
    if kind == JSON_TYPE:
        data = {
            "meta": {"api-version": API_VERSION},
            "name": name,
            "versions": _versions(one.version for one in files),
            "files": [_json_file(one) for one in files],
        }
        return PageBody(content_type=kind, body=codec.encode(data))
    return PageBody(content_type=kind, body=_html(f"Links for {name}", [_html_file(one) for one in files]))


def _versions(versions: Iterable[str]) -> list[str]:
    def key(version: str) -> tuple[int, Any]:
        try:
            return 1, Version(version)
        except InvalidVersion:
            return 0, version  # a mirror may have some that are older than the rules

    return sorted(set(versions), key=key)


def negotiate(accept: str) -> str:
    """The content type of PEP 691 that an Accept header prefers; HTML where it says nothing or nothing that fits."""
    best, weight = LEGACY_TYPE, 0.0
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        kind = {
            "application/vnd.pypi.simple.latest+json": JSON_TYPE, "application/vnd.pypi.simple.latest+html": HTML_TYPE,
            "*/*": LEGACY_TYPE, "text/*": LEGACY_TYPE,
        }.get(kind.lower(), kind.lower())  # fmt: skip
        if kind not in (JSON_TYPE, HTML_TYPE, LEGACY_TYPE):
            continue
        quality = next((_quality(one) for one in parameters if one.startswith("q=")), 1.0)
        if quality > weight:
            best, weight = kind, quality
    return best


def _quality(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0


def _hash(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _address(file: PackageFile) -> str:
    return f"../../files/{quote(file.filename)}"


def _json_file(file: PackageFile) -> dict[str, Any]:
    core: bool | dict[str, str] = {"sha256": _hash(file.metadata_digest)} if file.metadata_digest else False
    return {
        "filename": file.filename,
        "url": _address(file),
        "hashes": {"sha256": _hash(file.digest)},
        "size": file.size,
        "upload-time": file.uploaded_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        **({"provenance": f"{_address(file)}.provenance"} if file.provenance_digest else {}),
        **({"requires-python": file.requires_python} if file.requires_python else {}),
        "core-metadata": core,
        "dist-info-metadata": core,
        "yanked": False if file.yanked is None else (file.yanked or True),
    }


def _html_file(file: PackageFile) -> str:
    facts = [f'href="{_address(file)}#sha256={_hash(file.digest)}"']
    if file.requires_python:
        facts.append(f'data-requires-python="{html.escape(file.requires_python)}"')
    if file.metadata_digest:
        known = f"sha256={_hash(file.metadata_digest)}"
        facts += [f'data-core-metadata="{known}"', f'data-dist-info-metadata="{known}"']
    if file.provenance_digest:
        facts.append(f'data-provenance="{_address(file)}.provenance"')
    if file.yanked is not None:
        facts.append(f'data-yanked="{html.escape(file.yanked)}"')
    return f"<a {' '.join(facts)}>{html.escape(file.filename)}</a><br/>"


def _html(title: str, lines: Sequence[str]) -> bytes:
    head = (
        f'<!DOCTYPE html>\n<html><head><meta name="pypi:repository-version" content="{API_VERSION}"/>'
        f"<title>{html.escape(title)}</title></head><body>\n"
    )
    return (head + "\n".join(lines) + "\n</body></html>\n").encode()
