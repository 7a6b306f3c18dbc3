"""Repositories of another registry, fetched when they are first asked for: pull-through, after OCI distribution 1.1.

`mirror/<name>/<repository>` is `<repository>` of the registry that the declaration calls `<name>`. Tags are asked for anew
when they are no longer fresh; when the source has vanished what was fetched answers. Everything is held against its
digest before anybody sees it. Tokens that a source gives to everybody are fetched; where it wants a login, the declared one is
sent to the source itself and to the place that its challenge names, and nowhere else. Referrers are those that the source lists, by its
API or, where it has none, under the tag `sha256-<hex>`; they are fetched with the first question for them.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode, urljoin, urlsplit

from aegis.core.errors import Conflict, ExternalError, NotFound, UserError
from aegis.core.ids import is_digest, sha256
from aegis.core.ports import Blobs, Clock, Egress, Response
from aegis.registry.manifest import DOCKER_IMAGE, DOCKER_LIST, IMAGE, INDEX, LIMIT, read_manifest
from aegis.registry.options import ImageMirrorRule
from aegis.registry.ports import ImageStore, ManifestRecord, Turns

PREFIX: Final = "mirror/"
_ACCEPT: Final = f"{IMAGE}, {INDEX}, {DOCKER_IMAGE}, {DOCKER_LIST}"
_SECONDS: Final = 30.0
_BLOB_SECONDS: Final = 3600.0
_BLOB_LIMIT: Final = 64 * 1024**3
_LOGIN_SECONDS: Final = 300.0
"""How long a declared login is sent without being asked for: it may be changed meanwhile."""
_REFERRERS: Final = 200
_PAGES: Final = 20
_NO_API: Final = frozenset({400, 404, 405, 501})
_NEXT: Final = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class _Source:
    rule: ImageMirrorRule
    repository: str

    def url(self, path: str) -> str:
        return f"{self.rule.url.rstrip('/')}/v2/{self.repository}/{path}"


class ImageMirror:
    """Brings manifests and blobs here. Safe from any thread; each is brought by one of them at a time."""

    def __init__(
        self,
        *,
        egress: Callable[[], Egress],
        images: ImageStore,
        blobs: Blobs,
        clock: Clock,
        rules: Callable[[], Mapping[str, ImageMirrorRule]],
        turns: Turns,
        credential: Callable[[str], str] = str,
    ) -> None:
        self._credential = credential
        self._egress = egress
        self._images = images
        self._blobs = blobs
        self._clock = clock
        self._rules = rules
        self._asked: dict[tuple[str, str], float] = {}
        self._tokens: dict[str, tuple[str, float]] = {}
        self._turns = turns

    def bring_manifest(self, repository: str, reference: str) -> None:
        """Have a manifest here, by tag or digest, as far as the source has it.

        `NotFound` for a mirror that is not declared; `ExternalError` where the source fails and nothing was kept.
        """
        source = self._source(repository)
        with self._turns((repository, reference)):
            kept = reference if is_digest(reference) else self._images.tagged(repository, reference)
            if kept is not None and self._images.manifest(repository, kept) is not None:
                if kept == reference or self._is_fresh(repository, reference, source.rule):
                    return
                try:
                    self._refresh(source, repository, reference, kept)
                except (ExternalError, NotFound):
                    return  # what was fetched outlives its source
                return
            with _said(source):
                self._fetch(source, repository, reference)

    def bring_blob(self, repository: str, digest: str) -> None:
        """Have a blob here; `NotFound` where the source lacks it."""
        source = self._source(repository)
        if self._images.blob_size(repository, digest) is not None and self._blobs.size(digest) is not None:
            return
        with self._turns(digest):
            size = self._blobs.size(digest)
            if size is None:
                with _said(source):
                    size = self._stream(source, digest)
            self._images.link_blob(repository, digest, size)

    def bring_referrers(self, repository: str, subject: str) -> None:
        """Have here what refers to a manifest; at most 200 manifests. What was fetched answers when the source has vanished.

        `ExternalError` where the source fails and nothing was kept: what cannot be asked is not said to be unsigned.
        """
        source, asked = self._source(repository), (repository, f"referrers:{subject}")
        with self._turns((repository, "referrers", subject)):
            if self._is_fresh(*asked, source.rule):
                return
            try:
                with _said(source):
                    for digest in self._listed(source, subject)[:_REFERRERS]:
                        if self._images.manifest(repository, digest) is None:
                            self._fetch(source, repository, digest)
            except ExternalError:
                if self._images.referrers(repository, subject):
                    return
                raise
            self._asked[asked] = self._clock.monotonic()

    def _listed(self, source: _Source, subject: str) -> list[str]:
        """The digests that the source's index of referrers names."""
        found: list[str] = []
        path = f"referrers/{subject}"
        for _ in range(_PAGES):
            answer = self._ask("GET", source, path, {"Accept": INDEX})
            if answer.status in _NO_API and not found:
                return self._listed_by_tag(source, subject)
            if answer.status != 200:
                raise _unreachable(source, f"answered {answer.status}")
            found += _digests(source, answer.body)
            further = _NEXT.search(answer.headers.get("link", ""))
            place = urljoin(source.url(path), further[1]) if further else ""
            if not place.startswith(source.url("referrers/")):
                break
            path = place.removeprefix(source.url(""))
        return found

    def _listed_by_tag(self, source: _Source, subject: str) -> list[str]:
        answer = self._ask("GET", source, f"manifests/{subject.replace(':', '-', 1)}", {"Accept": INDEX})
        if answer.status == 404:
            return []
        if answer.status != 200:
            raise _unreachable(source, f"answered {answer.status}")
        return _digests(source, answer.body)

    def _source(self, repository: str) -> _Source:
        name, _, rest = repository.removeprefix(PREFIX).partition("/")
        rule = self._rules().get(name)
        if rule is None or not rest:
            raise NotFound(
                "oci-name-unknown", f"there is no mirror {name[:80]!r}", hint="declare it: registries.mirrors"
            )
        return _Source(rule, rest)

    def _is_fresh(self, repository: str, tag: str, rule: ImageMirrorRule) -> bool:
        asked = self._asked.get((repository, tag))
        return asked is not None and self._clock.monotonic() - asked < rule.fresh

    def _refresh(self, source: _Source, repository: str, tag: str, kept: str) -> None:
        answer = self._ask("HEAD", source, f"manifests/{quote(tag)}", {"Accept": _ACCEPT})
        if answer.status == 200 and answer.headers.get("docker-content-digest") == kept:
            self._asked[repository, tag] = self._clock.monotonic()
            return
        self._fetch(source, repository, tag)

    def _fetch(self, source: _Source, repository: str, reference: str) -> None:
        answer = self._ask("GET", source, f"manifests/{quote(reference, safe=':')}", {"Accept": _ACCEPT})
        if answer.status == 404:
            raise NotFound("oci-manifest-unknown", f"{source.rule.url} has no {source.repository}:{reference[:80]}")
        if answer.status != 200:
            raise _unreachable(source, f"answered {answer.status}")
        digest = reference if is_digest(reference) else sha256(answer.body)
        try:
            facts = read_manifest(answer.body, answer.headers.get("content-type", ""))
            self._blobs.put_stream([answer.body], expected=digest)
        except (UserError, Conflict) as error:
            raise _unreachable(source, f"sent something else: {error.message}") from error
        record = ManifestRecord(
            digest=digest, media_type=facts.media_type, size=len(answer.body), subject=facts.subject,
            artifact_type=facts.artifact_type, annotations=facts.annotations, references=facts.references,
        )  # fmt: skip
        tag = None if is_digest(reference) else reference
        self._images.put_manifest(repository, record, tag=tag)
        if tag is not None:
            self._asked[repository, tag] = self._clock.monotonic()

    def _stream(self, source: _Source, digest: str) -> int:
        url, headers = source.url(f"blobs/{digest}"), dict(self._authorization(source))
        for attempt in (1, 2):
            with self._egress().stream(
                "GET", url, headers=headers, limit=_BLOB_LIMIT, timeout=_BLOB_SECONDS
            ) as answer:  # fmt: skip
                if answer.status == 200:
                    return self._kept(source, digest, answer.pieces)
                challenge = answer.headers.get("www-authenticate", "")
            if answer.status == 404:
                raise NotFound("oci-blob-unknown", f"{source.rule.url} has no {digest}")
            if answer.status != 401 or attempt == 2 or not self._log_in(source, challenge):
                break
            headers = dict(self._authorization(source))
        raise _unreachable(source, f"answered {answer.status}")

    def _kept(self, source: _Source, digest: str, pieces: Iterable[bytes]) -> int:
        try:
            return self._blobs.put_stream(pieces, expected=digest)[1]
        except Conflict as error:
            raise _unreachable(source, f"sent something else: {error.message}") from error

    def _ask(self, method: str, source: _Source, path: str, headers: Mapping[str, str]) -> Response:
        for attempt in (1, 2):
            sent = {**headers, **self._authorization(source)}
            answer = self._egress().request(method, source.url(path), headers=sent, limit=LIMIT, timeout=_SECONDS)
            challenge = answer.headers.get("www-authenticate", "")
            if answer.status != 401 or attempt == 2 or not self._log_in(source, challenge):
                return answer
        raise AssertionError  # the second attempt answers

    def _authorization(self, source: _Source) -> Mapping[str, str]:
        value, ends = self._tokens.get(source.url(""), ("", 0.0))
        return {"Authorization": value} if value and ends > self._clock.monotonic() else {}

    def _log_in(self, source: _Source, challenge: str) -> bool:
        """Have what the source asks for: the declared login, or a token that it gives for it or to everybody."""
        kind, _, rest = challenge.partition(" ")
        login = self._login(source.rule)
        if kind.lower() == "basic" and login:
            self._tokens[source.url("")] = (login["Authorization"], self._clock.monotonic() + _LOGIN_SECONDS)
            return True
        wanted = dict(_PARAMETER.findall(rest))
        realm = urljoin(source.rule.url, wanted.get("realm", ""))
        if kind.lower() != "bearer" or (urlsplit(realm).scheme != "https" and not _same_origin(realm, source.rule.url)):
            return False
        query = {"service": wanted.get("service", ""), "scope": f"repository:{source.repository}:pull"}
        answer = self._egress().request(
            "GET", f"{realm}?{urlencode(query)}", headers=login, limit=LIMIT, timeout=_SECONDS
        )
        try:
            given = json.loads(answer.body)
            token, seconds = given.get("token") or given["access_token"], float(given.get("expires_in", 60))
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        self._tokens[source.url("")] = (f"Bearer {token}", self._clock.monotonic() + max(10.0, seconds - 10))
        return True

    def _login(self, rule: ImageMirrorRule) -> Mapping[str, str]:
        if not rule.password:
            return {}
        known = base64.b64encode(f"{rule.user}:{self._credential(rule.password)}".encode()).decode()
        return {"Authorization": f"Basic {known}"}


def _digests(source: _Source, index: bytes) -> list[str]:
    try:
        found = [str(one["digest"]) for one in json.loads(index)["manifests"]]
    except (ValueError, KeyError, TypeError) as error:
        raise _unreachable(source, f"sent an index of referrers that cannot be read: {error}") from error
    return [one for one in found if is_digest(one)]


def _same_origin(one: str, other: str) -> bool:
    return urlsplit(one)[:2] == urlsplit(other)[:2]


@contextmanager
def _said(source: _Source) -> Iterator[None]:
    """What goes wrong on the way is said as the mirror's trouble."""
    try:
        yield
    except ExternalError as error:
        if error.code.startswith("egress-"):
            raise _unreachable(source, error.message) from error
        raise


def _unreachable(source: _Source, why: str) -> ExternalError:
    host = urlsplit(source.rule.url).hostname or source.rule.url
    return ExternalError(
        "mirror-unreachable", f"{host}, which is mirrored here, cannot be used for {source.repository}: {why}",
        hint="what was fetched before can still be had; try again, or look at the mirror's declaration", retryable=True,
    )  # fmt: skip
