"""Other projects and other refs of the same server, as the compiler may look at them.

A pipeline reads what its server hosts. What lies on other hosts is read only where the declaration names them (`includes`):
anything else is refused with the mend. A server reads for everybody, so a host that failed is not asked again for the same
pipeline, and the answers of one pipeline are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aegis.core.errors import ExternalError, NotFound
from aegis.core.ports import Repository
from aegis.delivery.files import CommitFiles
from aegis.pipeline.ports import Elsewhere, Files

T = TypeVar("T")

_TAGS = "refs/tags/"
MOST_OUTSIDE = 30
"""Answers of other hosts that one pipeline may ask for."""


class HostedElsewhere:
    """The projects of this server. `repository` gives a project's repository or raises `NotFound`.

    `outside` reads from other hosts; None: nothing there is declared.
    """

    def __init__(
        self,
        repository: Callable[[str], Repository],
        url: str,
        default_branch: Callable[[str], str],
        outside: Elsewhere | None = None,
    ) -> None:
        self._repository = repository
        self._default_branch = default_branch
        self._outside = _Bounded(outside) if outside is not None else None
        self.host = urlsplit(url).netloc

    def commit(self, project: str, ref: str) -> str:
        """See `Elsewhere`."""
        repository = self._repository(project)
        wanted = self._default_branch(project) if ref == "HEAD" else ref
        for name in (f"refs/heads/{wanted}", f"{_TAGS}{wanted}", wanted):
            try:
                return repository.resolve(name)
            except NotFound:
                continue
        raise NotFound("unknown-include", f"{project} has no `{ref}`")

    def files(self, project: str, commit: str) -> Files:
        """See `Elsewhere`."""
        return CommitFiles(self._repository(project), commit)

    def releases(self, project: str) -> tuple[str, ...]:
        """See `Elsewhere`: here every tag is a release."""
        return tuple(name.removeprefix(_TAGS) for name in self._repository(project).refs(_TAGS))

    def fetch(self, address: str, keep: int) -> bytes:
        """See `Elsewhere`."""
        if self._outside is None:
            raise _undeclared(urlsplit(address).hostname or "an address")
        return self._outside.fetch(address, keep)

    def template(self, name: str) -> bytes | None:
        """See `Elsewhere`: GitLab's own templates are not part of Aegis, but a declared instance offers them."""
        return self._outside.template(name) if self._outside is not None else None

    def other(self, host: str) -> Elsewhere | None:
        """See `Elsewhere`."""
        return self._outside.other(host) if self._outside is not None else None


def _undeclared(host: str) -> ExternalError:
    return ExternalError(
        "include-not-available",
        f"{host} is not a host that this server's pipelines may read from",
        hint="name it in aegis.yaml under `includes: hosts`, or copy the file into a project of this server",
    )


class _Bounded:
    """Other hosts for one pipeline: each answer is counted, and the first failure is the last question."""

    def __init__(self, below: Elsewhere) -> None:
        self._below = below
        self._asked = 0
        self._failure: ExternalError | None = None

    @property
    def host(self) -> str:
        """See `Elsewhere`."""
        return self._below.host

    def commit(self, project: str, ref: str) -> str:
        """See `Elsewhere`."""
        return self._ask(lambda: self._below.commit(project, ref))

    def files(self, project: str, commit: str) -> Files:
        """See `Elsewhere`."""
        return _BoundedFiles(self._below.files(project, commit), self._ask)

    def releases(self, project: str) -> tuple[str, ...]:
        """See `Elsewhere`."""
        return self._ask(lambda: self._below.releases(project))

    def fetch(self, address: str, keep: int) -> bytes:
        """See `Elsewhere`."""
        return self._ask(lambda: self._below.fetch(address, keep))

    def template(self, name: str) -> bytes | None:
        """See `Elsewhere`."""
        return self._ask(lambda: self._below.template(name)) if self._below.host else None

    def other(self, host: str) -> Elsewhere | None:
        """See `Elsewhere`."""
        return self if host and host == self._below.host else None

    def _ask(self, ask: Callable[[], T]) -> T:
        if self._failure is not None:
            raise self._failure
        self._asked += 1
        if self._asked > MOST_OUTSIDE:
            raise ExternalError(
                "include-not-available",
                f"a pipeline of this server reads at most {MOST_OUTSIDE} files of other hosts",
                hint="copy what is used often into a project of this server",
            )
        try:
            return ask()
        except ExternalError as error:
            if error.code == "egress-host":
                raise _undeclared(error.message.partition(" ")[0]) from error
            self._failure = error
            raise


class _BoundedFiles:
    """Files of a commit on another host."""

    def __init__(self, below: Files, ask: Callable[[Callable[[], Any]], Any]) -> None:
        self._below = below
        self._ask = ask

    def read(self, path: str) -> bytes | None:
        """See `Files`."""
        found: bytes | None = self._ask(lambda: self._below.read(path))
        return found

    def paths(self) -> tuple[str, ...]:
        """See `Files`."""
        found: tuple[str, ...] = self._ask(self._below.paths)
        return found


class Comparisons(Mapping[str, tuple[str, ...]]):
    """What a commit changed since it left each ref that `compare_to` may name; found out when it is asked for."""

    def __init__(self, repository: Repository, commit: str) -> None:
        self._repository = repository
        self._commit = commit

    def __getitem__(self, ref: str) -> tuple[str, ...]:
        for name in (f"refs/heads/{ref}", f"{_TAGS}{ref}", ref):
            try:
                base = self._repository.resolve(name)
            except NotFound:
                continue
            return self._repository.changed(self._repository.merge_base(base, self._commit), self._commit)
        raise KeyError(ref)

    def __iter__(self) -> Iterator[str]:
        return iter(name.removeprefix("refs/heads/") for name in self._repository.refs("refs/heads/"))

    def __len__(self) -> int:
        return len(self._repository.refs("refs/heads/"))
