"""Projects of another package index, fetched when they are first asked for: pull-through, after PEP 503 and 691.

Pages are kept with their ETag and asked for anew when they are no longer fresh; when the source has vanished the kept
page answers. A file is fetched once, held against the SHA-256 that the page named, and kept as any other blob: what the
source cannot name by SHA-256 is left out. A declared login is sent to the source itself, for pages and for files of the same origin,
and to nobody whom it points to. Which projects may be asked for at all is `registry.pypi`'s decision.
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

from aegis.core.errors import Conflict, ExternalError, NotFound, UserError
from aegis.core.ids import is_digest
from aegis.core.ports import Blobs, Clock, Egress
from aegis.registry.distribution import file_name_facts
from aegis.registry.options import IndexRule
from aegis.registry.ports import IndexStore, KeptPage, PackageFile, Turns
from aegis.registry.simple import JSON_TYPE, LEGACY_TYPE

_ACCEPT: Final = f"{JSON_TYPE}, {LEGACY_TYPE};q=0.1"
_PAGE_SECONDS: Final = 20.0
_FILE_SECONDS: Final = 1800.0
_FILE_LIMIT: Final = 8 * 1024**3
_METADATA_LIMIT: Final = 4 * 1024 * 1024
_PARSED: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class MirroredFile(PackageFile):
    """A file of a mirrored project; `provenance_digest` holds the address of its provenance, where it has one."""

    url: str
    source: IndexRule = field(default_factory=IndexRule)


class PackageMirror:
    """Fetches from the sources of mirrors. Safe from any thread; a file is fetched by one of them at a time."""

    def __init__(
        self, *, egress: Callable[[], Egress], store: IndexStore, blobs: Blobs, clock: Clock, turns: Turns,
        credential: Callable[[str], str] = str,
    ) -> None:  # fmt: skip
        self._credential = credential
        self._egress = egress
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._parsed: OrderedDict[tuple[object, ...], tuple[MirroredFile, ...]] = OrderedDict()
        self._turns = turns

    def files(self, index: str, rule: IndexRule, project: str) -> tuple[MirroredFile, ...] | None:
        """The files of a project as its source lists them; None where it has no such project.

        `ExternalError` where the source cannot be asked and nothing was kept.
        """
        with self._turns((index, project)):
            page = self._store.page(index, project)
            if page is None or (self._clock.now() - page.fetched_at).total_seconds() > rule.fresh:
                page = self._asked(index, rule, project, page)
        if not page.media_type:
            return None
        return self._read(index, rule, project, page)

    def fetch(self, file: MirroredFile) -> None:
        """Have the file's bytes here. `ExternalError` where its source fails or sends something else."""
        with self._turns(file.digest):
            if self._blobs.size(file.digest) is not None:
                return
            self._keep(file.source, file.url, file.digest, _FILE_LIMIT)

    def metadata(self, file: MirroredFile) -> bytes:
        """The metadata file beside a wheel (PEP 658)."""
        if not file.metadata_digest:
            raise NotFound("file-unknown", f"{file.filename} has no metadata file")
        if self._blobs.size(file.metadata_digest) is None:
            self._keep(file.source, f"{file.url}.metadata", file.metadata_digest, _METADATA_LIMIT)
        return self._blobs.get(file.metadata_digest)

    def provenance(self, file: MirroredFile) -> bytes:
        """The provenance of a file as its source has it (PEP 740)."""
        if not file.provenance_digest:
            raise NotFound("file-unknown", f"{file.filename} has no provenance")
        answer = self._egress().request(
            "GET", file.provenance_digest, headers=self._login(file.source, file.provenance_digest), limit=_METADATA_LIMIT,
            timeout=_PAGE_SECONDS,
        )  # fmt: skip
        if answer.status != 200:
            raise _unreachable(file.provenance_digest, f"answered {answer.status}")
        return answer.body

    def _asked(self, index: str, rule: IndexRule, project: str, kept: KeptPage | None) -> KeptPage:
        headers = {"Accept": _ACCEPT} | ({"If-None-Match": kept.etag} if kept is not None and kept.etag else {})
        url = f"{rule.mirror.rstrip('/')}/{project}/"
        headers |= self._login(rule, url)
        try:
            answer = self._egress().request("GET", url, headers=headers, timeout=_PAGE_SECONDS)
        except ExternalError as error:
            if kept is not None:
                return kept
            raise _unreachable(url, error.message) from error
        if answer.status == 304 and kept is not None:
            page = KeptPage(
                etag=kept.etag, media_type=kept.media_type, body=kept.body, fetched_at=self._clock.now()
            )  # fmt: skip
        elif answer.status == 404:
            page = KeptPage(etag="", media_type="", body=b"", fetched_at=self._clock.now())
        elif answer.status == 200:
            kind = answer.headers.get("content-type", LEGACY_TYPE).partition(";")[0].strip()
            page = KeptPage(
                etag=answer.headers.get("etag", ""), media_type=kind, body=answer.body, fetched_at=self._clock.now()
            )  # fmt: skip
            read_page(page, url)  # a page that cannot be read does not replace one that could
        elif kept is not None:
            return kept
        else:
            raise _unreachable(url, f"answered {answer.status}")
        self._store.keep_page(index, project, page)
        return page

    def _read(self, index: str, rule: IndexRule, project: str, page: KeptPage) -> tuple[MirroredFile, ...]:
        key = (index, project, page.fetched_at, len(page.body), rule)
        found = self._parsed.get(key)
        if found is None:
            listed = read_page(page, f"{rule.mirror.rstrip('/')}/{project}/")
            found = tuple(replace(one, source=rule) for one in listed if one.project == project)
            with self._turns("parsed"):
                self._parsed[key] = found
                while len(self._parsed) > _PARSED:
                    self._parsed.popitem(last=False)
        return found

    def _login(self, rule: IndexRule, url: str) -> dict[str, str]:
        """The declared login, for addresses of the source's own origin only."""
        if not rule.password or urlsplit(url)[:2] != urlsplit(rule.mirror)[:2]:
            return {}
        known = base64.b64encode(f"{rule.user}:{self._credential(rule.password)}".encode()).decode()
        return {"Authorization": f"Basic {known}"}

    def _keep(self, rule: IndexRule, url: str, digest: str, limit: int) -> None:
        try:
            with self._egress().stream(
                "GET", url, headers=self._login(rule, url), limit=limit, timeout=_FILE_SECONDS
            ) as answer:  # fmt: skip
                if answer.status != 200:
                    raise _unreachable(url, f"answered {answer.status}")
                self._blobs.put_stream(answer.pieces, expected=digest)
        except Conflict as error:
            raise ExternalError("mirror-digest", f"{url} sent something else: {error.message}") from error


