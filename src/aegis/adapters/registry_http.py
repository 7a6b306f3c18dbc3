"""Any OCI registry over HTTP: pulls images as bases, pushes layouts, skips what the registry has.

What a registry was given is believed to be there for some hours, so that a push asks for nothing that it knows. Where a
belief was wrong (the registry was cleaned), the manifest is refused: the push then looks at each blob and repeats itself.
Logs in with Basic, or with the Bearer token that the registry's challenge points to (the distribution
specification's token flow). Plain HTTP is spoken only to loopback addresses, or where the caller says so.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, Self, TypeVar
from urllib.parse import urlencode, urljoin

from aegis.adapters.layout_directory import OciLayout
from aegis.adapters.wire_http import Answer, Content, Wire
from aegis.build.base import index_digests, manifest_digests
from aegis.build.ports import RawManifest
from aegis.core.errors import AegisError, Conflict, Denied, ExternalError, NotFound, UserError
from aegis.core.ids import is_digest, sha256

_AT_ONCE: Final = 4 << 20
_CREATED: Final = 201
_LACKING: Final = frozenset({"registry-lacks-blobs", "registry-missing", "registry-answer"})
_Made = TypeVar("_Made")
_BUSY: Final = frozenset({429, 502, 503, 504})
"""Answers of a registry, or of what stands before it, that may be otherwise in a moment: a full disk, a restart."""
_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
_ACCEPT: Final = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json,"
    " application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
)
_MANIFEST_LIMIT: Final = 4 * 1024 * 1024
_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`host[:port]/repository[:tag][@digest]`, taken apart."""

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def wanted(self) -> str:
        """What is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag or "latest"


def read_reference(text: str) -> Reference:
    """The reference in `text`; `UserError` for a short name, since Aegis knows no registry of its own accord."""
    rest, _, digest = text.partition("@")
    host, slash, path = rest.partition("/")
    is_host = "." in host or ":" in host or host == "localhost"
    repository, _, tag = path.partition(":")
    if not slash or not is_host or not repository or (digest and not is_digest(digest)):
        hint = "write it with its registry: registry.example.org/team/image:tag"
        raise UserError("image-reference", f"{text!r} is not a full image reference", hint=hint)
    return Reference(host=host, repository=repository, tag=tag, digest=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a push did: digests sent and digests that were there, and the tags that were set."""

    digest: str
    sent: tuple[str, ...]
    present: tuple[str, ...]
    tags: tuple[str, ...]
    repaired: bool = False
    """Whether the registry lacked what it was believed to have."""


class Beliefs(Protocol):
    """Which blobs a repository of a registry is believed to hold. Losing it costs time only."""

    def known(self, place: str) -> frozenset[str]:
        """The digests believed to be at `place` (`host/repository`)."""
        ...

    def remember(self, place: str, digests: Iterable[str]) -> None:
        """These are there, as of now."""
        ...

    def forget(self, place: str) -> None:
        """Nothing is known of the place any more."""
        ...


