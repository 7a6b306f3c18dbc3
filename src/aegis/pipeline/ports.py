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
