"""Other projects and other refs of the same server, as the compiler may look at them.

A pipeline reads what its server hosts; what lies on other hosts is not fetched by a server, since nobody there has said that
it may be: such an include is refused with the mend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from aegis.core.errors import ExternalError, NotFound
from aegis.core.ports import Repository
from aegis.delivery.files import CommitFiles
from aegis.pipeline.ports import Files

_TAGS = "refs/tags/"


class HostedElsewhere:
    """The projects of this server. `repository` gives a project's repository or raises `NotFound`."""

    def __init__(self, repository: Callable[[str], Repository], url: str, default_branch: Callable[[str], str]) -> None:
        self._repository = repository
        self._default_branch = default_branch
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

    def fetch(self, address: str, keep: int) -> bytes:  # noqa: ARG002 - the port's signature
        """See `Elsewhere`."""
        raise ExternalError(
            "include-not-available",
            f"{urlsplit(address).hostname} is not a host that this server's pipelines may read from",
            hint="copy the file into a project of this server and use `include: project`",
        )

    def template(self, name: str) -> bytes | None:  # noqa: ARG002 - the port's signature
        """See `Elsewhere`: GitLab's own templates are not part of Aegis."""
        return None


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
