"""The ten types of a change's way to production. Each names its predecessor by id or digest.

    Change → Plan → Run → Artifact → Evidence → Verdict → Release → Promotion → Deployment → Rollout

`Plan` has a module of its own: `aegis.core.plan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Final

from aegis.core.errors import Where
from aegis.core.reuse import JobReuse
from aegis.core.spent import JobStep, JobUsage
from aegis.core.values import dataclass


class State(StrEnum):
    """A job's, stage's or run's state: GitLab's names."""

    CREATED = "created"
    WAITING_FOR_RESOURCE = "waiting_for_resource"
    PREPARING = "preparing"
    PENDING = "pending"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    SKIPPED = "skipped"
    MANUAL = "manual"
    SCHEDULED = "scheduled"

    @property
    def finished(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in _FINISHED


_FINISHED = frozenset({State.SUCCESS, State.FAILED, State.CANCELED, State.SKIPPED})


class Severity(StrEnum):
    """How bad a finding is: GitLab's names, most severe first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """What a gate says."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password
    WARN = "warn"
    BLOCK = "block"


class ArtifactKind(StrEnum):
    """What an artifact is."""

    WHEEL = "wheel"
    SDIST = "sdist"
    IMAGE = "image"
    CHART = "chart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A ref of a repository that moved. `pushed_by` was authenticated; `author_*` is what Git says."""

    id: str
    project: str
    ref: str
    commit: str
    before: str | None
    author_name: str
    author_email: str
    pushed_by: str
    message: str
    changed: tuple[str, ...]
    at: datetime
    merge_request: int | None = None
    source: str = "push"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file in the blob store. `kind` is `archive`, `trace`, or a report type of GitLab's (`junit`, …)."""

    name: str
    kind: str
    digest: str
    size: int


SYSTEM_REASONS: Final = frozenset(
    {
        "runner_system_failure", "image_pull_failure", "unmet_prerequisites", "scheduler_failure", "data_integrity_failure",
        "api_failure", "stuck_or_timeout_failure", "runner_unsupported", "archived_failure", "unknown_failure",
        "downstream_pipeline_creation_failed", "downstream_bridge_project_not_found", "insufficient_bridge_permissions",
        "reached_max_descendant_pipelines_depth",
    }
)  # fmt: skip
"""The failure reasons that say nothing of the job's code: the surroundings failed."""


