"""What `projects` needs of the outside: programs in the project's folder, and services for a developer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceWish:
    """A service to start: an image under a name. `specification` tells whether one that runs is still what is wanted."""

    alias: str
    image: str
    variables: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningService:
    """A service as it is. `ports` maps the service's own ports to those on `host`; `pulled`: its image was fetched for it."""

    alias: str
    id: str
    image: str
    specification: str
    running: bool
    host: str = "127.0.0.1"
    ports: Mapping[int, int] = field(default_factory=dict)
    pulled: bool = False


class ServiceHost(Protocol):
    """Runs services for a developer, reachable from this machine alone. `key` marks those of one working tree.

    What it starts outlives this process and is found again by its key. Not for use by two threads at once.
    """

    @property
    def name(self) -> str:
        """What runs them: `docker`, `podman`."""
        ...

    def start(self, key: str, wish: ServiceWish, specification: str) -> RunningService:
        """Start it and wait until it answers; one of that alias that is there already is replaced.

        `ExternalError` with its last lines where it ends instead, or where its image is not to be had.
        """
        ...

    def services(self, key: str) -> tuple[RunningService, ...]:
        """What there is, whether it runs or not."""
        ...

    def remove(self, service: RunningService, *, image: bool) -> None:
        """Take it away with its data, and with `image` its image too, unless something else uses it; idempotent."""
        ...
