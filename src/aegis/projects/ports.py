"""What `projects` needs of the outside: programs that run in the project's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that ended. `output` is its standard output where that was asked for, else empty."""

    code: int
    output: bytes = b""


class Programs(Protocol):
    """Starts programs in one folder and waits for them. Not for use by two threads at once."""

    def run(
        self, argv: Sequence[str], *, environment: Mapping[str, str] | None = None, capture: bool = False
    ) -> Finished:
        """Run a program, its output shown as it comes (`capture`: standard output is given back instead).

        `environment` is added to that of this process. A program that cannot be started is `ExternalError`.
        """
        ...