TRIGGER: Final = "trigger"
"""Who is written down as the runner of a job that starts another pipeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """One job's course. `failure_reason` is one of GitLab's (`script_failure`, `runner_system_failure`, …)."""

    id: str
    name: str
    stage: str
    state: State = State.CREATED
    attempt: int = 1
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    failure_reason: str | None = None
    message: str = ""
    runner: str = ""
    isolation: str = ""
    network: str = ""
    """`none`, `registries`, `all`; empty where it is not known (remote runners, older records)."""
    trace: StoredFile | None = None
    files: tuple[StoredFile, ...] = ()
    coverage: float | None = None
    allow_failure: bool = False
    origin: str | None = None
    usage: JobUsage | None = None
    """None where its runner does not measure."""
    steps: tuple[JobStep, ...] = ()
    """Empty where its runner does not tell them apart."""
    files_until: datetime | None = None
    """When its files are to go (`artifacts:expire_in`); None: with the logs of its run."""
    reuse: JobReuse | None = None

    @property
    def reused_from(self) -> str:
        """`RUN/JOB` of the job whose result this is; empty for a job that was worked."""
        return f"{self.reuse.run}/{self.reuse.job}" if self.reuse is not None and self.reuse.run else ""

    @property
    def queue_seconds(self) -> float | None:
        """How long it waited for a runner; None while it waits."""
        return (self.started_at - self.queued_at).total_seconds() if self.started_at and self.queued_at else None

    @property
    def run_seconds(self) -> float | None:
        """How long it ran; None until it has ended."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at and self.started_at else None

    @property
    def fault(self) -> str:
        """`error` where the surroundings failed, `failure` where its code did, else empty."""
        if self.state is not State.FAILED:
            return ""
        if self.runner == TRIGGER and self.failure_reason == "unknown_failure":
            return "failure"  # the pipeline that it started failed, and says itself for what
        return "error" if self.failure_reason in SYSTEM_REASONS else "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSettings:
    """What a remote runner takes.

    It takes jobs whose tags it has all, jobs without tags where `run_untagged`, jobs of protected refs alone where
    `protected`, and only those of `projects` (paths, or groups) where some are named. `maximum_timeout` (seconds)
    bounds every job of it. `isolated` says that who registered it vouches for a machine or container per job.
    """

    description: str = ""
    tags: tuple[str, ...] = ()
    run_untagged: bool = False
    protected: bool = False
    paused: bool = False
    locked: bool = False
    projects: tuple[str, ...] = ()
    maximum_timeout: int | None = None
    isolated: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A plan being carried out. `plan` is the plan's digest; the plan itself lies in the blob store."""

    id: str
    project: str
    ref: str
    commit: str
    plan: str
    change: str
    source: str
    started_by: str
    state: State = State.CREATED
    jobs: tuple[JobRun, ...] = ()
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    release: str | None = None
    environment: str | None = None
    parent: str = ""
    """The run whose trigger job started this one; this run's id is then that job's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A wheel, image or chart, by digest. `repository` is where it lies now; `quarantined` until its verdict."""

    digest: str
    kind: ArtifactKind
    name: str
    version: str
    project: str
    commit: str
    run: str
    job: str
    repository: str
    size: int = 0
    tags: tuple[str, ...] = ()
    quarantined: bool = True
    filename: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, found by a tool. `fixed_in` and `mend` say what to do about it."""

    tool: str
    rule: str
    severity: Severity
    message: str
    mend: str = ""
    where: Where | None = None
    package: str = ""
    installed: str = ""
    fixed_in: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A signed claim about a commit or a digest. `uploaded_by` is the job; `template` marks an unchanged script."""

    id: str
    kind: str
    subject: str
    project: str
    digest: str
    media_type: str
    run: str
    uploaded_by: str
    template: str | None = None
    summary: Mapping[str, str] = field(default_factory=dict)
    signature: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a gate said what it said, with the mend."""

    gate: str
    outcome: Outcome
    message: str
    mend: str = ""
    where: Where | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gates say about a run, under one policy."""

    id: str
    project: str
    commit: str
    run: str
    outcome: Outcome
    reasons: tuple[Reason, ...]
    policy_digest: str
    evidence: tuple[str, ...] = ()
    at: datetime | None = None

    @property
    def blocking(self) -> tuple[Reason, ...]:
        """The reasons that block."""
        return tuple(reason for reason in self.reasons if reason.outcome is Outcome.BLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Version, artifacts and evidence joined: the immutable thing that is promoted. `id` is `service@version`.

    `involved` are the identities that pushed or merged anything in it since the previous release; `unmapped` the
    Git authors whom the declaration maps to nobody.
    """

    id: str
    project: str
    service: str
    version: str
    commit: str
    ref: str
    run: str
    verdict: str
    artifacts: tuple[Artifact, ...]
    evidence: tuple[str, ...]
    changelog: str = ""
    previous: str | None = None
    involved: tuple[str, ...] = ()
    unmapped: tuple[str, ...] = ()
    at: datetime | None = None

    @property
    def image(self) -> Artifact | None:
        """The image of a service's release; None for a library."""
        return next((one for one in self.artifacts if one.kind is ArtifactKind.IMAGE), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRelease:
    """What a job's `release:` published under a tag: texts and links. It is not promoted; `Release` is."""

    project: str
    tag: str
    name: str
    description: str
    commit: str
    run: str
    job: str
    by: str
    milestones: tuple[str, ...] = ()
    links: tuple[Mapping[str, str], ...] = ()
    released_at: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One person's yes or no to one plan hash."""

    by: str
    role: str
    granted: bool
    plan_hash: str
    at: datetime
    comment: str = ""


class PromotionState(StrEnum):
    """Where a promotion stands."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    REJECTED = "rejected"
    STALE = "stale"
    EXPIRED = "expired"
    COMMITTED = "committed"
    DEPLOYED = "deployed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The exact manifest change for one environment. `plan_hash` binds difference, base commit, release and policy."""

    id: str
    service: str
    environment: str
    release: str
    previous: str | None
    plan_hash: str
    base: str
    diff: str
    requested_by: str
    state: PromotionState = PromotionState.PROPOSED
    approvals: tuple[Approval, ...] = ()
    emergency: bool = False
    rollback: bool = False
    reason: str = ""
    commit: str | None = None
    requested_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedPromotion:
    """A promotion that policy or people let pass: only `access.approvals` makes one."""

    promotion: Promotion
    approved_by: tuple[str, ...]
    review_required: bool = False


class DeploymentState(StrEnum):
    """What the cluster shows of a promotion."""

    COMMITTED = "committed"
    SYNCED = "synced"
    PROGRESSING = "progressing"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    REVERTED = "reverted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A promotion as observed in the cluster."""

    id: str
    promotion: str
    service: str
    environment: str
    release: str
    commit: str
    state: DeploymentState
    reason: str = ""
    at: datetime | None = None


class RolloutState(StrEnum):
    """Where a rollout stands. WATCHING is after 100 %, within the declared watch."""

    PROGRESSING = "progressing"
    HELD = "held"
    WATCHING = "watching"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Traffic moved step by step. `weight` is the new version's share in percent; `evidence` is log-likelihood."""

    id: str
    deployment: str
    service: str
    environment: str
    release: str
    previous: str | None
    steps: tuple[int, ...]
    step: int = 0
    weight: int = 0
    state: RolloutState = RolloutState.PROGRESSING
    evidence: float = 0.0
    decision: str = ""
    forecast: str = ""
    started_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSample:
    """Cumulative counters of one version behind the traffic split; latencies in seconds as cumulative buckets."""

    version: str
    requests: int
    errors: int
    latency_sum: float = 0.0
    buckets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One version of a service as the cluster runs it. `processes` are ids on the local cluster, pods elsewhere."""

    service: str
    environment: str
    release: str
    digest: str
    replicas: int
    ready: int
    state: DeploymentState
    message: str = ""
    addresses: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    commit: str = ""
    since: datetime | None = None
