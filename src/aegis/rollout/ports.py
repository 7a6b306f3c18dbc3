"""What a rollout needs from outside: something that splits traffic and counts what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from aegis.core.types import VersionSample


class Traffic(Protocol):
    """A weighted split in front of the versions of each service, at an address that never changes.

    Any thread may call. Calls for one (service, environment) take effect in their order. Nothing is dropped while
    weights change: requests that are being served end where they began. A restart of the splitter keeps the weights.
    Errors: `NotFound` for a service and environment that was never given, `ExternalError` when the splitter cannot be
    reached or does not take the configuration; the earlier weights then still hold.
    """

    def url(self, service: str, environment: str) -> str:
        """The stable base URL, without a slash at its end. Known before the first version runs."""
        ...

    def set_weights(self, service: str, environment: str, weights: Mapping[str, tuple[tuple[str, ...], int]]) -> None:
        """Versions with their addresses (`http://host:port`) and weights; returns when it is in force.

        Weights are relative shares ≥ 0, at least one above 0 with an address. Versions that are not named receive
        nothing more. Idempotent.
        """
        ...

    def set_addresses(self, service: str, environment: str, version: str, addresses: tuple[str, ...]) -> None:
        """A version listens elsewhere now; its weight stays. Nothing happens for a version that is not routed to."""
        ...

    def weights(self, service: str, environment: str) -> Mapping[str, int]:
        """What is in force, by version; empty before the first `set_weights`."""
        ...

    def samples(self, service: str, environment: str) -> tuple[VersionSample, ...]:
        """Cumulative counters per version that has been routed to. Errors are answers 5xx and unreachable versions.

        They only grow while this object lives. A version that has served nothing has zeros.
        """
        ...

    def stop(self) -> None:
        """End it and wait until it has ended; idempotent."""
        ...
