"""The `Traffic` port in memory: a split that test code sends requests through by calling `serve`."""

from __future__ import annotations

from collections.abc import Mapping

from aegis.core.errors import ExternalError, NotFound
from aegis.core.types import VersionSample

Weights = Mapping[str, tuple[tuple[str, ...], int]]


class MemoryTraffic:
    """Smooth weighted round robin over versions; nothing listens anywhere."""

    def __init__(self, pairs: tuple[tuple[str, str], ...]) -> None:
        self._split: dict[tuple[str, str], dict[str, tuple[tuple[str, ...], int]]] = {pair: {} for pair in pairs}
        self._counts: dict[tuple[str, str, str], list[int]] = {}
        self._turn: dict[tuple[str, str, str], int] = {}

    def _of(self, service: str, environment: str) -> dict[str, tuple[tuple[str, ...], int]]:
        try:
            return self._split[service, environment]
        except KeyError as error:
            raise NotFound("traffic-unknown", f"{service} in {environment}") from error

    def url(self, service: str, environment: str) -> str:
        self._of(service, environment)
        return f"http://{service}.{environment}.memory"

    def set_weights(self, service: str, environment: str, weights: Weights) -> None:
        self._of(service, environment)
        if not any(addresses and weight for addresses, weight in weights.values()):
            raise ExternalError("traffic-nowhere", "no version would get traffic")
        self._split[service, environment] = dict(weights)

    def set_addresses(self, service: str, environment: str, version: str, addresses: tuple[str, ...]) -> None:
        split = self._of(service, environment)
        if version in split:
            split[version] = (addresses, split[version][1])

    def weights(self, service: str, environment: str) -> Mapping[str, int]:
        return {version: weight for version, (_, weight) in self._of(service, environment).items()}

    def samples(self, service: str, environment: str) -> tuple[VersionSample, ...]:
        found = []
        for version in self._of(service, environment):
            requests, errors = self._counts.get((service, environment, version), [0, 0])
            found.append(VersionSample(version=version, requests=requests, errors=errors))
        return tuple(found)

    def serve(self, service: str, environment: str, *, failing: frozenset[str] = frozenset()) -> str:
        """One request: the version that got it."""
        live = {
            version: weight for version, (where, weight) in self._of(service, environment).items() if where and weight
        }
        for version, weight in live.items():
            key = (service, environment, version)
            self._turn[key] = self._turn.get(key, 0) + weight
        chosen = max(live, key=lambda version: self._turn[service, environment, version])
        self._turn[service, environment, chosen] -= sum(live.values())
        count = self._counts.setdefault((service, environment, chosen), [0, 0])
        count[0] += 1
        count[1] += chosen in failing
        return chosen

    def stop(self) -> None:
        pass
