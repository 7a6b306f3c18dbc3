"""What the pipeline language needs from outside."""

from __future__ import annotations

from typing import Protocol


class Files(Protocol):
    """The files of one commit (or of a work tree), read-only.

    Paths are relative to the repository's root with `/`, without a leading slash. Both calls may come in any order and
    from any thread, answer the same for the same path, and raise `ExternalError` only when the store itself fails.
    """

    def read(self, path: str) -> bytes | None:
        """A file's bytes; None when there is no such file. Never follows a path outside the repository."""
        ...

    def paths(self) -> tuple[str, ...]:
        """All paths of files, sorted. Asked for only when `exists` or a wildcard `include` needs it."""
        ...


class Elsewhere(Protocol):
    """What may be included from outside of the project: other projects of the same instance, addresses, templates.

    It acts with the rights of whoever asked for the pipeline, and never shows a credential. Calls may come in any order
    and be repeated; every answer is bounded in size and time. `NotFound` where something does not exist or may not be
    seen (the two are not told apart), `ExternalError` where the outside fails, is too large, too slow or not allowed.
    """

    @property
    def host(self) -> str:
        """The instance's host with its port, if that is not the usual one: `CI_SERVER_FQDN`."""
        ...

    def commit(self, project: str, ref: str) -> str:
        """The commit that a branch, tag or id of a project names; `HEAD` is its default branch."""
        ...

    def files(self, project: str, commit: str) -> Files:
        """The files of a project's commit."""
        ...

    def releases(self, project: str) -> tuple[str, ...]:
        """The tags of a project's releases, in no particular order."""
        ...

    def fetch(self, address: str, keep: int) -> bytes:
        """The answer at an address. With `keep` an answer of the last so many seconds may be given again."""
        ...

    def template(self, name: str) -> bytes | None:
        """A template that the instance offers (`Auto-DevOps.gitlab-ci.yml`); None where there is none of that name."""
        ...

    def other(self, host: str) -> Elsewhere | None:
        """Another instance that components may come from, by its host; None where that is not allowed."""
        ...
