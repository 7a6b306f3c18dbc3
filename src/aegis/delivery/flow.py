"""What follows what: one table from an event to the commands that come next. Pure.

Whether a command does anything is its handler's decision, made against the ledger: an event that is seen twice
asks for the same commands twice, and the second time they find their work done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aegis.core import events
from aegis.core.events import Record
from aegis.core.types import DeploymentState, State
from aegis.delivery import commands as ask
from aegis.execution.progress import BRIDGE

SUPERSEDING: Final = frozenset({"push", "merge_request_event", "api", "web", "trigger"})
"""Sources of pipelines that make older ones of the same branch redundant."""


def _pushed(record: Record, data: events.ChangePushed) -> tuple[object, ...]:
    change = data.change.id
    steps: list[object] = [ask.RefreshMergeRequests(change=change), ask.StartRun(change=change)]
    if record.environment == "policy":
        steps.append(ask.AdoptPolicy(change=change))
    return tuple(steps)


def _deleted(record: Record, data: events.BranchDeleted) -> tuple[object, ...]:
    return (ask.StopAbandoned(project=record.project, ref=data.ref),)


def _ended_request(record: Record, data: events.MergeRequestMerged | events.MergeRequestClosed) -> tuple[object, ...]:
    return (ask.StopAbandoned(project=record.project, ref=f"refs/merge-requests/{data.number}/head"),)


def _used(record: Record, data: events.EnvironmentUsed) -> tuple[object, ...]:
    # Whoever deploys while its branch is deleted comes after the event that would have stopped it.
    late = data.environment.action == "start"
    return (ask.StopAbandoned(project=record.project, ref=data.ref),) if late else ()


def _opened(record: Record, data: events.MergeRequestOpened) -> tuple[object, ...]:
    return (ask.StartRun(change=f"merge-request:{record.project}:{data.number}"),)


def _updated(record: Record, data: events.MergeRequestUpdated) -> tuple[object, ...]:
    return (ask.StartRun(change=f"merge-request:{record.project}:{data.number}"),)


def _run_created(_record: Record, data: events.RunCreated) -> tuple[object, ...]:
    supersedes = data.run.source in SUPERSEDING and not data.run.parent
    return (ask.SupersedeRuns(run=data.run.id),) if supersedes else ()


def _job_started(record: Record, data: events.JobStarted) -> tuple[object, ...]:
    bridge = data.job.runner == BRIDGE.name
    return (ask.StartDownstream(run=_name(record), job=data.job.name),) if bridge else ()


def _job_finished(_record: Record, data: events.JobFinished) -> tuple[object, ...]:
    stopped = data.job.runner == BRIDGE.name and data.job.state is State.CANCELED
    return (ask.CancelDownstream(run=data.job.id),) if stopped else ()


def _job_changed(record: Record, data: events.JobChanged) -> tuple[object, ...]:
    return () if data.state.finished else (ask.ResumeUpstream(run=_name(record)),)


def _release_asked(record: Record, data: events.ReleaseAsked) -> tuple[object, ...]:
    return (ask.PublishRelease(run=_name(record), job=data.job),)


def _pages_asked(record: Record, data: events.PagesAsked) -> tuple[object, ...]:
    return (ask.PublishPages(run=_name(record), job=data.job),)


def _cancel_asked(_record: Record, data: events.RunCancelRequested) -> tuple[object, ...]:
    return (ask.CancelDownstream(run=data.run),)


def _run_finished(_record: Record, data: events.RunFinished) -> tuple[object, ...]:
    return (ask.ConcludeDownstream(run=data.run), ask.JudgeRun(run=data.run))


def _judged(_record: Record, data: events.VerdictGiven) -> tuple[object, ...]:
    run = data.verdict.run
    return (ask.NoteMergeRequest(run=run), ask.CutRelease(run=run))


def _released(_record: Record, data: events.ReleaseCreated) -> tuple[object, ...]:
    return (ask.ProposePromotion(release=data.release.id),)


def _claimed(_record: Record, data: events.EvidenceRecorded) -> tuple[object, ...]:
    release = data.evidence.summary.get("release", "")
    return (ask.ProposePromotion(release=release),) if release else ()


def _promoted(_record: Record, data: events.PromotionProposed) -> tuple[object, ...]:
    return (ask.DecideAutomatically(promotion=data.promotion.id),)


def _approved(record: Record, data: events.PromotionApproved) -> tuple[object, ...]:
    return (ask.CommitPromotion(promotion=_name(record)),) if data.complete else ()


def _committed(record: Record, _data: events.PromotionCommitted) -> tuple[object, ...]:
    return (ask.SyncEnvironment(service=record.service, environment=record.environment, promotion=_name(record)),)


def _observed(_record: Record, data: events.DeploymentObserved) -> tuple[object, ...]:
    settled = data.deployment.state in (DeploymentState.HEALTHY, DeploymentState.DEGRADED)
    return (ask.ConcludeDeployment(deployment=data.deployment.id),) if settled else ()


def _rolled_out(_record: Record, data: events.RolloutFinished) -> tuple[object, ...]:
    return (ask.ConcludeRollout(rollout=data.rollout.id),)


def _ended(record: Record, data: events.PromotionFinished | events.PromotionVoided) -> tuple[object, ...]:
    steps: list[object] = [ask.ResumePromotions(service=record.service, environment=record.environment)]
    if isinstance(data, events.PromotionFinished) and data.ok:
        steps.append(ask.VerifyEnvironment(promotion=_name(record)))
    return tuple(steps)


def _adopted(_record: Record, _data: events.PolicyAdopted) -> tuple[object, ...]:
    return (ask.RescanReleases(),)


def _name(record: Record) -> str:
    return record.subject.partition("/")[2]


FLOW: Final[dict[type, Callable[[Record, Any], tuple[object, ...]]]] = {
    events.ChangePushed: _pushed,
    events.MergeRequestOpened: _opened,
    events.MergeRequestUpdated: _updated,
    events.BranchDeleted: _deleted,
    events.MergeRequestMerged: _ended_request,
    events.MergeRequestClosed: _ended_request,
    events.EnvironmentUsed: _used,
    events.RunCreated: _run_created,
    events.JobStarted: _job_started,
    events.JobFinished: _job_finished,
    events.JobChanged: _job_changed,
    events.ReleaseAsked: _release_asked,
    events.PagesAsked: _pages_asked,
    events.RunCancelRequested: _cancel_asked,
    events.RunFinished: _run_finished,
    events.VerdictGiven: _judged,
    events.ReleaseCreated: _released,
    events.EvidenceRecorded: _claimed,
    events.PromotionProposed: _promoted,
    events.PromotionApproved: _approved,
    events.PromotionCommitted: _committed,
    events.DeploymentObserved: _observed,
    events.RolloutFinished: _rolled_out,
    events.PromotionFinished: _ended,
    events.PromotionVoided: _ended,
    events.PolicyAdopted: _adopted,
}


def follow(record: Record) -> tuple[object, ...]:
    """The commands that come after a record, in order."""
    step = FLOW.get(type(record.data))
    return step(record, record.data) if step else ()
