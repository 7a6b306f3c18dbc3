"""The next step of a rollout, from what was measured. Pure: the same history gives the same decision.

Decides: advance, hold, roll back, watch, promoted, with a reason for people and the numbers behind it.

- A breach decides always: at a step, while held, while watched (Flagger#1801 waits deaf).
- Missing measurements and missing traffic are no failures: the rollout holds and says so.
- A canary that the cluster calls DEGRADED rolls back without statistics.
- Intermediate steps only bound the exposure: they need time and requests and no lean towards "worse". The step to
  100 % needs the evidence.

Does not move traffic, and does not know what a rollback is made of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from aegis.core.types import DeploymentState, Rollout, RolloutState, Workload
from aegis.rollout import analysis
from aegis.rollout.analysis import Evidence
from aegis.rollout.forecast import forecast
from aegis.rollout.measurements import Measurement, Window, windows
from aegis.rollout.strategy import OnTimeout, Strategy

Counts = Mapping[str, tuple[int, int]]


class Verb(StrEnum):
    """What to do now."""

    ADVANCE = "advance"
    WAIT = "wait"
    HOLD = "hold"
    ROLLBACK = "rollback"
    WATCH = "watch"
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, why, and `rollout` as it stands once it is done. `weight` is the canary's share from now on.

    ADVANCE and WATCH: set the weight, then record `rollout`. WAIT: nothing to do or record. HOLD: nothing to do.
    ROLLBACK: weight 0, revert the commit. PROMOTED: the old version may go.
    """

    verb: Verb
    weight: int
    reason: str
    rollout: Rollout
    evidence: float
    counts: Counts
    forecast: str = ""

    @property
    def changed(self) -> bool:
        """Whether it is worth an event."""
        return self.verb is not Verb.WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """What one decision looks at."""

    strategy: Strategy
    rollout: Rollout
    windows: tuple[Window, ...]
    errors: Evidence
    slow: Evidence | None
    now: datetime
    elapsed: float
    stale: str

    @property
    def threshold(self) -> float:
        """log(1/α), with α shared between the tests that run."""
        tests = 1 if self.strategy.latency_seconds is None else 2
        return math.log(tests / self.strategy.alpha)


def begin(
    strategy: Strategy, rollout: Rollout, *, now: datetime, requests_per_minute: float, error_rate: float
) -> Rollout:
    """The rollout as it is announced: nothing moved yet, the forecast said."""
    expectation = forecast(strategy, requests_per_minute=requests_per_minute, error_rate=error_rate)
    return replace(
        rollout,
        steps=strategy.weights,
        step=0,
        weight=0,
        state=RolloutState.PROGRESSING,
        forecast=expectation.text,
        started_at=now,
        updated_at=now,
    )


def decide(
    strategy: Strategy,
    rollout: Rollout,
    history: Sequence[Measurement],
    now: datetime,
    *,
    canary: Workload | None = None,
    paused: bool = False,
) -> Decision:
    """What to do now. `history` are all measurements since the rollout began, in time order; `canary` the workload.

    `paused`: a person holds the rollout; it advances no further, and a breach still rolls back.
    """
    view = _look(strategy, rollout, history, now)
    if rollout.state in (RolloutState.PROMOTED, RolloutState.ROLLED_BACK):
        return _decision(view, Verb.WAIT, rollout.decision)
    if canary is not None and canary.state is DeploymentState.DEGRADED:
        words = canary.message or "not ready"
        return _decision(view, Verb.ROLLBACK, f"{rollout.release} is unhealthy in the cluster: {words}")
    if rollout.state is RolloutState.WATCHING:
        return _watch(view)
    breach = _breach(view)
    if breach:
        return _decision(view, Verb.ROLLBACK, breach)
    if paused:
        return _hold(view, f"held at {rollout.weight} % by a person")
    if rollout.weight == 0:
        return _open(view, canary)
    return _step(view)


# -- the look ---------------------------------------------------------------------------------------------


def _look(strategy: Strategy, rollout: Rollout, history: Sequence[Measurement], now: datetime) -> _View:
    made = windows(history, latency=strategy.latency_seconds)
    concurrent = [one for one in made if one.weight < 100]
    slow = None
    if strategy.latency_seconds is not None:
        slow = analysis.weigh((one.slow for one in concurrent if one.slow), margin=strategy.margin)
    since = rollout.updated_at or rollout.started_at or now
    return _View(
        strategy=strategy,
        rollout=rollout,
        windows=made,
        errors=analysis.weigh((one.errors for one in concurrent), margin=strategy.margin),
        slow=slow,
        now=now,
        elapsed=(now - since).total_seconds(),
        stale=_stale(strategy, history, made, now),
    )


