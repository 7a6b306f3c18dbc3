"""What `source` needs of the outside: a host that keeps repositories."""

from __future__ import annotations

from typing import Protocol

from aegis.core.ports import Repository


class GitHost(Protocol):
    """Keeps the repositories of projects (`group/name`, nested groups allowed).

    May be called from any thread. Creating is idempotent: of two calls at once both succeed and one made it. A project
    name that is not one is `UserError` before anything is touched.
    """

    def create(self, project: str, *, default_branch: str = "main") -> bool:
        """Make an empty repository; False when it was there already (its content is left alone)."""
        ...

    def sweep(self) -> int:
        """Take away what interrupted programs left and nobody can hold any more; how many things that were."""
        ...

    def projects(self) -> tuple[str, ...]:
        """All projects, sorted."""
        ...

    def repository(self, project: str) -> Repository:
        """The repository of a project; `NotFound`."""
        ...

    def default_branch(self, project: str) -> str:
        """The branch name that a clone starts on; `NotFound`."""
        ...
