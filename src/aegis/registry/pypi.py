"""The rules of package indexes: simple pages, uploads, yanking, and the release from one index to another.

Follows PEP 503 (names, pages), 592 (yank), 629 and 700 (versioned API, version 1.1), 658 and 714 (metadata files),
691 (JSON, content negotiation) and the legacy upload protocol of the packaging user guide. A file name is given
once per index and forever. Who may do what is `delivery.doors`' question.
"""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import IO, Any, Final, Literal, cast
from urllib.parse import quote

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from aegis.core.errors import Conflict, Denied, NotFound, UserError
from aegis.core.ports import Blobs, Clock
from aegis.registry.distribution import Content, read_distribution
from aegis.registry.ports import IndexStore, PackageFile

Action = Literal["read", "upload"]
BOTH: Final[frozenset[Action]] = frozenset({"read", "upload"})
API_VERSION: Final = "1.1"
JSON_TYPE: Final = "application/vnd.pypi.simple.v1+json"
HTML_TYPE: Final = "application/vnd.pypi.simple.v1+html"
LEGACY_TYPE: Final = "text/html"
_INDEX: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

OnFile = Callable[[str, PackageFile, str], None]
"""Called with index, file and actor after a file was added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageBody:
    """A page of the simple API in the form that was asked for."""

    content_type: str
    body: bytes


class PackageIndexes:
    """All indexes over one blob store. Safe from any thread as far as its ports are."""

    def __init__(
        self, *, blobs: Blobs, store: IndexStore, clock: Clock, on_file: OnFile | None = None
    ) -> None:  # fmt: skip
        self.blobs = blobs
        self.store = store
        self.clock = clock
        self.on_file = on_file

    def index(self, name: str, *, actor: str, actions: frozenset[Action] = BOTH) -> PackageIndex:
        """The handle that may do `actions` in one index as `actor`; `NotFound` for an impossible name."""
        if _INDEX.fullmatch(name) is None:
            raise NotFound("index-unknown", f"there is no index {name[:80]!r}")
        return PackageIndex(self, name, actor, actions)

    def release(self, source: str, target: str, filename: str, *, actor: str) -> PackageFile:
        """Let a file out of one index into another. Idempotent; `NotFound`, `Conflict` as `IndexStore.add`."""
        found = self.store.file(source, filename)
        if found is None:
            raise NotFound("file-unknown", f"{source} has no file {filename[:120]}")
        self.store.add(target, replace(found, uploaded_by=actor))
        return found


class PackageIndex:
    """One index for one actor. Errors: `Denied`, `NotFound`, `Conflict`, `UserError`."""

    def __init__(self, indexes: PackageIndexes, name: str, actor: str, actions: frozenset[Action]) -> None:
        self._blobs = indexes.blobs
        self._store = indexes.store
        self._clock = indexes.clock
        self._on_file = indexes.on_file
        self._actions = actions
        self.name = name
        self.actor = actor

    def project_list(self, accept: str) -> PageBody:
        """The page of all projects, in the form that `accept` (an HTTP Accept header) prefers."""
        self._may("read")
        names = self._store.projects(self.name)
        kind = negotiate(accept)
        if kind == JSON_TYPE:
            data = {"meta": {"api-version": API_VERSION}, "projects": [{"name": one} for one in names]}
            return PageBody(content_type=kind, body=json.dumps(data).encode())
        links = [f'<a href="{name}/">{name}</a><br/>' for name in names]
        return PageBody(content_type=kind, body=_html("Simple index", links))

    def project_page(self, project: str, accept: str) -> PageBody:
        """The page of one project; `NotFound` where the index has no file of it."""
        self._may("read")
        name = canonicalize_name(project)
        files = self._store.files(self.name, name)
        if not files:
            raise NotFound("project-unknown", f"{self.name} has no project {name[:80]}")
        kind = negotiate(accept)
        if kind == JSON_TYPE:
            data = {
                "meta": {"api-version": API_VERSION},
                "name": name,
                "versions": sorted({one.version for one in files}, key=Version),
                "files": [_json_file(one) for one in files],
            }
            return PageBody(content_type=kind, body=json.dumps(data).encode())
        return PageBody(content_type=kind, body=_html(f"Links for {name}", [_html_file(one) for one in files]))

    def file(self, filename: str) -> PackageFile:
        """What is known of a file; `NotFound`."""
        self._may("read")
        found = self._store.file(self.name, filename)
        if found is None:
            raise NotFound("file-unknown", f"{self.name} has no file {filename[:120]}")
        return found

    def read(self, filename: str, *, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """A file's bytes, or a part of them, in chunks."""
        return self._blobs.open(self.file(filename).digest, offset=offset, length=length)

    def metadata(self, filename: str) -> bytes:
        """The core metadata of a wheel (PEP 658); `NotFound` for anything else."""
        found = self.file(filename)
        if not found.metadata_digest:
            raise NotFound("file-unknown", f"{filename} has no metadata file")
        return self._blobs.get(found.metadata_digest)

    def upload(self, form: Mapping[str, str], filename: str, content: IO[bytes]) -> PackageFile:
        """Take an upload of the legacy protocol: the form's fields, the file's name and its content.

        The same file again succeeds; another file of the same name is a `Conflict`.
        """
        self._may("upload")
        if form.get(":action", "file_upload") != "file_upload" or form.get("protocol_version", "1") != "1":
            raise UserError("upload-form", "only `file_upload` of protocol version 1 is understood")
        claimed = form.get("sha256_digest", "").strip().lower()
        if claimed and _SHA256.fullmatch(claimed) is None:
            raise UserError("upload-digest", "the form's sha256_digest is not a SHA-256 digest")
        present = self._store.file(self.name, filename)
        try:
            digest, size = self._blobs.put_stream(content, expected=f"sha256:{claimed}" if claimed else None)
        except Conflict as error:
            raise UserError("upload-digest", error.message, hint="upload it again") from error
        if present is not None and present.digest != digest:
            raise _exists(self.name, filename)
        facts = read_distribution(filename, cast("IO[bytes]", io.BufferedReader(self._content(digest, size))))
        _compare(form, facts.project, facts.version)
        file = PackageFile(
            project=facts.project, version=facts.version, filename=filename, digest=digest, size=size,
            metadata_digest=self._blobs.put(facts.metadata) if facts.is_wheel else "",
            requires_python=facts.requires_python, uploaded_at=self._clock.now(), uploaded_by=self.actor,
        )  # fmt: skip
        try:
            self._store.add(self.name, file)
        except Conflict as error:
            raise _exists(self.name, filename) from error
        if self._on_file is not None:
            self._on_file(self.name, file, self.actor)
        return file

    def yank(self, filename: str, reason: str | None) -> None:
        """Yank a file with a reason (perhaps empty), or take that back with None."""
        self._may("upload")
        if not self._store.yank(self.name, filename, reason):
            raise NotFound("file-unknown", f"{self.name} has no file {filename[:120]}")

    def _content(self, digest: str, size: int) -> Content:
        return Content(lambda offset, length: self._blobs.open(digest, offset=offset, length=length), size)

    def _may(self, action: Action) -> None:
        if action not in self._actions:
            raise Denied("index-denied", f"{self.actor} may not {action} in the index {self.name}")


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


def _compare(form: Mapping[str, str], project: str, version: str) -> None:
    name = form.get("name", project)
    if canonicalize_name(name) != project:
        raise UserError("upload-form", f"the form says {name[:80]!r}, the file is {project}")
    said = form.get("version", version)
    try:
        same = str(Version(said)) == version
    except InvalidVersion:
        same = False
    if not same:
        raise UserError("upload-form", f"the form says version {said[:80]!r}, the file is {version}")


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
    if file.yanked is not None:
        facts.append(f'data-yanked="{html.escape(file.yanked)}"')
    return f"<a {' '.join(facts)}>{html.escape(file.filename)}</a><br/>"


def _html(title: str, lines: Sequence[str]) -> bytes:
    head = (
        f'<!DOCTYPE html>\n<html><head><meta name="pypi:repository-version" content="{API_VERSION}"/>'
        f"<title>{html.escape(title)}</title></head><body>\n"
    )
    return (head + "\n".join(lines) + "\n</body></html>\n").encode()


def _exists(index: str, filename: str) -> Conflict:
    return Conflict(
        "file-exists",
        f"{index} has had another file named {filename}; a name is given once",
        hint="raise the version and upload that",
    )