def _stale(strategy: Strategy, history: Sequence[Measurement], made: Sequence[Window], now: datetime) -> str:
    """Why there is nothing to judge by, in words; empty when there is."""
    complete = [one for one in history if one.complete]
    if not complete:
        return "nothing has been measured yet" if not history else "the measurements are missing"
    age = (now - complete[-1].at).total_seconds()
    if age > strategy.stale_seconds:
        return f"the last measurement is {age:.0f} s old"
    # A latency that was declared and is not measured must not pass silently (Flagger#1581).
    if strategy.latency_seconds is not None and made and made[-1].slow is None:
        return f"latency is declared ({strategy.latency_seconds:g} s) and not measured"
    return ""


def _breach(view: _View) -> str:
    for name, evidence in (("errors", view.errors), ("slow answers", view.slow)):
        if evidence is not None and evidence.log_worse >= view.threshold:
            return (
                f"{view.rollout.release} has {_share(evidence.canary_bad, evidence.canary)} {name}, "
                f"{view.rollout.previous or 'the baseline'} beside it {_share(evidence.baseline_bad, evidence.baseline)}: "
                f"{_odds(evidence.log_worse)} times likelier if it is worse ({_odds(view.threshold)} decide)"
            )
    return ""


# -- steps ------------------------------------------------------------------------------------------------


def _open(view: _View, canary: Workload | None) -> Decision:
    """Before any traffic moved."""
    if canary is None or canary.state is not DeploymentState.HEALTHY:
        seen = f"{canary.ready} of {canary.replicas} replicas ready" if canary else "not started"
        return _decision(view, Verb.WAIT, f"{view.rollout.release} gets ready: {seen}")
    if view.rollout.previous is None:
        return _advance(view, 100, "there is no earlier version to compare with")
    first = view.strategy.weights[0]
    if first == 100:
        return _advance(view, 100, f"the new side is ready: {canary.ready} of {canary.replicas} replicas")
    return _advance(view, first, f"{view.rollout.release} is ready")


def _step(view: _View) -> Decision:
    if view.stale:
        return _hold(view, f"held at {view.rollout.weight} %: {view.stale}")
    served = sum(one.errors.canary for one in view.windows if one.weight == view.rollout.weight)
    if not served and view.elapsed >= view.strategy.step_seconds:
        return _hold(view, f"held at {view.rollout.weight} %: {view.rollout.release} has had no traffic")
    following = next((one for one in view.strategy.weights if one > view.rollout.weight), 100)
    missing = _missing(view, served, last=following == 100)
    if not missing:
        return _advance(view, following, f"{_comparison(view)}; no sign of being worse")
    if view.elapsed >= view.strategy.maximum_seconds:
        return _timeout(view, following, missing)
    return _wait(view, f"{view.rollout.weight} %: {missing}")


def _missing(view: _View, served: int, *, last: bool) -> str:
    """What the next step still needs, in words; empty when nothing."""
    strategy = view.strategy
    if view.elapsed < strategy.step_seconds:
        return f"{strategy.step_seconds - view.elapsed:.0f} s of this step are left"
    if served < strategy.minimum_requests:
        return f"{served} of {strategy.minimum_requests} requests served"
    lean = view.threshold / 4
    for name, evidence in (("errors", view.errors), ("slow answers", view.slow)):
        if evidence is None:
            continue
        if evidence.log_worse > lean:
            return f"{name} lean towards worse ({_odds(evidence.log_worse)} to 1), more evidence is needed"
        if last and not _safe(strategy, evidence):
            return f"{name}: {_safe_words(strategy, evidence)}"
    return ""


def _safe(strategy: Strategy, evidence: Evidence) -> bool:
    needed = math.log(1 / strategy.beta)
    return evidence.log_safe >= needed or evidence.log_clean(strategy.tolerated_rate) >= needed


def _safe_words(strategy: Strategy, evidence: Evidence) -> str:
    needed = math.log(1 / strategy.beta)
    if not evidence.canary_bad and not evidence.baseline_bad:
        requests = math.ceil(needed / -math.log1p(-strategy.tolerated_rate))
        return (
            f"none so far; {requests} requests without one show a rate under {strategy.tolerated_rate:.2%} "
            f"({evidence.canary} served)"
        )
    return (
        f"evidence that it is less than {strategy.margin:g} times worse is {_odds(max(0.0, evidence.log_safe))} to 1, "
        f"{_odds(needed)} to 1 is needed"
    )


def _timeout(view: _View, following: int, missing: str) -> Decision:
    waited = f"after {view.elapsed:.0f} s at {view.rollout.weight} %"
    if view.strategy.on_timeout is OnTimeout.ROLLBACK:
        return _decision(view, Verb.ROLLBACK, f"{waited} the evidence does not suffice ({missing})")
    leans = max(view.errors.log_worse, view.slow.log_worse if view.slow else 0.0) > 0
    if view.strategy.on_timeout is OnTimeout.PROMOTE_IF_CLEAN and not leans:
        return _advance(view, following, f"{waited} nothing speaks against it, as declared; missing was: {missing}")
    return _hold(view, f"held at {view.rollout.weight} % {waited}: {missing}")


# -- after 100 % ------------------------------------------------------------------------------------------