def read_page(page: KeptPage, address: str) -> tuple[MirroredFile, ...]:
    """The files of a page in either form; what has no SHA-256 or no proper name is left out."""
    if page.media_type == JSON_TYPE:
        try:
            entries = json.loads(page.body)["files"]
            found = [_from_json(one, address) for one in entries]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unreachable(address, f"sent a page that cannot be read: {error}") from error
    else:
        parser = _Links()
        parser.feed(page.body.decode("utf-8", "replace"))
        found = [_from_link(one, address) for one in parser.links]
    return tuple(one for one in found if one is not None)


def _from_json(one: Mapping[str, Any], address: str) -> MirroredFile | None:
    core = one.get("core-metadata") or one.get("dist-info-metadata") or {}
    return _mirrored(
        filename=str(one["filename"]), url=urljoin(address, str(one["url"])),
        sha256=str(one.get("hashes", {}).get("sha256", "")), size=int(one.get("size") or 0),
        metadata=core.get("sha256", "") if isinstance(core, dict) else "",
        requires_python=str(one.get("requires-python") or ""), yanked=_yanked(one.get("yanked")),
        at=_moment(one.get("upload-time")), provenance=urljoin(address, one.get("provenance") or "") if one.get("provenance") else "",
    )  # fmt: skip


def _from_link(one: Mapping[str, str | None], address: str) -> MirroredFile | None:
    url = urljoin(address, one.get("href") or "")
    clean, _, fragment = url.partition("#")
    metadata = one.get("data-core-metadata") or one.get("data-dist-info-metadata") or ""
    provenance = one.get("data-provenance") or ""
    return _mirrored(
        filename=unquote(urlsplit(clean).path.rpartition("/")[2]), url=clean,
        sha256=fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else "", size=0,
        metadata=metadata.removeprefix("sha256=") if metadata.startswith("sha256=") else "",
        requires_python=one.get("data-requires-python") or "",
        yanked=(one["data-yanked"] or "") if "data-yanked" in one else None, at=_EPOCH,
        provenance=urljoin(address, provenance) if provenance else "",
    )  # fmt: skip


def _mirrored(
    *, filename: str, url: str, sha256: str, size: int, metadata: str, requires_python: str, yanked: str | None,
    at: datetime, provenance: str,
) -> MirroredFile | None:  # fmt: skip
    if not is_digest(f"sha256:{sha256}"):
        return None
    try:
        project, version, is_wheel = file_name_facts(filename)
    except UserError:
        return None  # eggs, installers, and names older than the rules
    known = is_wheel and is_digest(f"sha256:{metadata}")
    return MirroredFile(
        project=project, version=version, filename=filename, digest=f"sha256:{sha256}", size=size, url=url,
        metadata_digest=f"sha256:{metadata}" if known else "", requires_python=requires_python, uploaded_at=at,
        uploaded_by="mirror", yanked=yanked, provenance_digest=provenance,
    )  # fmt: skip


def _yanked(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return "" if value else None


def _moment(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except ValueError:
        return _EPOCH


class _Links(HTMLParser):
    """The attributes of every link."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[Mapping[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect links."""
        if tag == "a":
            self.links.append(dict(attrs))


def _unreachable(url: str, why: str) -> ExternalError:
    host = urlsplit(url).hostname or url
    return ExternalError(
        "mirror-unreachable", f"{host}, which this index mirrors, cannot be used: {why}",
        hint="what was fetched before can still be had; try again, or look at the mirror's declaration", retryable=True,
    )  # fmt: skip
