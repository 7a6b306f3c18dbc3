"""Sentences for the history of things: one per event type, in English; the portal translates by the type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aegis.core import events
from aegis.core.events import Record
from aegis.delivery.views import HistoryLine

_TEXTS: Final[dict[type, Callable[[Any], str]]] = {
    events.ChangePushed: lambda e: f"pushed {e.change.commit[:8]} to {e.change.ref.rsplit('/', 1)[-1]}",
    events.BranchDeleted: lambda e: f"deleted {e.ref.removeprefix('refs/heads/')}, which was at {e.commit[:8]}",
    events.RunCreated: lambda e: f"pipeline with {e.job_count} jobs began",
    events.RunRefused: lambda e: f"no pipeline: {e.message}",
    events.EnvironmentUsed: lambda e: (
        f"{e.environment.name}: {e.environment.action} by {e.job}{'' if e.ok else ', not passed'}"
    ),
    events.EnvironmentMade: lambda e: f"{e.name} made by hand",
    events.EnvironmentRemoved: lambda e: f"{e.name} removed",
    events.EnvironmentStopping: lambda e: f"{e.name} is to stop: {e.reason}",
    events.JobErased: lambda e: f"log and files of {e.job} erased",
    events.PagesAsked: lambda e: f"{e.job} asks for pages",
    events.PagesPublished: lambda e: f"pages of {e.deployment.project} are what {e.deployment.job} left",
    events.PagesRemoved: lambda e: f"pages of {e.project} removed",
    events.VariableSet: lambda e: f"variable {e.variable.key} of {e.variable.owner} set",
    events.VariableRemoved: lambda e: f"variable {e.key} of {e.owner} removed",
    events.RunFinished: lambda e: f"pipeline {e.state}",
    events.VerdictGiven: lambda e: f"the gates say {e.verdict.outcome}",
    events.ReleaseCreated: lambda e: f"released {e.release.id}",
    events.ReleaseAsked: lambda e: f"{e.job} asks for a release",
    events.ReleasePublished: lambda e: f"released {e.release.tag} of {e.release.project}",
    events.ArtifactSigned: lambda e: f"signed {e.digest[:19]}",
    events.ArtifactQuarantined: lambda e: f"quarantined {e.digest[:19]}: {e.reason}",
    events.EvidenceRecorded: lambda e: f"{e.evidence.kind} recorded {e.evidence.summary.get('result', '')}".strip(),
    events.PromotionProposed: lambda e: f"{e.promotion.release} proposed for {e.promotion.environment}",
    events.PromotionApproved: lambda e: f"approved by {e.approval.by} as {e.approval.role}",
    events.ApprovalRefused: lambda e: f"approval of {e.by} refused: {e.message}",
    events.PromotionRejected: lambda e: f"rejected by {e.approval.by}",
    events.PromotionVoided: lambda e: f"void ({e.why}): {e.message}",
    events.PromotionCommitted: lambda e: f"committed as {e.commit[:8]}",
    events.PromotionFinished: lambda e: ("done" if e.ok else "failed") + (f": {e.reason}" if e.reason else ""),
    events.DeploymentObserved: lambda e: f"{e.deployment.release} is {e.deployment.state}",
    events.RolloutStarted: lambda e: f"rollout of {e.rollout.release} began",
    events.RolloutStepped: lambda e: f"{e.rollout.weight} %: {e.rollout.decision}",
    events.RolloutFinished: lambda e: f"rollout {e.rollout.state}: {e.rollout.decision}",
    events.ServiceRolledBack: lambda e: f"returned from {e.from_release} to {e.to_release or 'nothing'}: {e.reason}",
    events.PackageYanked: lambda e: f"{e.filename} of {e.index} {'is back' if e.back else 'yanked: ' + e.reason}",
    events.PackagePromoted: lambda e: f"{e.filename}: {e.source} → {e.target}",
    events.RegistryCleaned: lambda e: f"cleaned up: {len(e.images)} images, {e.blobs} blobs",
    events.BlobDamaged: lambda e: f"found {e.digest[:19]} damaged",
    events.RetentionCarriedOut: lambda e: f"{e.kind} past their time deleted: {e.files} files",
    events.MergeRequestOpened: lambda e: f"!{e.number} opened: {e.title}",
    events.MergeRequestMerged: lambda e: f"!{e.number} merged by {e.merged_by}",
}


def line(record: Record) -> HistoryLine:
    """A record as a line to read."""
    text = _TEXTS.get(type(record.data))
    said = text(record.data) if text else record.type.rsplit(".", 1)[-1]
    return HistoryLine(
        seq=record.seq,
        at=record.recorded_at,
        actor=record.actor,
        type=record.type,
        text=said if record.data is not None else "erased",
        subject=record.subject,
    )
