"""What the demo needs of the machine it runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aegis.adapters.server_http import ServerClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody of the example. `token` is theirs alone."""

    id: str
    name: str
    email: str
    token: str = ""

    @property
    def signature(self) -> str:
        """As Git writes it."""
        return f"{self.name} <{self.email}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request of the generated traffic. `share` is its part of all requests."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    share: float = 1.0


class LoadCounts(Protocol):
    """What the generated traffic met: requests sent, and those that got no answer or one of 500 and above."""

    @property
    def sent(self) -> int: ...  # noqa: D102 - as named
    @property
    def failed(self) -> int: ...  # noqa: D102 - as named


class Load(Protocol):
    """Traffic that is being generated."""

    def counts(self) -> LoadCounts:
        """So far."""
        ...

    def stop(self) -> LoadCounts:
        """End it and wait."""
        ...


class Tree(Protocol):
    """A work tree of one project, worked on by people through Git."""

    def read(self, path: str) -> str:
        """A file."""
        ...

    def write(self, path: str, text: str) -> None:
        """Change or add a file."""
        ...

    def branch(self, name: str, start: str) -> None:
        """Begin a local branch at a remote branch or commit, newly fetched."""
        ...

    def commit(self, message: str, author: Person) -> str:
        """Commit everything; the commit."""
        ...

    def push(self, target: str, person: Person, options: Sequence[str] = ()) -> tuple[bool, str]:
        """Push HEAD to a branch as a person; whether it was taken, and what Git said."""
        ...

    def lock(self, person: Person) -> None:
        """Write the lock of the dependencies, with what the internal index has."""
        ...


class Workshop(Protocol):
    """The machine: a server, work trees, traffic. Everything it starts ends with `close`."""

    def start(self) -> tuple[ServerClient, float]:
        """Start the server and wait until it accepts work; the operator's client, and how many seconds that took."""
        ...

    def client(self, person: Person) -> ServerClient:
        """A client for somebody's token."""
        ...

    def tree(self, project: str, person: Person) -> Tree:
        """A work tree of the example's project, not yet pushed anywhere."""
        ...

    def fetch(self, url: str) -> Any:
        """The JSON that a URL of a deployed service answers."""
        ...

    def load(self, url: str, calls: Sequence[Call], per_second: float) -> Load:
        """Begin to send requests to a deployed service."""
        ...

    def entropy(self, size: int) -> bytes:
        """Fresh random bytes."""
        ...

    def verify_ledger(self) -> Mapping[str, Any]:
        """What `aegis ledger verify --json` says of the server's data directory."""
        ...

    def close(self) -> None:
        """End everything that was started."""
        ...
