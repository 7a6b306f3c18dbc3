"""Every event that a transition can write: past tense, typed, versioned.

An event's `type` is CDEvents' name where that vocabulary has one, else `aegis.<noun>.<past participle>`. The
registry maps (type, version) to its class. Once written, a version is read forever: a changed shape is a new
class with the next version and a pure upcaster in `aegis.ledger`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from aegis.core.types import (
    Approval,
    Artifact,
    Change,
    Deployment,
    Evidence,
    JobRun,
    Promotion,
    Release,
    Rollout,
    Run,
    State,
    Verdict,
)

E = TypeVar("E", bound=type)

REGISTRY: Final[dict[tuple[str, int], type]] = {}
NAMES: Final[dict[type, tuple[str, int]]] = {}


def event(name: str, version: int = 1) -> Callable[[E], E]:
    """Register the decorated class under `name` and `version`, which must be new."""

    def register(kind: E) -> E:
        if (name, version) in REGISTRY:
            msg = f"event {name} v{version} is registered twice"
            raise ValueError(msg)
        REGISTRY[name, version] = kind
        NAMES[kind] = (name, version)
        return kind

    return register


# -- the envelope -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event about to be appended. `subject` is what it happened to (`run/…`, `promotion/…`), `cause` an event id."""

    subject: str
    data: object
    actor: str
    project: str = ""
    service: str = ""
    environment: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An event as stored. `data` is None where retention or law has erased it; `header` are the hashed bytes."""

    seq: int
    id: str
    recorded_at: datetime
    recorded_by: str
    actor: str
    project: str
    service: str
    environment: str
    type: str
    version: int
    subject: str
    subject_version: int
    cause: str
    data_digest: str
    prev: str
    hash: str
    data: object | None


# -- source -----------------------------------------------------------------------------------------------


@event("aegis.change.pushed")
@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePushed:
    """A ref moved in a repository. Subject `change/<id>`."""

    change: Change


@event("dev.cdevents.change.created")
@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestOpened:
    """Subject `merge-request/<project>/<number>`."""

    number: int
    title: str
    source_branch: str
    target_branch: str
    head: str
    opened_by: str
    description: str = ""


@event("dev.cdevents.change.updated")
@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestUpdated:
    """The source branch moved; what was approved or judged of the old head counts no longer."""

    number: int
    head: str
    by: str


@event("aegis.merge-request.noted")
@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestNoted:
    """The one note of Aegis on a merge request, replaced as a whole each time."""

    number: int
    head: str
    body: str


@event("dev.cdevents.change.merged")
@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestMerged:
    """A real Git merge was pushed to the target branch."""

    number: int
    commit: str
    merged_by: str


@event("dev.cdevents.change.abandoned")
@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestClosed:
    """Closed without a merge."""

    number: int
    by: str


# -- execution --------------------------------------------------------------------------------------------


@event("dev.cdevents.pipelinerun.queued")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunCreated:
    """A run with its plan's digest; `run.jobs` is empty, the plan in the blob store names them. Subject `run/<id>`."""

    run: Run
    job_count: int


@event("aegis.run.refused")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunRefused:
    """No pipeline could be made of a change: why, and the mend."""

    change: str
    commit: str
    ref: str
    code: str
    message: str
    hint: str = ""


@event("dev.cdevents.pipelinerun.started")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The first job was assigned."""

    run: str


@event("dev.cdevents.taskrun.started")
@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted:
    """A job was assigned to a runner."""

    job: JobRun


@event("dev.cdevents.taskrun.finished")
@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinished:
    """A job came to its end. `will_retry` when another attempt follows."""

    job: JobRun
    will_retry: bool = False


@event("aegis.job.changed")
@dataclass(frozen=True, slots=True, kw_only=True)
class JobChanged:
    """A person or rule changed a job that was not running: played, skipped, canceled, held, retried."""

    name: str
    state: State
    by: str
    reason: str = ""


@event("aegis.run.cancel-requested")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelRequested:
    """Somebody asked a run to stop."""

    run: str
    by: str
    reason: str = ""


@event("dev.cdevents.pipelinerun.finished")
@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """Every job has come to its end. `reused` counts the jobs whose recorded result was taken."""

    run: str
    state: State
    reused: int = 0


# -- artifacts, evidence, verdicts, releases --------------------------------------------------------------


@event("dev.cdevents.artifact.published")
@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactPublished:
    """A job published an artifact to quarantine. Subject `artifact/<digest>`."""

    artifact: Artifact


@event("aegis.artifact.released")
@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactReleased:
    """A verdict let an artifact out of quarantine."""

    digest: str
    repository: str
    tags: tuple[str, ...]
    verdict: str


@event("dev.cdevents.artifact.signed")
@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactSigned:
    """The server signed a digest; `key` is the fingerprint of the public key."""

    digest: str
    key: str
    signature: str


@event("aegis.artifact.quarantined")
@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactQuarantined:
    """A released digest must not be deployed again."""

    digest: str
    reason: str
    release: str = ""


@event("aegis.evidence.recorded")
@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRecorded:
    """A claim was signed and kept. Subject `run/<id>`."""

    evidence: Evidence


@event("aegis.verdict.given")
@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictGiven:
    """The gates judged a run. Subject `run/<id>`."""

    verdict: Verdict


@event("aegis.release.created")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseCreated:
    """A release was cut. Subject `release/<id>`."""

    release: Release


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