class RegistryClient:
    """One repository of one registry. For one thread; close it, or use it in a `with` block."""

    def __init__(
        self, host: str, repository: str, *, user: str = "", password: str = "", plain: bool | None = None,
        timeout: float = 60.0, beliefs: Beliefs | None = None, pause: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        scheme = "http" if (is_loopback(host) if plain is None else plain) else "https"
        self._base = f"{scheme}://{host}"
        self._place = f"{host}/{repository}"
        self._repository = repository
        known = base64.b64encode(f"{user or 'token'}:{password}".encode()).decode()
        self._basic = f"Basic {known}" if password else ""
        self._bearer = ""
        self._beliefs = beliefs
        self._pause = pause
        self._wire = Wire(timeout=timeout, proxied=not is_loopback(host))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    # -- reading ------------------------------------------------------------------------------------------

    def manifest(self, reference: str) -> RawManifest:
        """By tag or digest; verified when by digest. `NotFound`."""
        answer = self._ask("GET", f"/manifests/{reference}", headers={"Accept": _ACCEPT})
        body = answer.body
        if len(body) > _MANIFEST_LIMIT:
            raise ExternalError("registry-answer", f"the manifest of {self._repository} is too large")
        digest = sha256(body)
        if is_digest(reference) and digest != reference:
            raise ExternalError("registry-answer", f"{self._base} answered {digest} when asked for {reference}")
        kind = answer.headers.get("content-type", "").split(";", maxsplit=1)[0]
        return RawManifest(digest=digest, media_type=kind, body=body)

    def blob(self, digest: str) -> Iterator[bytes]:
        """A blob in chunks; who keeps it verifies it."""
        self._ask("HEAD", f"/blobs/{digest}")  # settles the login before the body streams
        answer, chunks = self._reach(
            lambda: self._wire.stream(self._address(f"/blobs/{digest}"), headers=self._login())
        )
        if not answer.ok:
            raise self._refused(replace(answer, body=b"".join(chunks)), "GET")
        yield from chunks

    def tags(self) -> tuple[str, ...]:
        """The repository's tags; page by page."""
        found: list[str] = []
        path = "/tags/list"
        while path:
            answer = self._ask("GET", path)
            found += _object(answer.body).get("tags") or []
            following = re.match(r'<([^>]+)>;\s*rel="?next"?', answer.headers.get("link", ""))
            path = urljoin(answer.url, following[1]) if following else ""
        return tuple(found)

    # -- writing ------------------------------------------------------------------------------------------

    def push(self, layout: OciLayout, tags: tuple[str, ...] = ()) -> Pushed:
        """Push the layout's image under `tags` (none: by digest), with the base that is kept beside it by digest.

        Tags come last; repeating it is cheap. What the base's own repository here has is taken over from there.
        """
        names = layout.tags()
        manifest = layout.manifest(names[0] if names else "")
        base = layout.base(manifest)
        below = manifest_digests(base) if base is not None else ()
        digests = tuple(dict.fromkeys((*manifest_digests(manifest), *below)))
        believed = self._beliefs.known(self._place) if self._beliefs is not None else frozenset()
        origin = self._origin(manifest)
        elsewhere = dict.fromkeys(below, origin) if origin else {}
        sent = self._give(layout, [one for one in digests if one not in believed], elsewhere)
        first, *others = tags or (manifest.digest,)
        repaired = False
        try:
            if base is not None and base.digest not in believed:
                self._put_manifest(base, base.digest)
            self._put_manifest(manifest, first)
        except (NotFound, ExternalError) as error:
            if self._beliefs is None or not believed.intersection(digests) or error.code not in _LACKING:
                raise
            self._beliefs.forget(self._place)
            sent += self._give(layout, [one for one in digests if one in believed], elsewhere)
            if base is not None:
                self._put_manifest(base, base.digest)
            self._put_manifest(manifest, first)
            repaired = True
        for reference in others:
            self._put_manifest(manifest, reference)
        if self._beliefs is not None:
            self._beliefs.remember(self._place, (*digests, *((base.digest,) if base is not None else ())))
        present = tuple(one for one in digests if one not in sent)
        return Pushed(digest=manifest.digest, sent=tuple(sent), present=present, tags=tags, repaired=repaired)

    def put(self, blobs: Mapping[str, bytes], manifest: RawManifest, tag: str) -> None:
        """Push a small artifact of given blobs: a chart, a signature, a bill of materials."""
        for digest, data in blobs.items():
            if not self._has(digest):
                self._upload(digest, data, len(data))
        self._ask("PUT", f"/manifests/{tag}", headers={"Content-Type": manifest.media_type}, content=manifest.body)

    def copy(self, source: RegistryClient, reference: str, aside: OciLayout) -> Pushed:
        """Take an image over by digest, an index with all that is in it, by way of a layout. Repeating it is cheap."""
        raw = source.manifest(reference)
        origin = source._repository if source._base == self._base else ""
        sent: list[str] = []
        present: list[str] = []
        for one in (*(source.manifest(digest) for digest in index_digests(raw)), raw):
            blobs = dict.fromkeys(() if index_digests(one) else manifest_digests(one))
            given = self._give(aside, list(blobs), dict.fromkeys(blobs, origin) if origin else {}, source)
            sent += given
            present += [digest for digest in blobs if digest not in given]
            self._put_manifest(one, one.digest)
        return Pushed(digest=raw.digest, sent=tuple(sent), present=tuple(present), tags=())

    def _put_manifest(self, raw: RawManifest, reference: str) -> None:
        self._ask("PUT", f"/manifests/{reference}", headers={"Content-Type": raw.media_type}, content=raw.body)

    def _origin(self, manifest: RawManifest) -> str:
        """The repository of this registry that the image's base was pulled from; empty where it is none of it."""
        name = str(_object(manifest.body).get("annotations", {}).get("org.opencontainers.image.base.name", ""))
        host, _, rest = name.partition("@")[0].partition("/")
        return rest.partition(":")[0] if host == self._place.partition("/")[0] else ""

    def _give(
        self, layout: OciLayout, digests: list[str], elsewhere: Mapping[str, str], source: RegistryClient | None = None
    ) -> list[str]:
        """Upload those of the blobs that the registry lacks; those that were sent.

        `elsewhere` says in which of its other repositories it may have one. What the layout lacks is fetched from `source`.
        """
        sent = []
        for digest in digests:
            if self._has(digest):
                continue
            session = self._mount(digest, elsewhere[digest]) if digest in elsewhere else None
            if session is not None and session.status == _CREATED:
                continue
            if source is not None:
                layout.put_stream(digest, source.blob(digest))
            path = layout.blob_path(digest)
            if not path.is_file():
                raise NotFound("layout-blob", f"{layout.path} has no blob {digest}")
            size = path.stat().st_size
            self._upload(digest, path.read_bytes() if size <= _AT_ONCE else partial(_opened, path), size, session)
            sent.append(digest)
        return sent

    def _mount(self, digest: str, origin: str) -> Answer:
        """Take a blob over from another repository of the registry; where it is not there, an upload has begun."""
        path = f"/blobs/uploads/?mount={digest}&from={origin}"
        return self._ask("POST", path, headers={"Content-Length": "0"})

    def _has(self, digest: str) -> bool:
        try:
            self._ask("HEAD", f"/blobs/{digest}")
        except NotFound:
            return False
        return True

    def _upload(self, digest: str, content: Content, size: int, session: Answer | None = None) -> None:
        """Send a blob; from its beginning, in a new session, where the registry broke off for a moment."""
        sessions = iter((session,))
        self._patiently(lambda: self._upload_once(digest, content, size, next(sessions, None)))

    def _upload_once(self, digest: str, content: Content, size: int, session: Answer | None) -> None:
        """In one request where it is small and the registry takes that; else the session that the registry opens."""
        kind = {"Content-Type": "application/octet-stream"}
        if session is not None:
            started = session
        elif isinstance(content, bytes):
            started = self._ask_once("POST", f"/blobs/uploads/?digest={digest}", headers=kind, content=content)
            if started.status == _CREATED:
                return
        else:
            started = self._ask("POST", "/blobs/uploads/", headers={"Content-Length": "0"})
        where = urljoin(started.url, started.headers.get("location", ""))
        where += f"{'&' if '?' in where else '?'}digest={digest}"
        self._ask_once("PUT", where, headers=kind, content=content, size=size)

    # -- inside -------------------------------------------------------------------------------------------

    def _address(self, path: str) -> str:
        return path if "://" in path else f"{self._base}/v2/{self._repository}{path}"

    def _login(self) -> dict[str, str]:
        known = f"Bearer {self._bearer}" if self._bearer else self._basic
        return {"Authorization": known} if known else {}

    def _ask(self, method: str, path: str, *, headers: dict[str, str] | None = None, content: Content = None) -> Answer:
        return self._patiently(lambda: self._ask_once(method, path, headers=headers, content=content))

    def _patiently(self, act: Callable[[], _Made]) -> _Made:
        """Again after a while, where the registry says that it cannot do it at the moment."""
        for pause in _PAUSES:
            try:
                return act()
            except ExternalError as error:
                if error.code != "registry-busy":
                    raise
            self._pause(pause)
        return act()

    def _ask_once(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, content: Content = None, size: int = 0
    ) -> Answer:
        address = self._address(path)
        for attempt in (1, 2):
            ours = address.startswith(f"{self._base}/")  # an upload may go elsewhere: without our credentials
            sent = {**(headers or {}), **(self._login() if ours else {})}
            answer = self._reach(
                lambda sent=sent: self._wire.request(method, address, headers=sent, content=content, size=size)  # type: ignore[misc]
            )
            if answer.status == 401 and attempt == 1 and self._log_in(answer.headers.get("www-authenticate", "")):
                continue
            if not answer.ok:
                raise self._refused(answer, method)
            return answer
        raise AssertionError  # the second attempt answers or raises

    def _reach(self, act: Callable[[], _Made]) -> _Made:
        try:
            return act()
        except ExternalError as error:
            hint = "is the registry up, and its address right?"
            raise ExternalError("registry-unreachable", error.message, hint=hint, retryable=True) from error

    def _log_in(self, challenge: str) -> bool:
        kind, _, rest = challenge.partition(" ")
        if kind.lower() != "bearer":
            return False
        wanted = dict(_PARAMETER.findall(rest))
        realm = wanted.get("realm", "")
        if not realm.startswith(("https://", f"{self._base}/")):
            return False  # credentials are not sent in the clear to another place
        query = urlencode({key: wanted[key] for key in ("service", "scope") if key in wanted})
        address = f"{realm}{'&' if '?' in realm else '?'}{query}"
        headers = {"Authorization": self._basic} if self._basic else {}
        answer = self._reach(lambda: self._wire.request("GET", address, headers=headers))
        held = _object(answer.body) if answer.ok else {}
        self._bearer = str(held.get("token") or held.get("access_token") or "")
        return bool(self._bearer)

    def _refused(self, answer: Answer, method: str) -> AegisError:
        said, codes = answer.body[:500].decode("utf-8", "replace").strip(), set[str]()
        errors = _object(answer.body).get("errors")
        if isinstance(errors, list) and errors and all(isinstance(one, dict) for one in errors):
            said = "; ".join(str(one.get("message") or one.get("code")) for one in errors)
            codes = {str(one.get("code")) for one in errors}
        where = f"{self._base}/v2/{self._repository}"
        if codes & {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"} and method == "PUT":
            return ExternalError("registry-lacks-blobs", f"{where} lacks blobs of the manifest: {said}")
        if answer.status in (401, 403):
            hint = "give a token that may do this: CI_REGISTRY_USER and CI_REGISTRY_PASSWORD, or CI_JOB_TOKEN in a job"
            return Denied("registry-denied", f"{where} refused {method}: {said}", hint=hint)
        if answer.status == 404:
            return NotFound("registry-missing", f"{where}: {said}")
        if answer.status == 409:
            return Conflict("registry-conflict", f"{where}: {said}")
        if answer.status in _BUSY:
            told = f"{where} answered {answer.status} to {method}: {said}"
            return ExternalError("registry-busy", told, hint="try again in a while", retryable=True)
        return ExternalError("registry-answer", f"{where} answered {answer.status} to {method}: {said}")


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` is this machine."""
    name = host.rsplit(":", 1)[0].strip("[]") if host.count(":") == 1 or host.startswith("[") else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
