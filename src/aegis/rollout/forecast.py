"""How long a rollout will take, said before it begins and corrected while it runs.

From traffic and error rate by the expected growth of the evidence per minute (a Kullback–Leibler divergence).
Decides nothing; an estimate, and called one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from aegis.rollout.strategy import Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Expected minutes until 100 % of traffic if all is well, and until a rollback if the canary is `margin` times worse.

    `inconclusive` when a step's longest time will probably pass first; None as minutes means never.
    """

    promote_minutes: float | None
    detect_minutes: float | None
    inconclusive: bool
    text: str


def forecast(strategy: Strategy, *, requests_per_minute: float, error_rate: float) -> Forecast:
    """The expectation from what the baseline serves now; `error_rate` is a share."""
    if requests_per_minute <= 0:
        return Forecast(
            promote_minutes=None,
            detect_minutes=None,
            inconclusive=True,
            text="there is no traffic: the rollout will hold until there is some",
        )
    shares = [weight / 100 for weight in strategy.weights if weight < 100]
    if not shares:
        text = f"switches at once, then watched for {_span(strategy.watch_seconds / 60)}"
        return Forecast(promote_minutes=0.0, detect_minutes=None, inconclusive=False, text=text)
    minutes, inconclusive = _promotion(strategy, shares, requests_per_minute, error_rate)
    detect = _detection(strategy, shares[0], requests_per_minute, error_rate)
    return Forecast(
        promote_minutes=minutes,
        detect_minutes=detect,
        inconclusive=inconclusive,
        text=_text(strategy, minutes, detect, requests_per_minute, inconclusive=inconclusive),
    )


def _promotion(strategy: Strategy, shares: list[float], traffic: float, rate: float) -> tuple[float, bool]:
    """Minutes until 100 %, and whether a step's longest time comes first."""
    needed = math.log(1 / strategy.beta)
    total, evidence, inconclusive = 0.0, 0.0, False
    limit = strategy.maximum_seconds / 60
    for index, share in enumerate(shares):
        gain = _gain_per_minute(strategy, share, traffic, rate)
        time = max(strategy.step_seconds / 60, strategy.minimum_requests / (traffic * share))
        if index == len(shares) - 1:
            time = max(time, (needed - evidence) / gain if gain > 0 else math.inf)
        if time > limit:
            time, inconclusive = limit, True
        total += time
        evidence += gain * time
    return total, inconclusive


def _gain_per_minute(strategy: Strategy, share: float, traffic: float, rate: float) -> float:
    if rate <= 0:
        return traffic * share * -math.log1p(-strategy.tolerated_rate)
    biased = _biased(share, strategy.margin)
    return traffic * rate * (share * math.log(share / biased) + (1 - share) * math.log((1 - share) / (1 - biased)))


def _biased(share: float, ratio: float) -> float:
    return share * ratio / (share * ratio + 1 - share)


def _detection(strategy: Strategy, share: float, traffic: float, rate: float) -> float:
    """Minutes until evidence of `margin` reaches 1/α at the first step; without errors the canary's are taken as 1 %."""
    biased = _biased(share, strategy.margin) if rate > 0 else 0.999
    bad = traffic * rate * (share * strategy.margin + 1 - share) if rate > 0 else traffic * share * 0.01
    gain = biased * math.log(biased / share) + (1 - biased) * math.log((1 - biased) / (1 - share))
    return (math.log(1 / strategy.alpha) + math.log(6)) / (bad * gain)


def _text(strategy: Strategy, minutes: float, detect: float, traffic: float, *, inconclusive: bool) -> str:
    now = f"at {traffic:.0f} requests a minute"
    if inconclusive:
        return (
            f"{now} the evidence will probably not suffice within {_span(strategy.maximum_seconds / 60)} a step; "
            f"then: {strategy.on_timeout.value}"
        )
    return f"about {_span(minutes)} to 100 % {now}; {strategy.margin:g} times as many errors would show in about {_span(detect)}"


def _span(minutes: float) -> str:
    if minutes < 1.5:
        return f"{max(1, round(minutes * 60))} s"
    return f"{round(minutes)} min" if minutes < 120 else f"{minutes / 60:.0f} h"
