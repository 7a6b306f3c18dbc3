"""The error families, and nothing else.

    AegisError
    ├── UserError      exit 2    what was given is wrong; the hint mends it
    ├── CheckFailed    exit 1    the checked thing failed (a run, a gate, a test)
    ├── Denied         exit 3    the actor may not
    ├── NotFound       exit 4    no such thing, or not visible to the actor
    ├── Conflict       exit 5    the subject has moved since it was read
    ├── ExternalError  exit 6    an outside system failed
    └── Waiting        exit 7    a person or a time is waited for

Ports raise only `Denied`-free families: `NotFound`, `Conflict`, `ExternalError`. Anything that is not an
`AegisError` is a bug, caught once at the top (exit 70).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a file: 1-based line and column, as an editor counts them."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class AegisError(Exception):
    """Something a person can act on.

    `code` is a stable kebab-case name (`aegis help CODE` explains it), `message` says what was seen and what
    was expected, `hint` is a mend that can be copied, `where` the place.
    """

    family: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 70

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        where: Where | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.where = where
        self.retryable = retryable

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        hint = f" — {self.hint}" if self.hint else ""
        return f"{place}{self.message}{hint}"


class UserError(AegisError):
    """The input is wrong."""

    family = "user"
    exit_code = 2


class CheckFailed(AegisError):
    """The checked thing failed: a run, a gate, a test."""

    family = "check"
    exit_code = 1


class Denied(AegisError):
    """The actor may not do this."""

    family = "denied"
    exit_code = 3


class NotFound(AegisError):
    """There is no such thing, or the actor cannot see it."""

    family = "not-found"
    exit_code = 4


class Conflict(AegisError):
    """The subject has moved since it was read, or something else holds it."""

    family = "conflict"
    exit_code = 5


class ExternalError(AegisError):
    """A system outside this process failed, refused or could not be reached."""

    family = "external"
    exit_code = 6


class Waiting(AegisError):
    """A person or a time is waited for."""

    family = "waiting"
    exit_code = 7
