"""What follows what: one table from an event to the commands that come next. Pure.

Whether a command does anything is its handler's decision, made against the ledger: an event that is seen twice
asks for the same commands twice, and the second time they find their work done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aegis.core import events
from aegis.core.events import Record
from aegis.core.types import DeploymentState
from aegis.delivery import commands as ask


def _pushed(record: Record, data: events.ChangePushed) -> tuple[object, ...]:
    change = data.change.id
    steps: list[object] = [ask.RefreshMergeRequests(change=change), ask.StartRun(change=change)]
    if record.environment == "policy":
        steps.append(ask.AdoptPolicy(change=change))
    return tuple(steps)


def _opened(record: Record, data: events.MergeRequestOpened) -> tuple[object, ...]:
    return (ask.StartRun(change=f"merge-request:{record.project}:{data.number}"),)


def _updated(record: Record, data: events.MergeRequestUpdated) -> tuple[object, ...]:
    return (ask.StartRun(change=f"merge-request:{record.project}:{data.number}"),)


def _run_finished(_record: Record, data: events.RunFinished) -> tuple[object, ...]:
    return (ask.JudgeRun(run=data.run),)


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


def _name(record: Record) -> str:
    return record.subject.partition("/")[2]


FLOW: Final[dict[type, Callable[[Record, Any], tuple[object, ...]]]] = {
    events.ChangePushed: _pushed,
    events.MergeRequestOpened: _opened,
    events.MergeRequestUpdated: _updated,
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
}


def follow(record: Record) -> tuple[object, ...]:
    """The commands that come after a record, in order."""
    step = FLOW.get(type(record.data))
    return step(record, record.data) if step else ()
