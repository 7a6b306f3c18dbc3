"""The reconciler's decision: what to apply, what to prune, what to wait for. Pure; `adapters.sync_own` acts.

Decides: the order (waves upwards; the next wave only when what came before is healthy; pruning last, and only of
objects that carry our own mark), the state of the whole, and the words that say what blocks (argo-cd#3516: what
blocks a sync is hidden). Does not decide whether a failed deployment is reverted: that is a promotion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aegis.core.types import DeploymentState, Workload
from aegis.gitops.drift import differs
from aegis.gitops.manifest import RELEASE, SERVICE, Manifest, Ref
from aegis.gitops.ports import JobState, JobStatus

MANAGED: Final = ("app.kubernetes.io/managed-by", "aegis")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The next step. At most one of `apply` and `prune` is filled; both are empty while waiting and when done."""

    state: DeploymentState
    apply: tuple[Manifest, ...] = ()
    prune: tuple[Ref, ...] = ()
    wave: int = 0
    waiting_for: str = ""
    reason: str = ""

    @property
    def done(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in (DeploymentState.HEALTHY, DeploymentState.DEGRADED)


def decide(
    service: str,
    desired: Sequence[Manifest],
    live: Sequence[Manifest],
    workloads: Sequence[Workload],
    jobs: Sequence[JobStatus],
) -> Decision:
    """The next step towards `desired`, seen what is there now; the same input gives the same step."""
    present = {one.ref: one for one in live}
    for wave in sorted({one.wave for one in desired}):
        members = [one for one in desired if one.wave == wave]
        missing = tuple(one for one in members if one.ref not in present or differs(one, present[one.ref]))
        # A Job is immutable and runs once: what is there is never applied again, only a new name is.
        missing = tuple(one for one in missing if not (one.kind == "Job" and one.ref in present))
        if missing:
            return Decision(state=DeploymentState.PROGRESSING, apply=missing, wave=wave)
        for one in members:
            state, words = _health(one, workloads, jobs)
            if state is DeploymentState.DEGRADED:
                return Decision(state=state, wave=wave, reason=words)
            if state is not DeploymentState.HEALTHY:
                return Decision(state=DeploymentState.PROGRESSING, wave=wave, waiting_for=words)
    leftovers = superfluous(service, desired, live)
    if leftovers:
        return Decision(state=DeploymentState.PROGRESSING, prune=leftovers)
    return Decision(state=DeploymentState.HEALTHY, reason="every replica answers its health check")


def superfluous(service: str, desired: Sequence[Manifest], live: Sequence[Manifest]) -> tuple[Ref, ...]:
    """Objects of the service that Aegis wrote and the commit no longer holds."""
    wanted = {one.ref for one in desired}
    return tuple(
        one.ref
        for one in live
        if one.ref not in wanted and one.labels.get(SERVICE) == service and one.labels.get(MANAGED[0]) == MANAGED[1]
    )


def release_of(desired: Sequence[Manifest]) -> str:
    """The release that the Deployments carry; empty where there is none."""
    return next((one.annotations[RELEASE] for one in desired if RELEASE in one.annotations), "")


def _health(one: Manifest, workloads: Sequence[Workload], jobs: Sequence[JobStatus]) -> tuple[DeploymentState, str]:
    if one.kind == "Deployment":
        release = one.annotations.get(RELEASE, "")
        for workload in workloads:
            if workload.service == one.name and workload.release == release:
                words = workload.message or f"{workload.ready} of {workload.replicas} replicas of {release} are ready"
                return workload.state, words
        return DeploymentState.PROGRESSING, f"{one.ref} has not started yet"
    if one.kind == "Job":
        for job in jobs:
            if job.name == one.name:
                return _JOB_HEALTH[job.state], f"{one.ref} {job.state}" + (f": {job.message}" if job.message else "")
        return DeploymentState.PROGRESSING, f"{one.ref} has not started yet"
    return DeploymentState.HEALTHY, ""


_JOB_HEALTH: Final = {
    JobState.RUNNING: DeploymentState.PROGRESSING,
    JobState.SUCCEEDED: DeploymentState.HEALTHY,
    JobState.FAILED: DeploymentState.DEGRADED,
}
