"""A version of a service while it runs: its replicas, and what they add up to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from aegis.adapters.cluster_local.model import Wanted
from aegis.adapters.cluster_local.replica import Ground, Replica, Setting
from aegis.adapters.loopback import free_port
from aegis.adapters.supervised import tail
from aegis.core.types import DeploymentState, Workload

CRASHES: Final = 3
"""So many ends in a row without health in between are a crash loop."""
_LOG_LINES: Final = 5


class Version:
    """Called with the cluster's lock held, except where a replica reads its own setting."""

    def __init__(
        self,
        wanted: Wanted,
        body: Mapping[str, Any],
        *,
        setting: Setting,
        ground: Ground,
        changed: Callable[[], None],
        ports: tuple[int, ...] = (),
    ) -> None:
        self.wanted = wanted
        self.body = body
        self.retiring = False
        self.routed: tuple[str, ...] = ()
        self.since: datetime = ground.clock.now()
        self._setting = setting
        self._ground = ground
        self._changed = changed
        self._unready_since: float | None = ground.clock.monotonic()
        self.replicas: list[Replica] = []
        self.scale(wanted.replicas, ports)

    def scale(self, count: int, ports: tuple[int, ...] = ()) -> None:
        """So many replicas, more started or the youngest ended."""
        while len(self.replicas) > count:
            self.replicas.pop().finish(drain=True)
        while len(self.replicas) < count:
            index = len(self.replicas)
            wanted = self.wanted
            one = Replica(
                f"{wanted.namespace}.{wanted.name}.{wanted.template[:8]}.{next(self._ground.numbers)}",
                self._setting,
                self._ground,
                port=ports[index] if index < len(ports) else free_port(),
                changed=self._changed,
            )
            self.replicas.append(one)
            one.start()

    def finish(self, *, drain: bool) -> None:
        """Begin to end every replica."""
        self.retiring = True
        for one in self.replicas:
            one.finish(drain=drain)

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return not any(one.is_alive() for one in self.replicas)

    @property
    def ready(self) -> int:
        """How many replicas answer their probe."""
        return sum(one.ready for one in self.replicas)

    @property
    def complete(self) -> bool:
        """Whether all do."""
        return self.ready == self.wanted.replicas

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of the replicas that are ready."""
        return tuple(one.address for one in self.replicas if one.ready)

    def workload(self, environment: str) -> Workload:
        """As the port shows it."""
        state, message = self._state()
        return Workload(
            service=self.wanted.name,
            environment=environment,
            release=self.wanted.release,
            digest=self.wanted.program.digest,
            replicas=self.wanted.replicas,
            ready=self.ready,
            state=state,
            message=message,
            addresses=self.addresses,
            processes=tuple(str(one.pid) for one in self.replicas if one.pid is not None),
            commit=self.wanted.commit,
            since=self.since,
        )

    def _state(self) -> tuple[DeploymentState, str]:
        now = self._ground.clock.monotonic()
        if self.complete:
            self._unready_since = None
            return DeploymentState.HEALTHY, ""
        if self._unready_since is None:
            self._unready_since = now
        looping = next((one for one in self.replicas if not one.ready and one.crashes >= CRASHES), None)
        if looping is not None:
            return DeploymentState.DEGRADED, self._obituary(f"crash loop: {looping.reason}", looping)
        if now - self._unready_since > self.wanted.deadline:
            late = next(one for one in self.replicas if not one.ready)
            words = f"not ready within {self.wanted.deadline:.0f} s: {late.reason or 'no health check has answered'}"
            return DeploymentState.DEGRADED, self._obituary(words, late)
        waiting = next((one.reason for one in self.replicas if not one.ready and one.reason), "")
        words = f"{self.ready} of {self.wanted.replicas} replicas are ready"
        return DeploymentState.PROGRESSING, f"{words}; {waiting}" if waiting else words

    def _obituary(self, words: str, one: Replica) -> str:
        last = " | ".join(line.strip() for line in tail(one.log, _LOG_LINES) if line.strip())
        return f"{words}; its last words: {last}" if last else words


@dataclass(slots=True, kw_only=True)
class Service:
    """A Deployment with its versions, oldest first, by key."""

    namespace: str
    name: str
    wanted: str = ""
    active: str = ""
    versions: dict[str, Version] = field(default_factory=dict)

    def running(self) -> list[Version]:
        """Those that are not being ended."""
        return [one for one in self.versions.values() if not one.retiring]

    def by_release(self, release: str) -> Version | None:
        """The youngest running version of a release."""
        return next((one for one in reversed(self.running()) if one.wanted.release == release), None)
