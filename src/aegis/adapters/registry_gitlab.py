"""`HostedRegistry` over GitLab's REST interface, through `Egress`.

Tags are deleted one by one: deletion in bulk decides for itself (never `latest`, dates of its own), runs some time later and at
most once an hour. GitLab knows no condition on a deletion; who asks looks at the tag just before. A listing that does not
end is an error, since what is newest must be known before anything goes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from aegis.core.errors import Denied, ExternalError
from aegis.core.ids import is_digest
from aegis.core.ports import Egress, Response
from aegis.registry.hosted import HostedPackage, HostedTag

_LIMIT: Final = 16 * 1024 * 1024
_SECONDS: Final = 30.0
_PAGE: Final = 100
_PAGES: Final = 200
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class GitLabRegistry:
    """The registries of one project of an instance. `token` needs the scope `api` and the role Maintainer."""

    def __init__(self, egress: Egress, address: str, project: str, token: str) -> None:
        self._egress = egress
        self._host = urlsplit(address).netloc
        self._base = f"{address.rstrip('/')}/api/v4/projects/{quote(project, safe='')}"
        self._headers = {"PRIVATE-TOKEN": token}

    def tags(self, wanted: Callable[[str], bool]) -> tuple[HostedTag, ...]:
        """See `HostedRegistry`."""
        found: list[HostedTag] = []
        for repository in self._pages("registry/repositories"):
            place, path = int(repository["id"]), str(repository["path"])
            if wanted(path):
                names = [str(one["name"]) for one in self._pages(f"registry/repositories/{place}/tags")]
                found += [one for one in (self._tag(place, path, name) for name in names) if one is not None]
        return tuple(found)

    def digest(self, tag: HostedTag) -> str:
        """See `HostedRegistry`."""
        now = self._tag(tag.place, tag.repository, tag.name)
        return now.digest if now is not None else ""

    def packages(self) -> tuple[HostedPackage, ...]:
        """See `HostedRegistry`."""
        return tuple(
            HostedPackage(
                number=int(one["id"]), kind=str(one["package_type"]), name=str(one["name"]),
                version=str(one.get("version") or ""), created_at=_date(one.get("created_at")),
            )
            for one in self._pages("packages")
            if one.get("status", "default") == "default"
        )  # fmt: skip

    def contents(self, package: int) -> frozenset[str]:
        """See `HostedRegistry`."""
        files = self._pages(f"packages/{package}/package_files")
        return frozenset(f"sha256:{one['file_sha256']}" for one in files if one.get("file_sha256"))

    def untag(self, tag: HostedTag) -> None:
        """See `HostedRegistry`."""
        self._delete(f"registry/repositories/{tag.place}/tags/{_checked(tag.name)}")

    def remove(self, package: int) -> None:
        """See `HostedRegistry`."""
        self._delete(f"packages/{package}")

    def _tag(self, place: int, path: str, name: str) -> HostedTag | None:
        answer = self._asked("GET", f"registry/repositories/{place}/tags/{_checked(name)}")
        if answer.status == 404:
            return None  # it went while the list was read
        about = self._read(answer)
        digest = about.get("digest") if isinstance(about, dict) else None
        if not isinstance(digest, str) or not is_digest(digest):
            raise self._failed(f"told no digest of {path}:{name}")
        return HostedTag(
            place=place, repository=path, name=name, digest=digest, created_at=_date(about.get("created_at"))
        )

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        for page in range(1, _PAGES + 1):
            part = self._read(self._asked("GET", f"{path}?per_page={_PAGE}&page={page}"))
            if not isinstance(part, list) or not all(isinstance(one, dict) for one in part):
                raise self._failed("did not answer with a list")
            yield from part
            if len(part) < _PAGE:
                return
        raise self._failed(f"listed more than {_PAGES * _PAGE} entries of {path}")

    def _delete(self, path: str) -> None:
        answer = self._asked("DELETE", path)
        if answer.status in {401, 403}:
            raise Denied("gitlab-refused", f"{self._host} does not let it be deleted (answered {answer.status})")
        if answer.status not in {200, 202, 204, 404}:
            raise self._failed(f"answered {answer.status}")

    def _asked(self, method: str, path: str) -> Response:
        url = f"{self._base}/{path}"
        return self._egress.request(method, url, headers=self._headers, limit=_LIMIT, timeout=_SECONDS)

    def _read(self, answer: Response) -> Any:
        if answer.status in {401, 403, 404}:
            raise ExternalError(
                "gitlab-registry", f"{self._host} does not show the project's registry (answered {answer.status})",
                hint="the token needs the scope `api` and the role Maintainer in the project",
            )  # fmt: skip
        if answer.status != 200:
            raise self._failed(f"answered {answer.status}")
        try:
            return json.loads(answer.body)
        except ValueError as error:
            raise self._failed("did not answer with JSON") from error

    def _failed(self, why: str) -> ExternalError:
        return ExternalError("gitlab-registry", f"{self._host} {why}", hint="nothing more was deleted", retryable=True)


def _checked(name: str) -> str:
    """A tag's name, which must not lead elsewhere in an address."""
    if not _NAME.fullmatch(name):
        raise ExternalError("gitlab-registry", f"{name[:80]!r} is no name of a tag; nothing more was deleted")
    return name


def _date(told: object) -> datetime | None:
    """A moment, or None for what is none."""
    try:
        found = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    return found if found.tzinfo is not None and found.year > 1970 else None
