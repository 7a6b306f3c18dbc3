"""Events of a release on its way: promotions, deployments, rollouts; and of access and the system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from aegis.core.events.records import event
from aegis.core.types import Approval, Deployment, Promotion, Rollout, RunnerSettings
from aegis.core.values import dataclass

# -- promotion, deployment, rollout -----------------------------------------------------------------------


@event("aegis.promotion.proposed")
@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionProposed:
    """Somebody or the flow wants a release in an environment. Subject `promotion/<id>`."""

    promotion: Promotion


@event("aegis.promotion.approved")
@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionApproved:
    """A person, or policy as `policy:<name>`, said yes. `complete` when nothing more is needed."""

    approval: Approval
    complete: bool
    review_required: bool = False


@event("aegis.promotion.approval-refused")
@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRefused:
    """Somebody's approval did not count: four eyes, missing role, stale, expired."""

    by: str
    code: str
    message: str


@event("aegis.promotion.rejected")
@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRejected:
    """A person said no."""

    approval: Approval


@event("aegis.promotion.voided")
@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionVoided:
    """The plan no longer holds: `stale` (something under it moved), `expired`, or `superseded`."""

    why: str
    message: str


@event("aegis.promotion.committed")
@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionCommitted:
    """The manifest change is on the GitOps branch."""

    commit: str
    release: str


@event("aegis.promotion.finished")
@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionFinished:
    """The promotion came to its end: deployed and (where there is a rollout) promoted, or failed."""

    ok: bool
    reason: str = ""


@event("dev.cdevents.service.deployed")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentObserved:
    """The cluster showed a new state of a deployment. Subject `deployment/<id>`."""

    deployment: Deployment


@event("aegis.rollout.started")
@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStarted:
    """Traffic is about to move. Subject `rollout/<id>`."""

    rollout: Rollout


@event("aegis.rollout.stepped")
@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStepped:
    """Weight, evidence or state changed."""

    rollout: Rollout
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Per side (`canary`, `baseline`): requests and errors since the rollout began."""


@event("aegis.rollout.finished")
@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFinished:
    """Promoted or rolled back, with the numbers that decided."""

    rollout: Rollout
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@event("dev.cdevents.service.rolledback")
@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRolledBack:
    """The GitOps repository says the earlier release again. Subject `environment/<service>/<environment>`."""

    from_release: str
    to_release: str
    commit: str
    reason: str


# -- intents, access, system ------------------------------------------------------------------------------


@event("aegis.action.intended")
@dataclass(frozen=True, slots=True, kw_only=True)
class ActionIntended:
    """Something outside is about to be done, under an idempotency key. The outcome follows on the same subject."""

    key: str
    port: str
    action: str
    detail: Mapping[str, str] = field(default_factory=dict)


@event("aegis.action.completed")
@dataclass(frozen=True, slots=True, kw_only=True)
class ActionCompleted:
    """The port did it; `found` when it had been done before an interruption."""

    key: str
    result: str = ""
    found: bool = False


@event("aegis.action.failed")
@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFailed:
    """The port could not."""

    key: str
    code: str
    message: str
    hint: str = ""


@event("aegis.access.denied")
@dataclass(frozen=True, slots=True, kw_only=True)
class AccessDenied:
    """An identity asked for what it may not do. Subject `identity/<id>`."""

    verb: str
    resource: str
    reason: str


@event("aegis.token.issued")
@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssued:
    """A token was made; only its hash is kept anywhere. Subject `identity/<id>`."""

    token: str
    identity: str
    scopes: tuple[str, ...]
    expires_at: datetime | None
    purpose: str = ""
    secret_hash: str = ""


@event("aegis.token.revoked")
@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRevoked:
    """A token counts no longer."""

    token: str
    reason: str = ""


@event("aegis.session.opened")
@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened:
    """Somebody logged in. Subject `identity/<id>`."""

    identity: str
    via: str


@event("aegis.policy.adopted")
@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyAdopted:
    """The declaration in force changed. Subject `policy`."""

    digest: str
    source: str


@event("aegis.server.started")
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStarted:
    """A server took the writer's place. Subject `server`."""

    version: str
    epoch: int


@event("aegis.server.stopped")
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStopped:
    """A server drained and stopped."""

    reason: str = ""


@event("aegis.ledger.erased")
@dataclass(frozen=True, slots=True, kw_only=True)
class DataErased:
    """Retention or law took the data (never the headers) of records. Subject `ledger`; ranges are inclusive."""

    ranges: tuple[tuple[int, int], ...]
    reason: str
    by: str


@event("aegis.promotion.reviewed")
@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionReviewed:
    """Another person looked at an emergency promotion afterwards. Subject `promotion/<id>`."""

    by: str
    comment: str = ""


@event("aegis.runner.registered")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerRegistered:
    """A remote runner may ask for jobs as `settings` say. Subject `runner/<id>`."""

    runner: str
    settings: RunnerSettings
    by: str


@event("aegis.runner.changed")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerChanged:
    """What a remote runner may take is different now: all of its settings, as they are."""

    runner: str
    settings: RunnerSettings
    by: str


@event("aegis.runner.removed")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerRemoved:
    """A remote runner gets no more jobs, and its token is worthless."""

    runner: str
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedImage:
    """An image that a clean-up removed, and why."""

    repository: str
    digest: str
    tags: tuple[str, ...]
    reason: str


@event("aegis.registry.cleaned")
@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryCleaned:
    """A clean-up removed images by policy and deleted content that nothing needs. Subject `registry`."""

    images: tuple[RemovedImage, ...]
    blobs: int
    freed: int


@event("aegis.registry.blob-damaged")
@dataclass(frozen=True, slots=True, kw_only=True)
class BlobDamaged:
    """What is stored no longer has its digest: it is refused until it is pushed again. Subject `blob/<digest>`."""

    digest: str


@event("aegis.retention.carried-out")
@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionCarriedOut:
    """Logs and files of runs past their time were deleted. Subject `retention/<kind>`.

    `kind` is `logs` or `release-logs`; `until` the last record of an ended run that was looked at.
    """

    kind: str
    until: int
    runs: int
    files: int
    freed: int


@event("aegis.package.yanked")
@dataclass(frozen=True, slots=True, kw_only=True)
class PackageYanked:
    """A file of an index is not chosen any more (PEP 592), or is again: `back`. Subject `package/<index>/<filename>`."""

    index: str
    filename: str
    reason: str = ""
    back: bool = False


@event("aegis.package.promoted")
@dataclass(frozen=True, slots=True, kw_only=True)
class PackagePromoted:
    """A file went from one index into another, the same bytes. Subject `package/<target>/<filename>`."""

    source: str
    target: str
    filename: str
    digest: str