def _watch(view: _View) -> Decision:
    """Compare with what the baseline had before: weaker than side by side, because times differ."""
    watched = [one for one in view.windows if one.weight == 100]
    for name, evidence, series in (
        ("errors", view.errors, [(one.errors.canary, one.errors.canary_bad) for one in watched]),
        ("slow answers", view.slow, [(one.slow.canary, one.slow.canary_bad) for one in watched if one.slow]),
    ):
        if evidence is None:
            continue
        rate = analysis.recorded_rate(
            evidence.baseline_bad, evidence.baseline, fallback=view.strategy.tolerated_rate, phi=evidence.dispersion
        )
        worse = analysis.alone(series, rate)
        if worse >= view.threshold:
            bad, served = sum(one[1] for one in series), sum(one[0] for one in series)
            before = view.rollout.previous or "the declared tolerance"
            reason = (
                f"while watched {view.rollout.release} has {_share(bad, served)} {name}; {before} was recorded with at "
                f"most {rate:.2%} (not measured at the same time)"
            )
            return _decision(view, Verb.ROLLBACK, reason)
    left = view.strategy.watch_seconds - view.elapsed
    if left > 0:
        return _wait(view, f"watched for another {left:.0f} s")
    return _decision(view, Verb.PROMOTED, f"{view.rollout.release} has all traffic and stayed well while watched")


# -- answers ----------------------------------------------------------------------------------------------


def _advance(view: _View, weight: int, why: str) -> Decision:
    if weight == 100 and view.strategy.watch_seconds > 0:
        return _decision(view, Verb.WATCH, f"to 100 %: {why}", weight=100)
    if weight == 100:
        return _decision(view, Verb.PROMOTED, f"to 100 %: {why}", weight=100)
    return _decision(view, Verb.ADVANCE, f"to {weight} %: {why}", weight=weight)


def _wait(view: _View, reason: str) -> Decision:
    """Nothing to do; a rollout that was held and can go on again says so once."""
    if view.rollout.state is RolloutState.HELD:
        return _decision(view, Verb.ADVANCE, f"goes on: {reason}")
    return _decision(view, Verb.WAIT, reason)


def _hold(view: _View, reason: str) -> Decision:
    if view.rollout.state is RolloutState.HELD:
        return _decision(view, Verb.WAIT, reason)
    return _decision(view, Verb.HOLD, reason)


_STATES = {
    Verb.ADVANCE: RolloutState.PROGRESSING,
    Verb.HOLD: RolloutState.HELD,
    Verb.ROLLBACK: RolloutState.ROLLED_BACK,
    Verb.WATCH: RolloutState.WATCHING,
    Verb.PROMOTED: RolloutState.PROMOTED,
}


def _decision(view: _View, verb: Verb, reason: str, *, weight: int | None = None) -> Decision:
    before = view.rollout
    share = 0 if verb is Verb.ROLLBACK else before.weight if weight is None else weight
    worst = max(view.errors.log_worse, view.slow.log_worse if view.slow else 0.0)
    expectation = _forecast(view) if verb in (Verb.ADVANCE, Verb.HOLD, Verb.WAIT) else ""
    state = _STATES.get(verb, before.state)
    # The clock of a step runs from the change of weight; being held and going on again does not restart it.
    moved = share != before.weight or state not in (RolloutState.PROGRESSING, RolloutState.HELD, before.state)
    steps = before.steps or view.strategy.weights
    rollout = replace(
        before,
        steps=steps,
        step=steps.index(share) if share in steps else before.step,
        weight=share,
        state=state,
        evidence=worst,
        decision=reason,
        forecast=expectation or before.forecast,
        updated_at=view.now if moved else before.updated_at,
    )
    counts = {
        "canary": (sum(one.errors.canary for one in view.windows), sum(one.errors.canary_bad for one in view.windows)),
        "baseline": (view.errors.baseline, view.errors.baseline_bad),
    }
    return Decision(
        verb=verb,
        weight=share,
        reason=reason,
        rollout=rollout,
        evidence=worst,
        counts=counts,
        forecast=expectation,
    )


def _forecast(view: _View) -> str:
    if not view.windows:
        return ""
    minutes = (view.windows[-1].until - view.windows[0].since).total_seconds() / 60
    served = view.errors.canary + view.errors.baseline
    if minutes <= 0 or not view.errors.baseline:
        return ""
    expectation = forecast(view.strategy, requests_per_minute=served / minutes, error_rate=view.errors.baseline_rate)
    return expectation.text


def _comparison(view: _View) -> str:
    evidence = view.errors
    return (
        f"errors {_share(evidence.canary_bad, evidence.canary)} against "
        f"{_share(evidence.baseline_bad, evidence.baseline)} of the baseline"
    )


def _share(bad: int, served: int) -> str:
    return f"{bad / served:.2%} ({bad} of {served})" if served else "no requests"


def _odds(log: float) -> str:
    value = math.exp(min(log, 30.0))
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
