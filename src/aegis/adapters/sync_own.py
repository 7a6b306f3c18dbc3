"""The `Sync` port by our own reconciler: `gitops.sync` decides, this asks the cluster and acts.

Decides: nothing but the keys of its calls (request key, wave, what is done), so that a repeated step is found by the
cluster. Remembers requests in memory only: Git holds them, and the caller asks again after a restart.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from aegis.core import codec, ids
from aegis.core.errors import NotFound
from aegis.core.types import DeploymentState
from aegis.gitops import sync
from aegis.gitops.drift import drift
from aegis.gitops.manifest import Manifest
from aegis.gitops.ports import Cluster, SyncStatus


@dataclass(slots=True, kw_only=True)
class _Request:
    namespace: str
    commit: str
    manifests: tuple[Manifest, ...]
    key: str
    step: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class OwnSync:
    """See the port. One step is carried out by `request`, the following ones by `status`.

    An `ExternalError` by which the cluster refuses manifests reaches the caller of `request`.
    """

    _STEPS_AT_ONCE = 8

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._requests: dict[tuple[str, str], _Request] = {}
        self._lock = threading.Lock()

    def request(
        self, service: str, environment: str, *, namespace: str, commit: str, manifests: Sequence[Manifest], key: str
    ) -> None:
        """See the port."""
        wanted = _Request(namespace=namespace, commit=commit, manifests=tuple(manifests), key=key)
        with self._lock:
            known = self._requests.get((service, environment))
            if known is None or known.key != key:
                self._requests[service, environment] = wanted
        self.status(service, environment)

    def status(self, service: str, environment: str) -> SyncStatus:
        """See the port."""
        with self._lock:
            wanted = self._requests.get((service, environment))
        if wanted is None:
            raise NotFound("sync-unknown", f"nothing was requested for {service} in {environment}")
        with wanted.lock:
            decision = self._advance(service, wanted)
        live = self._cluster.live(wanted.namespace)
        leftovers = sync.superfluous(service, wanted.manifests, live)
        differences = drift(wanted.manifests, live, leftovers) if decision.done else ()
        return SyncStatus(
            service=service,
            environment=environment,
            commit=wanted.commit,
            release=sync.release_of(wanted.manifests),
            state=decision.state,
            reason=decision.reason,
            waiting_for=decision.waiting_for,
            drift=tuple(str(one) for one in differences),
        )

    def _advance(self, service: str, wanted: _Request) -> sync.Decision:
        """Act as long as there is something to do now; each act is under a key of its own."""
        for _ in range(self._STEPS_AT_ONCE):
            decision = self._decide(service, wanted)
            if not decision.apply and not decision.prune:
                return decision
            wanted.step += 1
            content = codec.encode([[one.digest for one in decision.apply], [str(one) for one in decision.prune]])
            key = f"{wanted.key}/{wanted.step}/{ids.sha256(content)[7:23]}"
            if decision.apply:
                self._cluster.apply(wanted.namespace, decision.apply, key=key)
            if decision.prune:
                self._cluster.prune(wanted.namespace, decision.prune, key=key)
        return sync.Decision(state=DeploymentState.PROGRESSING, waiting_for="more waves")

    def _decide(self, service: str, wanted: _Request) -> sync.Decision:
        space = wanted.namespace
        return sync.decide(
            service,
            wanted.manifests,
            self._cluster.live(space),
            self._cluster.observe(space),
            self._cluster.jobs(space),
        )
