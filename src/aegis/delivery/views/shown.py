"""The frozen values of views, ready to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aegis.core.types import (
    Approval,
    Artifact,
    DeploymentState,
    Evidence,
    JobRun,
    Promotion,
    Release,
    Rollout,
    State,
    Verdict,
    Workload,
)
from aegis.observe.course import Course


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks. `grant` names the kind of credential: `user`, `session`, `job`, `deploy`, `system`."""

    id: str
    name: str
    groups: tuple[str, ...] = ()
    kind: str = "user"
    language: str = ""
    scopes: tuple[str, ...] = ()
    project: str = ""
    run: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One service in one environment: what runs there since when and why. `release` is None before the first."""

    service: str
    environment: str
    release: str | None = None
    version: str = ""
    commit: str = ""
    digest: str = ""
    state: DeploymentState | None = None
    since: datetime | None = None
    why: str = ""
    promotion: str = ""
    rollout: Rollout | None = None
    pending: str | None = None
    """The id of a promotion that is on its way or waits."""
    url: str = ""
    previous: str | None = None
    workloads: tuple[Workload, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job of a run as shown; `needs` are names; `usual_seconds` from earlier runs, None when unknown."""

    job: JobRun
    needs: tuple[str, ...] = ()
    reason: str = ""
    usual_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run in a list."""

    id: str
    project: str
    ref: str
    commit: str
    title: str
    source: str
    started_by: str
    state: State
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    jobs: tuple[JobRun, ...] = ()
    job_count: int = 0
    verdict: str = ""
    """`pass`, `warn`, `block`, or empty before the verdict."""
    merge_request: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why something failed, and the mend."""

    job: str
    code: str
    message: str
    hint: str
    evidence: tuple[str, ...] = ()
    confidence: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """Everything about a run."""

    summary: RunSummary
    stages: tuple[str, ...]
    jobs: tuple[JobView, ...]
    excluded: tuple[tuple[str, str], ...] = ()
    verdict: Verdict | None = None
    evidence: tuple[Evidence, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    causes: tuple[Cause, ...] = ()
    release: str | None = None
    isolation: str = ""
    course: Course = field(default_factory=Course)
    """Its critical path, what that waited for, what would have saved most."""
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInputs:
    """What a job was made of beside its commit; values of masked variables never stand in it."""

    name: str
    image: str = ""
    services: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    script: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInputs:
    """What a run was made of: its commit, the versions that the commit's locks name, and its jobs."""

    run: str
    commit: str
    locks: Mapping[str, Mapping[str, str]]
    jobs: tuple[JobInputs, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnvironment:
    """An environment that a job has deployed. `deployed_at` is None until such a job has passed."""

    project: str
    name: str
    state: str
    tier: str = ""
    url: str = ""
    ref: str = ""
    commit: str = ""
    run: str = ""
    job: str = ""
    stop_job: str = ""
    deployed_at: datetime | None = None
    stops_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionView:
    """A promotion with what an approver needs to know. `may_approve` is for the actor who asked; else `why_not`."""

    promotion: Promotion
    release: Release | None
    verdict: Verdict | None
    evidence: tuple[Evidence, ...] = ()
    requested_by: str = ""
    required: int = 1
    may_approve: bool = False
    why_not: str = ""
    stale: bool = False
    deployment: DeploymentState | None = None
    rollout: Rollout | None = None
    review_required: bool = False
    forecast: str = ""
    history: tuple[HistoryLine, ...] = ()
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """One thing that happened, for reading: time, who, an event's type, a sentence."""

    seq: int
    at: datetime
    actor: str
    type: str
    text: str
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPoint:
    """A rollout at one look: seconds since its start, weight, log-evidence, counts per side."""

    seconds: float
    weight: int
    evidence: float
    canary_requests: int
    canary_errors: int
    baseline_requests: int
    baseline_errors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutView:
    """A rollout with its course. Bounds are log-evidence: roll back at `upper`, promote at `lower`."""

    rollout: Rollout
    points: tuple[RolloutPoint, ...]
    upper: float
    lower: float
    promotion: str = ""
    commit: str = ""
    previous_commit: str = ""
    url: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseView:
    """A release: where it came from, what is in it, where it runs."""

    release: Release
    verdict: Verdict | None
    evidence: tuple[Evidence, ...]
    running_in: tuple[Cell, ...] = ()
    quarantined: str = ""
    """Why its digest must not be deployed again; empty when it may."""
    signature: str = ""
    approvals: tuple[Approval, ...] = ()
    history: tuple[HistoryLine, ...] = ()
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestView:
    """A merge request. `state` is `opened`, `merged` or `closed`; `note` is Markdown."""

    project: str
    number: int
    title: str
    description: str
    state: str
    source_branch: str
    target_branch: str
    head: str
    opened_by: str
    note: str = ""
    verdict: str = ""
    runs: tuple[RunSummary, ...] = ()
    merged_by: str = ""
    merge_commit: str = ""
    may_merge: bool = False
    why_not: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxEntry:
    """One failure or request, updated and never repeated. `title` is a message id with `params`."""

    key: str
    kind: str
    title: str
    params: Mapping[str, str]
    severity: str
    first_at: datetime
    last_at: datetime
    count: int = 1
    resolved_at: datetime | None = None
    link: str = ""
    audience: tuple[str, ...] = ()
    hint: str = ""
    project: str = ""
    service: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeView:
    """The first page: the matrix, what runs, what waits, and for whom."""

    services: tuple[str, ...]
    environments: tuple[str, ...]
    cells: tuple[Cell, ...]
    runs: tuple[RunSummary, ...]
    waiting: tuple[PromotionView, ...]
    merge_requests: tuple[MergeRequestView, ...]
    rollouts: tuple[Rollout, ...]
    inbox: tuple[InboxEntry, ...]
    libraries: tuple[Release, ...] = ()
    warnings: tuple[str, ...] = ()
    """Things about this server that a person should know (unprotected keys, jobs without isolation, …)."""
    name: str = ""
    seq: int = 0

    def cell(self, service: str, environment: str) -> Cell:
        """The cell of a service and environment; an empty one where nothing runs yet."""
        for cell in self.cells:
            if cell.service == service and cell.environment == environment:
                return cell
        return Cell(service=service, environment=environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class AtView:
    """What ran at a time, and why."""

    at: datetime
    cells: tuple[Cell, ...]
    services: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusLine:
    """One service on the public status page: `operational`, `degraded`, `deploying`, `unknown`."""

    service: str
    state: str
    since: datetime | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """The public status page: nothing that is not meant for everybody."""

    name: str
    lines: tuple[StatusLine, ...]
    incidents: tuple[HistoryLine, ...] = ()
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceChunk:
    """Bytes of a job's log from `offset`; `next_offset` resumes; `complete` when no more will come."""

    data: bytes
    offset: int
    next_offset: int
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command answers: the ledger sequence number it reached, a sentence, the subject, values."""

    seq: int
    message: str
    subject: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    dry_run: bool = False
