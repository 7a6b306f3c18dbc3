"""`Elsewhere` over a GitLab instance's REST interface, or one that speaks like it, through `Egress`.

A token is sent to the instance alone, as a header, never to the address of a remote include. Files of a commit and of its
digest never change, so they may be kept in a directory; answers of other addresses only for as long as the caller says.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from aegis.core.errors import Denied, ExternalError, NotFound
from aegis.core.ports import Egress, Response
from aegis.pipeline.ports import Files

_LIMIT: Final = 8 * 1024 * 1024
_LIST_LIMIT: Final = 32 * 1024 * 1024
_SECONDS: Final = 20.0
_PAGES: Final = 50
_FULL: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class GitLabElsewhere:
    """An instance. `token` is sent as `header`; `kept` is a directory for what need not be asked for twice.

    An answer may take `seconds`.
    """

    def __init__(
        self,
        egress: Egress,
        address: str,
        *,
        token: str = "",
        header: str = "PRIVATE-TOKEN",
        kept: Path | None = None,
        seconds: float = _SECONDS,
    ) -> None:
        self._seconds = seconds
        self._egress = egress
        self._address = address.rstrip("/")
        self._headers = {header: token} if token else {}
        self._kept = kept
        parts = urlsplit(self._address)
        self.host = parts.netloc.rpartition("@")[2]

    @property
    def _mend(self) -> str:
        return f"a private project needs a token: `aegis login --gitlab {self._address}`, or AEGIS_GITLAB_TOKEN"

    def user(self) -> tuple[str, str]:
        """The user name and the name of whom the token speaks for; `Denied` where it is not valid there."""
        answer = self._api("user", _LIMIT)
        if answer.status in {401, 403}:
            raise Denied(
                "token-refused", f"{self.host} does not know this token", hint="make one with the scope read_api there"
            )
        try:
            found = json.loads(answer.body) if answer.status == 200 else None
        except ValueError:
            found = None
        if not isinstance(found, dict) or "username" not in found:
            raise ExternalError("not-gitlab", f"{self.host} does not answer as GitLab does ({answer.status})")
        return str(found["username"]), str(found.get("name", found["username"]))

    def commit(self, project: str, ref: str) -> str:
        """See `Elsewhere`."""
        found = self._json(f"projects/{_one(project)}/repository/commits/{_one(ref)}", _LIMIT)
        commit = found.get("id") if isinstance(found, dict) else None
        if not isinstance(commit, str) or not _FULL.fullmatch(commit):
            raise NotFound("unknown-include", f"{project} has no `{ref}`, or it may not be read", hint=self._mend)
        return commit

    def files(self, project: str, commit: str) -> Files:
        """See `Elsewhere`."""
        return _CommitFiles(self, project, commit)

    def releases(self, project: str) -> tuple[str, ...]:
        """See `Elsewhere`."""
        found = self._pages(f"projects/{_one(project)}/releases")
        if found is None:
            raise NotFound("unknown-include", f"there is no project {project}, or it may not be read", hint=self._mend)
        return tuple(str(one["tag_name"]) for one in found if isinstance(one, dict) and "tag_name" in one)

    def fetch(self, address: str, keep: int) -> bytes:
        """See `Elsewhere`."""
        name = hashlib.sha256(f"remote {address}".encode()).hexdigest()
        known = self._known(name, keep)
        if known is not None:
            return known
        host = urlsplit(address).hostname or "an address"
        answer = self._asked(address, {}, _LIMIT)
        if answer.status == 404:
            raise NotFound("unknown-include", f"{host} has no such file")
        if answer.status != 200:
            raise ExternalError(
                "include-unavailable", f"{host} answered {answer.status}", retryable=answer.status >= 500
            )
        self._keep(name, answer.body)
        return answer.body

    def template(self, name: str) -> bytes | None:
        """See `Elsewhere`."""
        key = name.removesuffix(".gitlab-ci.yml")
        found = self._json(f"templates/gitlab_ci_ymls/{_one(key)}", _LIMIT)
        content = found.get("content") if isinstance(found, dict) else None
        return content.encode() if isinstance(content, str) else None

    def other(self, host: str) -> GitLabElsewhere | None:
        """See `Elsewhere`: it is the only one."""
        return self if host == self.host else None

    def read(self, project: str, commit: str, path: str) -> bytes | None:
        """A file of a commit; kept, since neither changes."""
        name = hashlib.sha256(f"file {self.host} {project} {commit} {path}".encode()).hexdigest()
        known = self._known(name, None)
        if known is not None:
            return known
        answer = self._api(f"projects/{_one(project)}/repository/files/{_one(path)}/raw?ref={_one(commit)}", _LIMIT)
        if answer.status == 404:
            return None
        self._refuse(answer, project)
        self._keep(name, answer.body)
        return answer.body

    def tree(self, project: str, commit: str) -> tuple[str, ...]:
        """All paths of a commit."""
        found = self._pages(f"projects/{_one(project)}/repository/tree?recursive=true&ref={_one(commit)}")
        blobs = (one for one in found or () if isinstance(one, dict) and one.get("type") == "blob")
        return tuple(sorted(str(one.get("path", "")) for one in blobs))

    def _api(self, path: str, limit: int) -> Response:
        return self._asked(f"{self._address}/api/v4/{path}", self._headers, limit)

    def _asked(self, address: str, headers: dict[str, str], limit: int) -> Response:
        return self._egress.request("GET", address, headers=headers, limit=limit, timeout=self._seconds)

    def _refuse(self, answer: Response, project: str) -> None:
        if answer.status in {401, 403}:
            raise NotFound(
                "unknown-include",
                f"{project} does not exist on {self.host}, or it may not be read",
                hint=self._mend,
            )
        if answer.status != 200:
            raise ExternalError(
                "include-unavailable", f"{self.host} answered {answer.status}", retryable=answer.status >= 500
            )

    def _json(self, path: str, limit: int) -> Any:
        answer = self._api(path, limit)
        if answer.status == 404:
            return None
        self._refuse(answer, path.split("/")[1])
        try:
            return json.loads(answer.body)
        except ValueError as error:
            raise ExternalError("include-unavailable", f"{self.host} did not answer with JSON") from error

    def _pages(self, path: str) -> list[Any] | None:
        found: list[Any] = []
        sign = "&" if "?" in path else "?"
        for page in range(1, _PAGES + 1):
            part = self._json(f"{path}{sign}per_page=100&page={page}", _LIST_LIMIT)
            if part is None:
                return None if page == 1 else found
            if not isinstance(part, list) or not part:
                break
            found.extend(part)
            if len(part) < 100:
                break
        return found

    def _known(self, name: str, seconds: int | None) -> bytes | None:
        """What is kept under a name, if it is not older than that; None: whatever its age."""
        if self._kept is None or seconds == 0:
            return None
        file = self._kept / name
        try:
            if seconds is not None and time.time() - file.stat().st_mtime > seconds:
                return None
            return file.read_bytes()
        except OSError:
            return None

    def _keep(self, name: str, data: bytes) -> None:
        if self._kept is None:
            return
        partial = self._kept / f"{name}.{os.getpid()}"
        try:
            self._kept.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(self._kept / name)
        except OSError:
            partial.unlink(missing_ok=True)  # what cannot be kept is asked for again


class _CommitFiles:
    """The files of one commit on the instance."""

    def __init__(self, instance: GitLabElsewhere, project: str, commit: str) -> None:
        self._instance = instance
        self._project = project
        self._commit = commit
        self._content: dict[str, bytes | None] = {}
        self._paths: tuple[str, ...] | None = None

    def read(self, path: str) -> bytes | None:
        """See `Files`."""
        if not path or path.startswith("/") or ".." in path.split("/"):
            return None
        if path not in self._content:
            self._content[path] = self._instance.read(self._project, self._commit, path)
        return self._content[path]

    def paths(self) -> tuple[str, ...]:
        """See `Files`."""
        if self._paths is None:
            self._paths = self._instance.tree(self._project, self._commit)
        return self._paths


def _one(part: str) -> str:
    """One part of a path, quoted whole."""
    return quote(part, safe="")
