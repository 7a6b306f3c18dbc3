"""What the supply chain needs of the outside: advisories, a project's files, and what its commits added."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from aegis.supplychain.leaks import Added


class AdvisorySource(Protocol):
    """Advisories in OSV form, wherever they lie.

    `files` may be called once per scan, from one thread. It raises `NotFound` where there is no such source and
    `ExternalError` where it cannot be read whole: a part of the advisories is never given as if it were all.
    """

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file that may hold an advisory, in any order."""
        ...


class Sources(Protocol):
    """The files of a project as they stand, and the lines that commits added.

    Paths are relative to the project's root, with `/`. Nothing is followed out of the root: a symbolic link is not
    read. Both may be called any number of times; `ExternalError` when something cannot be read.
    """

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Path and content of each file that is or could be committed (what Git ignores is left out)."""
        ...

    def added(self, since: str | None) -> Iterator[Added]:
        """What the commits reachable from HEAD and not from `since` added, oldest first; None: from the beginning.

        `NotFound` when `since` names nothing; `ExternalError` when there is no history to read, or a part of it is
        missing because the clone is shallow.
        """
        ...
