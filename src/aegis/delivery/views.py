"""What a page, an API or a command reads: frozen views, and the two protocols that the doors are given.

Views hold values ready to show, never anything to decide with. Times are UTC; a view says the ledger sequence
number (`seq`) that it reflects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

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
from aegis.delivery.why_views import WhyView


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
    seq: int = 0


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
class MachineView:
    """A machine that works under a remote runner's token, as it last told of itself."""

    system_id: str
    contacted_at: datetime
    version: str = ""
    platform: str = ""
    architecture: str = ""
    executor: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerView:
    """A remote runner. `status` is `online`, `offline`, `stale` or `never_contacted`, by its machines' last word."""

    id: str
    number: int
    description: str
    tags: tuple[str, ...]
    run_untagged: bool
    protected: bool
    paused: bool
    locked: bool
    projects: tuple[str, ...]
    maximum_timeout: int | None
    isolated: bool
    note: str
    registered_by: str
    status: str
    contacted_at: datetime | None = None
    machines: tuple[MachineView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command answers: the ledger sequence number it reached, a sentence, the subject, values."""

    seq: int
    message: str
    subject: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    dry_run: bool = False


class Queries(Protocol):
    """What may be read. Every method checks that `actor` may see it (`Denied`, `NotFound`) and never blocks on a writer.

    `min_seq` waits (at most two seconds) until the view reflects that ledger sequence number.
    """

    def home(self, actor: Actor, *, min_seq: int = 0) -> HomeView:
        """The first page."""
        ...

    def runs(self, actor: Actor, *, project: str = "", limit: int = 30, before: str = "") -> tuple[RunSummary, ...]:
        """Runs, newest first; `before` is a run id to page on."""
        ...

    def run(self, actor: Actor, run: str, *, min_seq: int = 0) -> RunView:
        """One run."""
        ...

    def why(self, actor: Actor, run: str, job: str) -> WhyView:
        """Why a job of a run waits or is slow; `NotFound`."""
        ...

    def trace(self, actor: Actor, run: str, job: str, *, offset: int = 0, limit: int = 1 << 20) -> TraceChunk:
        """A job's log; `job` is a name or id. Masked already."""
        ...

    def trace_wait(self, actor: Actor, run: str, job: str, *, offset: int, timeout: float) -> bool:
        """Block until there is more beyond `offset`, or the log is complete (True), or time is up (False)."""
        ...

    def promotions(self, actor: Actor, *, waiting: bool = False, limit: int = 50) -> tuple[PromotionView, ...]:
        """Promotions, newest first."""
        ...

    def promotion(self, actor: Actor, promotion: str, *, min_seq: int = 0) -> PromotionView:
        """One promotion."""
        ...

    def rollout(self, actor: Actor, rollout: str, *, min_seq: int = 0) -> RolloutView:
        """One rollout."""
        ...

    def releases(self, actor: Actor, *, service: str = "", limit: int = 50) -> tuple[Release, ...]:
        """Releases, newest first."""
        ...

    def release(self, actor: Actor, release: str, *, min_seq: int = 0) -> ReleaseView:
        """One release."""
        ...

    def merge_requests(self, actor: Actor, *, project: str = "", state: str = "opened") -> tuple[MergeRequestView, ...]:
        """Merge requests, newest first."""
        ...

    def merge_request(self, actor: Actor, project: str, number: int, *, min_seq: int = 0) -> MergeRequestView:
        """One merge request."""
        ...

    def at(self, actor: Actor, time: datetime | None, *, min_seq: int = 0) -> AtView:
        """What ran at a time (None: now), since when and why."""
        ...

    def inbox(self, actor: Actor, *, include_resolved: bool = False) -> tuple[InboxEntry, ...]:
        """What concerns the actor."""
        ...

    def runners(self, actor: Actor) -> tuple[RunnerView, ...]:
        """Remote runners, oldest first."""
        ...

    def status_page(self) -> StatusView:
        """The public page; needs no actor."""
        ...


class Commands(Protocol):
    """What may be asked: one registry of verbs for command line, API, portal and chat."""

    def execute(self, verb: str, fields: Mapping[str, Any], actor: Actor, *, dry_run: bool = False) -> Result:
        """Carry out a verb. Raises the error families; `Denied` is recorded in the ledger.

        Verbs of the portal: `approve` and `reject` {promotion, plan_hash, comment}, `promote` {service, environment,
        release, emergency, reason}, `rollback` {service, environment, release, reason}, `cancel` {run},
        `retry` {run, job}, `play` {run, job}, `merge` {project, number}, `close` {project, number}.
        """
        ...


class Sessions(Protocol):
    """Web sessions: a cookie's value stands for an identity until it expires or is closed."""

    def open(self, credential: str) -> str:
        """A session for a token or a one-time login link's code; `Denied` when it is neither. The cookie's value."""
        ...

    def resolve(self, cookie: str) -> Actor | None:
        """Who that is, or None."""
        ...

    def close(self, cookie: str) -> None:
        """Log out; no error when there is no such session."""
        ...


class Credentials(Protocol):
    """Who speaks, from what a request carries."""

    def actor(self, authorization: str | None, cookie: str | None = None) -> Actor:
        """The actor of `Authorization: Bearer TOKEN` or Basic (password = token), or of a session cookie; else `Denied`."""
        ...


class Stream(Protocol):
    """The ledger as a stream for doors: cheap, bounded, resumable by sequence number."""

    def after(self, seq: int, limit: int = 500) -> tuple[Mapping[str, Any], ...]:
        """Plain records beyond `seq`: seq, id, at, type, subject, actor, project, service, environment, data."""
        ...

    def head(self) -> int:
        """The last durable sequence number."""
        ...

    def wait(self, after: int, timeout: float) -> bool:
        """Block until the head is beyond `after` or time is up."""
        ...
