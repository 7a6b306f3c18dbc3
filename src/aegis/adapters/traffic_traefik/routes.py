"""Weights and addresses as Traefik's dynamic configuration, and its counters as samples. Pure.

Decides: names. One router per entry point (an entry point is a port, which belongs to one service in one environment),
one weighted service behind it, one load balancer per version. Source: Traefik 3 documentation, "File provider",
"Weighted Round Robin", "Metrics: Prometheus".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aegis.adapters.metrics_prometheus import Point
from aegis.core.types import VersionSample

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_UNSAFE: Final = re.compile(r"[^a-zA-Z0-9.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A version behind the split."""

    addresses: tuple[str, ...]
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A service in an environment: its port, its versions."""

    service: str
    environment: str
    port: int
    backends: Mapping[str, Backend] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its name in Traefik: entry point, router and weighted service."""
        return f"{self.service}-{self.environment}"


def entry_point(port: int) -> str:
    """The name of the entry point on a port."""
    return f"port-{port}"


def backend_name(place: Place, version: str) -> str:
    """The name of a version's load balancer: readable, without '@', distinct for distinct versions."""
    check = hashlib.sha256(version.encode()).hexdigest()[:8]
    return f"{place.key}-{_UNSAFE.sub('-', version)}-{check}"


def dynamic(places: Iterable[Place], *, hold: str) -> dict[str, Any]:
    """The whole dynamic configuration. A place without versions answers 503 by a service without servers (`hold`)."""
    routers: dict[str, Any] = {}
    services: dict[str, Any] = {}
    for place in places:
        live = {name: one for name, one in place.backends.items() if one.addresses}
        routers[place.key] = {
            "entryPoints": [entry_point(place.port)],
            "rule": "PathPrefix(`/`)",
            "service": place.key if any(one.weight for one in live.values()) else hold,
        }
        for version, backend in live.items():
            services[backend_name(place, version)] = {
                "loadBalancer": {
                    "servers": [{"url": address} for address in backend.addresses],
                    "passHostHeader": True,
                }
            }
        weighted = [
            {"name": backend_name(place, version), "weight": backend.weight}
            for version, backend in live.items()
            if backend.weight
        ]
        if weighted:
            services[place.key] = {"weighted": {"services": weighted}}
    services[hold] = {"loadBalancer": {"servers": []}}
    return {"http": {"routers": routers, "services": services}}


class Counts:
    """One version's counters, growing also when Traefik was restarted and began at zero again."""

    __slots__ = ("_before", "_last")

    def __init__(self) -> None:
        self._before: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def see(self, now: Mapping[str, float]) -> dict[str, float]:
        """The totals after a look that showed `now` since Traefik's start."""
        if now.get("requests", 0) < self._last.get("requests", 0):
            for name, value in self._last.items():
                self._before[name] = self._before.get(name, 0) + value
        self._last = dict(now)
        names = {*self._before, *now}
        return {name: self._before.get(name, 0) + now.get(name, 0) for name in names}


def totals(points: Iterable[Point]) -> dict[str, dict[str, float]]:
    """Per Traefik service: `requests`, `errors` (5xx), `seconds`, and cumulative buckets as `le=BOUND`."""
    found: dict[str, dict[str, float]] = {}
    for point in points:
        service = point.labels.get("service", "").removesuffix("@file")
        field_name = _field(point)
        if not service or field_name is None:
            continue
        row = found.setdefault(service, {"requests": 0.0, "errors": 0.0})
        row[field_name] = row.get(field_name, 0.0) + point.value
        if field_name == "requests" and point.labels.get("code", "").startswith("5"):
            row["errors"] += point.value
    return found


def _field(point: Point) -> str | None:
    if point.name == "traefik_service_requests_total":
        return "requests"
    if point.name == "traefik_service_request_duration_seconds_sum":
        return "seconds"
    if point.name == "traefik_service_request_duration_seconds_bucket":
        return f"le={point.labels.get('le', '')}"
    return None


def sample(version: str, row: Mapping[str, float]) -> VersionSample:
    """One version's totals as core's type."""
    return VersionSample(
        version=version,
        requests=int(row.get("requests", 0)),
        errors=int(row.get("errors", 0)),
        latency_sum=row.get("seconds", 0.0),
        buckets={name[3:]: int(value) for name, value in row.items() if name.startswith("le=")},
    )
