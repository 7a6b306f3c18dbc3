"""What a pipeline includes from outside its project, fetched once in an editor's session: a keystroke asks nobody.

Satisfies `aegis.pipeline.ports.Elsewhere`. What failed is tried again after a save; what was fetched stays until the server is
started anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from aegis.core.errors import AegisError
from aegis.pipeline.ports import Elsewhere, Files

T = TypeVar("T")


class _Memory:
    """Answers and failures by question."""

    def __init__(self) -> None:
        self._answers: dict[tuple[Any, ...], Any] = {}
        self._failures: dict[tuple[Any, ...], AegisError] = {}

    def ask(self, question: tuple[Any, ...], ask: Callable[[], T]) -> T:
        """The answer that was given before, or a new one."""
        if question in self._failures:
            raise self._failures[question]
        if question not in self._answers:
            try:
                self._answers[question] = ask()
            except AegisError as error:
                self._failures[question] = error
                raise
        found: T = self._answers[question]
        return found

    def retry(self) -> None:
        """Forget what failed."""
        self._failures.clear()


class RememberedElsewhere:
    """See the module."""

    def __init__(self, below: Elsewhere) -> None:
        self._below = below
        self._memory = _Memory()

    def retry(self) -> None:
        """What failed may be asked for again."""
        self._memory.retry()

    @property
    def host(self) -> str:
        """See `Elsewhere`."""
        return self._memory.ask(("host",), lambda: self._below.host)

    def commit(self, project: str, ref: str) -> str:
        """See `Elsewhere`."""
        return self._memory.ask(("commit", project, ref), lambda: self._below.commit(project, ref))

    def files(self, project: str, commit: str) -> Files:
        """See `Elsewhere`."""
        made = lambda: _RememberedFiles(self._below.files(project, commit), self._memory, (project, commit))  # noqa: E731
        return self._memory.ask(("files", project, commit), made)

    def releases(self, project: str) -> tuple[str, ...]:
        """See `Elsewhere`."""
        return self._memory.ask(("releases", project), lambda: self._below.releases(project))

    def fetch(self, address: str, keep: int) -> bytes:
        """See `Elsewhere`."""
        return self._memory.ask(("fetch", address), lambda: self._below.fetch(address, keep))

    def template(self, name: str) -> bytes | None:
        """See `Elsewhere`."""
        return self._memory.ask(("template", name), lambda: self._below.template(name))

    def other(self, host: str) -> RememberedElsewhere | None:
        """See `Elsewhere`."""

        def made() -> RememberedElsewhere | None:
            below = self._below.other(host)
            return RememberedElsewhere(below) if below is not None else None

        return self._memory.ask(("other", host), made)


class _RememberedFiles:
    """Files of another project's commit, each read once."""

    def __init__(self, below: Files, memory: _Memory, of: tuple[str, str]) -> None:
        self._below = below
        self._memory = memory
        self._of = of

    def read(self, path: str) -> bytes | None:
        """See `Files`."""
        return self._memory.ask(("read", *self._of, path), lambda: self._below.read(path))

    def paths(self) -> tuple[str, ...]:
        """See `Files`."""
        return self._memory.ask(("paths", *self._of), self._below.paths)
