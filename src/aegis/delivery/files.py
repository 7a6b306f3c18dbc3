"""A commit's files as the compiler and the declaration's reader want them: read when asked for, listed once."""

from __future__ import annotations

from aegis.core.errors import NotFound
from aegis.core.ports import Repository


class CommitFiles:
    """The tree of one commit. Not for use by several threads at once."""

    def __init__(self, repository: Repository, commit: str) -> None:
        self._repository = repository
        self._commit = commit
        self._paths: tuple[str, ...] | None = None

    def read(self, path: str) -> bytes | None:
        """A file's content, or None where there is no such file."""
        try:
            return self._repository.read(self._commit, path)
        except NotFound:
            return None

    def paths(self) -> tuple[str, ...]:
        """All paths, sorted."""
        if self._paths is None:
            self._paths = tuple(sorted(entry.path for entry in self._repository.entries(self._commit)))
        return self._paths
