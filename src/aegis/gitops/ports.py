"""What GitOps needs from outside: a cluster that carries manifests out, and something that synchronises.

`Repository` (Git) is core's. Values only; no port below knows of releases beyond the annotations of
`aegis.gitops.manifest`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from aegis.core.types import DeploymentState, Workload
from aegis.gitops.manifest import Manifest, Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayer:
    """A layer as it was pushed: digest of the bytes that `read` yields, and their media type."""

    digest: str
    media_type: str
    read: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledImage:
    """An image's configuration (OCI `config.json`) and its layers, lowest first."""

    config: bytes
    layers: tuple[ImageLayer, ...]


class JobState(StrEnum):
    """Where a Job of the cluster stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """A Job (a seed) as observed. `message` holds its last lines when it failed."""

    namespace: str
    name: str
    state: JobState
    message: str = ""
    since: datetime | None = None


class Cluster(Protocol):
    """Runs what manifests say. Any thread may call; calls return when the wish is durable, not when it is fulfilled.

    Several versions of one Deployment may exist at a time; a version is the release in its annotation
    `aegis.io/release`. The annotation `aegis.io/strategy` says what happens when a new one is applied:

    - `rolling`: the new version becomes ready, takes over the service's address, then the old one ends. Never are
      fewer replicas ready than declared. If it does not become ready, the old one stays where it is.
    - `canary`, `blue-green`: the new version becomes ready beside the active one and receives nothing. The caller
      moves traffic, then `set_active`, then `retire`. Applying the active version's manifests again (a revert)
      retires every other version by itself.

    Errors: `ExternalError` when the cluster refuses or cannot be reached, `NotFound` for what is not there,
    `Conflict` when another writer has moved it. Order between calls on one namespace is the order of the calls.
    """

    def apply(self, namespace: str, manifests: Sequence[Manifest], *, key: str) -> None:
        """Wish these objects. Idempotent: the same content changes nothing, the same `key` is accepted once."""
        ...

    def find(self, key: str) -> bool:
        """Whether an `apply` or `prune` with this key has been accepted: how an intent is resolved after a crash."""
        ...

    def prune(self, namespace: str, refs: Sequence[Ref], *, key: str) -> None:
        """Remove objects and what runs of them; what is not there counts as removed."""
        ...

    def live(self, namespace: str) -> tuple[Manifest, ...]:
        """The objects as last wished and accepted, for comparison with Git; drift is the difference."""
        ...

    def observe(self, namespace: str) -> tuple[Workload, ...]:
        """Every version of every Deployment, oldest first. HEALTHY: all replicas answer their readiness probe.

        DEGRADED: a crash loop, or not ready within `progressDeadlineSeconds`; `message` says which and ends with
        the last lines of the log. PROGRESSING: neither yet.
        """
        ...

    def jobs(self, namespace: str) -> tuple[JobStatus, ...]:
        """The Jobs, oldest first."""
        ...

    def active(self, namespace: str, service: str) -> str | None:
        """The release that owns the service's address, or None before the first became ready."""
        ...

    def set_active(self, namespace: str, service: str, release: str) -> None:
        """Make a running version the owner of the address. The others keep running until they are retired."""
        ...

    def retire(self, namespace: str, service: str, release: str) -> None:
        """End a version that is not active, letting it finish what it serves; `Conflict` for the active one."""
        ...

    def logs(self, namespace: str, name: str, *, release: str = "", limit: int = 200) -> tuple[str, ...]:
        """The last lines of a Deployment's version (the active one by default) or of a Job."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStatus:
    """How far a commit has come in the cluster. `waiting_for` says in words what the next wave waits for."""

    service: str
    environment: str
    commit: str
    release: str
    state: DeploymentState
    reason: str = ""
    waiting_for: str = ""
    drift: tuple[str, ...] = ()


class Sync(Protocol):
    """Brings the cluster to what a commit renders to: the own reconciler, or Argo CD.

    `request` is durable only as Git is: after a restart the caller requests the branch's tip again, which changes
    nothing where it has been carried out. A later request for the same service and environment replaces an
    earlier one. `status` may carry the next wave out, so the caller asks until the state is HEALTHY or DEGRADED.
    """

    def request(
        self, service: str, environment: str, *, namespace: str, commit: str, manifests: Sequence[Manifest], key: str
    ) -> None:
        """Begin to bring these manifests about; returns at once."""
        ...

    def status(self, service: str, environment: str) -> SyncStatus:
        """Where it stands; `NotFound` when nothing was requested."""
        ...
