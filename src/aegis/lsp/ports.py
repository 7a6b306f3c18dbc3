"""What the language server needs from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aegis.pipeline.request import CompileRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A project that a document belongs to: the absolute path of its root, and the question for a push to its default branch.

    `request.root` is the pipeline file relative to the root, whether it is there or not.
    """

    directory: str
    request: CompileRequest


class Projects(Protocol):
    """Finds projects on the disk.

    Called from one thread. Answers at once from what lies there; asked again for the same path it looks again.
    """

    def open(self, path: str, *, as_root: bool) -> Opened:
        """The project that a file (an absolute path) belongs to; a folder without Git is a project of its own.

        `as_root`: the file itself is the pipeline, whatever it is called.
        """
        ...

    def component(self, label: str) -> str | None:
        """The absolute path of a file that `include` brought in under a label that is no path of the project; None without one."""
        ...

    def text(self, path: str) -> str | None:
        """The text of a file outside the project that `component` named; None where it cannot be read."""
        ...
