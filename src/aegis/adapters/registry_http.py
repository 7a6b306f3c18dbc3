"""Any OCI registry over HTTP: pulls images as bases, pushes layouts, skips what the registry has.

Logs in with Basic, or with the Bearer token that the registry's challenge points to (the distribution
specification's token flow). Plain HTTP is spoken only to loopback addresses, or where the caller says so.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import urljoin

import httpx

from aegis.adapters.layout_directory import OciLayout
from aegis.build.base import manifest_digests
from aegis.build.ports import RawManifest
from aegis.core.errors import Conflict, Denied, ExternalError, NotFound, UserError
from aegis.core.ids import is_digest, sha256

_CHUNK: Final = 1024 * 1024
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


class RegistryClient:
    """One repository of one registry. For one thread; close it, or use it in a `with` block."""

    def __init__(
        self, host: str, repository: str, *, user: str = "", password: str = "", plain: bool | None = None,
        timeout: float = 60.0,
    ) -> None:  # fmt: skip
        scheme = "http" if (_is_loopback(host) if plain is None else plain) else "https"
        self._base = f"{scheme}://{host}"
        self._repository = repository
        self._basic = httpx.BasicAuth(user or "token", password) if password else None
        self._bearer = ""
        self._client = httpx.Client(timeout=timeout, follow_redirects=True, trust_env=not _is_loopback(host))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    # -- reading ------------------------------------------------------------------------------------------

    def manifest(self, reference: str) -> RawManifest:
        """By tag or digest; verified when by digest. `NotFound`."""
        answer = self._ask("GET", f"/manifests/{reference}", headers={"Accept": _ACCEPT})
        body = answer.content
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
        headers = {"Authorization": f"Bearer {self._bearer}"} if self._bearer else {}
        auth = None if self._bearer else self._basic
        try:
            with self._client.stream("GET", self._address(f"/blobs/{digest}"), headers=headers, auth=auth) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise self._refused(answer, "GET")
                yield from answer.iter_bytes(_CHUNK)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    # -- writing ------------------------------------------------------------------------------------------

    def push(self, layout: OciLayout, tags: tuple[str, ...] = ()) -> Pushed:
        """Push the layout's image under `tags` (none: by digest). Tags come last; repeating it is cheap."""
        names = layout.tags()
        manifest = layout.manifest(names[0] if names else "")
        sent, present = [], []
        for digest in dict.fromkeys(manifest_digests(manifest)):
            if self._has(digest):
                present.append(digest)
            else:
                self._push_blob(layout, digest)
                sent.append(digest)
        for reference in tags or (manifest.digest,):
            headers = {"Content-Type": manifest.media_type}
            self._ask("PUT", f"/manifests/{reference}", headers=headers, content=manifest.body)
        return Pushed(digest=manifest.digest, sent=tuple(sent), present=tuple(present), tags=tags)

    def _has(self, digest: str) -> bool:
        try:
            self._ask("HEAD", f"/blobs/{digest}")
        except NotFound:
            return False
        return True

    def _push_blob(self, layout: OciLayout, digest: str) -> None:
        started = self._ask("POST", "/blobs/uploads/")
        where = urljoin(str(started.request.url), started.headers["location"])
        where += f"{'&' if '?' in where else '?'}digest={digest}"
        path = layout.blob_path(digest)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size)}
        self._ask("PUT", where, headers=headers, content=lambda: layout.blob(digest))

    # -- inside -------------------------------------------------------------------------------------------

    def _address(self, path: str) -> str:
        return path if "://" in path else f"{self._base}/v2/{self._repository}{path}"

    def _ask(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, content: Any = None
    ) -> httpx.Response:
        for attempt in (1, 2):
            sent = dict(headers or {})
            address = self._address(path)
            ours = address.startswith(f"{self._base}/")  # an upload may go elsewhere: without our credentials
            if self._bearer and ours:
                sent["Authorization"] = f"Bearer {self._bearer}"
            body = content() if callable(content) else content
            auth = None if self._bearer or not ours else self._basic
            try:
                answer = self._client.request(method, address, headers=sent, content=body, auth=auth)
            except httpx.HTTPError as error:
                raise self._unreachable(error) from error
            if answer.status_code == 401 and attempt == 1 and self._log_in(answer.headers.get("www-authenticate", "")):
                continue
            if not answer.is_success:
                raise self._refused(answer, method)
            return answer
        raise AssertionError  # the second attempt answers or raises

    def _log_in(self, challenge: str) -> bool:
        kind, _, rest = challenge.partition(" ")
        if kind.lower() != "bearer":
            return False
        wanted = dict(_PARAMETER.findall(rest))
        if not wanted.get("realm", "").startswith(("https://", f"{self._base}/")):
            return False  # credentials are not sent in the clear to another place
        query = {key: wanted[key] for key in ("service", "scope") if key in wanted}
        try:
            answer = self._client.get(wanted["realm"], params=query, auth=self._basic)
            held = answer.json() if answer.is_success else {}
        except (httpx.HTTPError, ValueError) as error:
            raise self._unreachable(error) from error
        self._bearer = held.get("token") or held.get("access_token") or ""
        return bool(self._bearer)

    def _unreachable(self, error: Exception) -> ExternalError:
        hint = "is the registry up, and its address right?"
        return ExternalError("registry-unreachable", f"{self._base}: {error}", hint=hint, retryable=True)

    def _refused(self, answer: httpx.Response, method: str) -> Exception:
        said = answer.text[:500]
        try:
            said = "; ".join(str(one.get("message") or one.get("code")) for one in answer.json()["errors"])
        except (ValueError, KeyError, TypeError, AttributeError):
            said = said.strip() or answer.reason_phrase
        where = f"{self._base}/v2/{self._repository}"
        if answer.status_code in (401, 403):
            hint = "give a token that may do this: CI_REGISTRY_USER and CI_REGISTRY_PASSWORD, or CI_JOB_TOKEN in a job"
            return Denied("registry-denied", f"{where} refused {method}: {said}", hint=hint)
        if answer.status_code == 404:
            return NotFound("registry-missing", f"{where}: {said}")
        if answer.status_code == 409:
            return Conflict("registry-conflict", f"{where}: {said}")
        return ExternalError("registry-answer", f"{where} answered {answer.status_code} to {method}: {said}")


def _is_loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0].strip("[]") if host.count(":") == 1 or host.startswith("[") else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
