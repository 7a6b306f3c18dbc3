"""Rollouts: one look at a time, measured, decided purely, acted on, written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aegis.core import events
from aegis.core.errors import NotFound
from aegis.core.events import Draft
from aegis.core.types import PromotionState, Rollout, RolloutState, Workload
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers.deployments import revert, settle, workloads
from aegis.delivery.handlers.promotions import draft, promotion_of
from aegis.delivery.views import Result
from aegis.rollout import decide as rules
from aegis.rollout.measurements import Measurement, measurement

OVER = frozenset({RolloutState.PROMOTED, RolloutState.ROLLED_BACK})


def rollout_of(context: Context, rollout_id: str) -> tuple[Rollout, int]:
    """A rollout and its subject's version, from the writer's state."""
    found: Rollout | None = None
    version = 0
    for record in context.subject(f"rollout/{rollout_id}"):
        if isinstance(record.data, events.RolloutStarted | events.RolloutStepped | events.RolloutFinished):
            found, version = record.data.rollout, record.subject_version
    if found is None:
        raise NotFound("no-such-rollout", f"there is no rollout {rollout_id!r}")
    return found, version


def measure(context: Context, rollout: Rollout) -> Measurement:
    """One look at the traffic of both versions."""
    return measurement(
        context.traffic.samples(rollout.service, rollout.environment),
        at=context.clock.now(),
        weight=rollout.weight,
        canary=rollout.release,
        baseline=rollout.previous,
    )


def step(
    context: Context, rollout_id: str, history: Sequence[Measurement], asking: Asking, *, rate: tuple[float, float]
) -> Rollout:
    """Decide and act once. `rate` is requests per minute and error share before the rollout, for its forecast."""
    rollout, version = rollout_of(context, rollout_id)
    if rollout.state in OVER:
        return rollout
    strategy = context.options.strategy(rollout.service, rollout.environment)
    now = context.clock.now()
    if rollout.started_at is None:
        rollout = rules.begin(strategy, rollout, now=now, requests_per_minute=rate[0], error_rate=rate[1])
        _record(context, events.RolloutStepped(rollout=rollout), rollout, version, asking)
        return rollout
    running = {one.release: one for one in workloads(context, rollout.service, rollout.environment)}
    decision = rules.decide(strategy, rollout, history, now, canary=running.get(rollout.release))
    if decision.verb in (rules.Verb.ADVANCE, rules.Verb.WATCH):
        shift(context, rollout, running, decision.weight)
    elif decision.verb is rules.Verb.ROLLBACK:
        shift(context, rollout, running, 0)
    if not decision.changed and not _worth_showing(rollout, decision):
        return rollout
    counts = dict(decision.counts)
    event: object = events.RolloutStepped(rollout=decision.rollout, counts=counts)
    if decision.rollout.state in OVER:
        event = events.RolloutFinished(rollout=decision.rollout, counts=counts)
    _record(context, event, rollout, version, asking)
    return decision.rollout


def _worth_showing(rollout: Rollout, decision: rules.Decision) -> bool:
    """A look that changes nothing is written down when its sentence is new: the portal says what is waited for."""
    return decision.verb is rules.Verb.HOLD and decision.reason != rollout.decision


def shift(context: Context, rollout: Rollout, running: Mapping[str, Workload], weight: int) -> None:
    """Give the new version `weight` percent and its predecessor the rest."""
    split = {}
    for release, share in ((rollout.release, weight), (rollout.previous or "", 100 - weight)):
        workload = running.get(release)
        if workload is not None and workload.addresses:
            split[release] = (workload.addresses, share)
    context.traffic.set_weights(rollout.service, rollout.environment, split)


def _record(context: Context, event: object, rollout: Rollout, version: int, asking: Asking) -> None:
    subject = f"rollout/{rollout.id}"
    written = Draft(
        subject=subject,
        data=event,
        actor=asking.actor.id,
        service=rollout.service,
        environment=rollout.environment,
        cause=asking.cause,
    )
    context.append(written, expect={subject: version})


@handles(ask.ConcludeRollout)
def conclude(context: Context, command: ask.ConcludeRollout, asking: Asking) -> Result:
    """Keep a promoted release and let the old one end; take a rolled back one out of Git and quarantine it."""
    rollout, _ = rollout_of(context, command.rollout)
    entry = promotion_of(context, rollout.deployment)
    if entry.promotion.state is not PromotionState.COMMITTED:
        return Result(seq=context.ledger.head().seq, message=f"promotion is {entry.promotion.state}")
    if rollout.state is RolloutState.ROLLED_BACK:
        return revert(context, entry.promotion, rollout.decision, asking)
    settle(context, rollout.service, rollout.environment, rollout.release)
    finished = events.PromotionFinished(ok=True, reason=rollout.decision)
    seq = context.append(
        draft(entry.promotion, finished, asking), expect={f"promotion/{entry.promotion.id}": entry.version}
    )
    return Result(seq=seq, message=f"{rollout.release} has all traffic of {rollout.environment}")
