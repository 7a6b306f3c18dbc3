"""What a team may declare about a rollout, and what it means.

Decides: defaults and what is consistent. Every window is declared, none is hidden in code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from aegis.core.errors import UserError

Kind = Literal["rolling", "canary", "blue-green"]


class OnTimeout(StrEnum):
    """What happens when a step's `maximum_seconds` have passed without a decision."""

    PROMOTE_IF_CLEAN = "promote-if-clean"
    HOLD = "hold"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How a new version takes over.

    - `steps`: the new version's share of traffic in percent, upwards, ending with 100.
    - `step_seconds`: the least time at a step; `minimum_requests`: the least the canary must have served in it.
    - `maximum_seconds`: the longest time at a step with traffic, then `on_timeout` decides.
    - `alpha`: bound on the probability of rolling a harmless change back; `beta`: bound on that of promoting one that is
      `margin` times worse. Both hold over the whole rollout, however often one looks.
    - `tolerated_rate`: the error rate that is shown to be undercut when neither side has errors.
    - `latency_seconds`: a slower answer is a bad one; None leaves latency out. Half of `alpha` goes to it.
    - `watch_seconds`: how long the new version is watched after 100 %.
    - `stale_seconds`: measurements older than this count as missing.
    """

    kind: Kind = "rolling"
    steps: tuple[int, ...] = (5, 25, 50, 100)
    step_seconds: float = 60.0
    minimum_requests: int = 50
    maximum_seconds: float = 3600.0
    on_timeout: OnTimeout = OnTimeout.HOLD
    alpha: float = 0.01
    beta: float = 0.05
    margin: float = 3.0
    tolerated_rate: float = 0.01
    latency_seconds: float | None = None
    watch_seconds: float = 600.0
    stale_seconds: float = 15.0

    def __post_init__(self) -> None:
        """Refuse what contradicts itself, in words."""
        rising = list(self.steps) == sorted(set(self.steps))
        wrong = (
            ("steps", not self.steps or not rising or self.steps[-1] != 100 or self.steps[0] < 1),
            ("alpha", not 0 < self.alpha < 1),
            ("beta", not 0 < self.beta < 1),
            ("margin", self.margin <= 1),
            ("tolerated_rate", not 0 < self.tolerated_rate < 1),
            ("minimum_requests", self.minimum_requests < 1),
            ("maximum_seconds", self.maximum_seconds < self.step_seconds or self.step_seconds < 0),
            ("watch_seconds", self.watch_seconds < 0),
        )
        for name, is_wrong in wrong:
            if is_wrong:
                raise UserError(
                    "rollout-strategy",
                    f"the rollout's {name} cannot be {getattr(self, name)!r}",
                    hint=_HINTS.get(name, ""),
                )

    @property
    def weights(self) -> tuple[int, ...]:
        """The steps that are really taken: blue-green and rolling switch at once."""
        return self.steps if self.kind == "canary" else (100,)


_HINTS = {
    "steps": "rising percentages that end with 100, for instance 5, 25, 50, 100",
    "alpha": "a probability such as 0.01",
    "beta": "a probability such as 0.05",
    "margin": "a ratio above 1, for instance 3: three times as many errors",
    "tolerated_rate": "a share such as 0.01 for one percent",
    "minimum_requests": "at least 1",
    "maximum_seconds": "at least step_seconds",
}
