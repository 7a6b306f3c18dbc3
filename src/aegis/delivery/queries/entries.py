"""The rows of the world projection: mutable, plain, and foldable from one subject's records as well.

A row older than the projection keeps is read by folding its subject again (`RunEntry.fold`), so memory stays
bounded and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from aegis.core import events
from aegis.core.events import Record
from aegis.core.types import (
    Approval,
    Artifact,
    Deployment,
    DeploymentState,
    Evidence,
    JobRun,
    Promotion,
    PromotionState,
    Release,
    Rollout,
    Run,
    State,
    Verdict,
)
from aegis.execution.outcomes import amended
from aegis.source.merge_requests import MergeRequest


@dataclass(slots=True, kw_only=True)
class RunEntry:
    """A run: its jobs by name (the latest attempt), its claims and its verdict."""

    run: Run
    job_count: int
    jobs: dict[str, JobRun] = field(default_factory=dict)
    evidence: list[Evidence] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    verdict: Verdict | None = None

    def apply(self, record: Record) -> None:
        """Take in one record of the run's subject."""
        match record.data:
            case events.RunStarted():
                self.run = replace(self.run, state=State.RUNNING, started_at=record.recorded_at)
            case events.JobStarted(job=job) | events.JobFinished(job=job):
                self.jobs[job.name] = job
            case events.ArtifactsKept() | events.ArtifactsErased() as change:
                self.jobs = {name: amended(job, change) for name, job in self.jobs.items()}
            case events.JobChanged(name=name, state=state):
                if name in self.jobs:
                    self.jobs[name] = replace(self.jobs[name], state=state)
                if self.run.state.finished and not state.finished:
                    self.run = replace(self.run, state=State.RUNNING, finished_at=None)  # it is retried
            case events.RunFinished(state=state):
                # A retried run ends again: what was claimed and judged of its earlier end counts no longer.
                self.evidence, self.verdict = [], None
                self.run = replace(self.run, state=state, finished_at=record.recorded_at)
            case events.EvidenceRecorded(evidence=evidence):
                self.evidence.append(evidence)
            case events.VerdictGiven(verdict=verdict):
                self.verdict = verdict
            case _:
                pass

    @classmethod
    def fold(cls, records: Iterable[Record]) -> RunEntry | None:
        """The row that a run's records make; None when they hold no run."""
        entry: RunEntry | None = None
        for record in records:
            if isinstance(record.data, events.RunCreated):
                entry = cls(
                    run=replace(record.data.run, created_at=record.recorded_at), job_count=record.data.job_count
                )
            elif entry is not None:
                entry.apply(record)
        return entry


@dataclass(slots=True, kw_only=True)
class PromotionEntry:
    """A promotion with the approvals that count."""

    promotion: Promotion
    version: int = 1
    review_required: bool = False
    complete: bool = False
    finished_at: datetime | None = None
    refusals: list[str] = field(default_factory=list)

    def apply(self, record: Record) -> None:
        """Take in one record of the promotion's subject."""
        self.version = record.subject_version
        promotion = self.promotion
        match record.data:
            case events.PromotionApproved(approval=approval, complete=complete, review_required=review):
                state = PromotionState.APPROVED if complete else promotion.state
                self.promotion = replace(promotion, approvals=(*promotion.approvals, approval), state=state)
                self.complete = self.complete or complete
                self.review_required = self.review_required or review
            case events.PromotionRejected(approval=approval):
                self.promotion = replace(
                    promotion, approvals=(*promotion.approvals, approval), state=PromotionState.REJECTED
                )
            case events.ApprovalRefused(message=message):
                self.refusals.append(message)
            case events.PromotionVoided(why=why, message=message):
                state = PromotionState.EXPIRED if why == "expired" else PromotionState.STALE
                self.promotion = replace(promotion, state=state, reason=message)
            case events.PromotionReviewed():
                self.review_required = False
            case events.PromotionCommitted(commit=commit):
                self.promotion = replace(promotion, state=PromotionState.COMMITTED, commit=commit)
            case events.PromotionFinished(ok=ok, reason=reason):
                state = PromotionState.DEPLOYED if ok else PromotionState.FAILED
                self.promotion = replace(promotion, state=state, reason=reason or promotion.reason)
                self.finished_at = record.recorded_at
            case _:
                pass

    @classmethod
    def fold(cls, records: Iterable[Record]) -> PromotionEntry | None:
        """The row that a promotion's records make."""
        entry: PromotionEntry | None = None
        for record in records:
            if isinstance(record.data, events.PromotionProposed):
                entry = cls(promotion=replace(record.data.promotion, requested_at=record.recorded_at))
            elif entry is not None:
                entry.apply(record)
        return entry

    @property
    def open(self) -> bool:
        """Whether something may still happen to it."""
        return self.promotion.state in (PromotionState.PROPOSED, PromotionState.APPROVED, PromotionState.COMMITTED)


@dataclass(slots=True, kw_only=True)
class CellEntry:
    """A service in an environment, as the ledger knows it."""

    service: str
    environment: str
    release: str | None = None
    previous: str | None = None
    commit: str = ""
    state: DeploymentState | None = None
    since: datetime | None = None
    why: str = ""
    promotion: str = ""
    deployment: str = ""

    def observe(self, deployment: Deployment, at: datetime) -> None:
        """Take in what the cluster showed of a deployment."""
        if deployment.state is DeploymentState.REVERTED:
            return
        if self.release != deployment.release:
            self.previous, self.release, self.since = self.release, deployment.release, at
        self.state, self.commit, self.deployment = deployment.state, deployment.commit, deployment.id
        if self.promotion != deployment.promotion or deployment.state is DeploymentState.DEGRADED:
            # The first observation says why it is there; later ones say how it is, which is a reason when it is not well.
            self.promotion, self.why = deployment.promotion, deployment.reason

    def roll_back(self, data: events.ServiceRolledBack, at: datetime) -> None:
        """Take in a return to an earlier release."""
        # What was left is quarantined or was taken back on purpose: it is nothing to return to.
        self.previous, self.release = None, data.to_release or None
        self.since, self.commit, self.why = at, data.commit, data.reason


@dataclass(slots=True, kw_only=True)
class RolloutEntry:
    """A rollout with its looks: (seconds, weight, evidence, canary requests, errors, baseline requests, errors)."""

    rollout: Rollout
    points: list[tuple[float, int, float, int, int, int, int]] = field(default_factory=list)

    def look(self, rollout: Rollout, counts: dict[str, tuple[int, int]], at: datetime) -> None:
        """Take in a rollout as stepped or finished."""
        start = self.rollout.started_at or at
        canary, baseline = counts.get("canary", (0, 0)), counts.get("baseline", (0, 0))
        self.rollout = replace(rollout, started_at=start, updated_at=at)
        self.points.append(((at - start).total_seconds(), rollout.weight, rollout.evidence, *canary, *baseline))
        if len(self.points) > 600:
            self.points = self.points[::2]


@dataclass(slots=True, kw_only=True)
class ReleaseEntry:
    """A release and what has become of its digest."""

    release: Release
    signature: str = ""
    quarantined: str = ""
    approvals: list[Approval] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    """What was proven of the release itself, after it was cut: end-to-end tests in an environment."""


@dataclass(slots=True, kw_only=True)
class MergeRequestEntry:
    """A merge request and the runs of its heads, oldest first."""

    request: MergeRequest
    runs: list[str] = field(default_factory=list)
