"""DORA's measures of delivery from deployments, with definitions that say what is counted. Pure.

Sources: dora.dev/guides/dora-metrics-four-keys and its fifth measure, deployment rework rate (2024).

| measure | numerator / denominator, and what it is not |
| --- | --- |
| deployment frequency | good deployments to production a day, planned or not; a rollback is none |
| lead time for changes | median from a change's first push to the end of the *first* good production deployment that has it |
| change failure rate | failed or returned deployments by all deployments that reached production; not incidents, not by changes |
| failed deployment recovery time | median from a failed deployment's start to the rollback or next good one |
| deployment rework rate | unplanned deployments (emergencies and rollbacks) by all deployments |

A measure without data is None, never 0: nobody was fast because nothing happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """One deployment that reached an environment. `lead_seconds` are those of the changes that it brought first.

    `returned`: it was good and then taken back. `recovered_at`: when the environment was good again after a failure.
    """

    service: str
    environment: str
    release: str
    started_at: datetime
    finished_at: datetime
    ok: bool
    returned: bool = False
    rollback: bool = False
    emergency: bool = False
    recovered_at: datetime | None = None
    lead_seconds: tuple[float, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it counts as a failed deployment."""
        return not self.ok or self.returned


@dataclass(frozen=True, slots=True, kw_only=True)
class Dora:
    """The measures over a window of `days` before a moment; seconds and shares between 0 and 1."""

    days: float
    deployments: int
    frequency_per_day: float | None
    lead_seconds: float | None
    change_failure_rate: float | None
    recovery_seconds: float | None
    rework_rate: float | None


def measure(
    delivered: Iterable[Delivered], *, until: datetime, days: float = 30.0, environment: str = "production",
    service: str = "",
) -> Dora:  # fmt: skip
    """The five measures of what ended in the window, for one service or all."""
    since = until - timedelta(days=days)
    window = [
        one
        for one in delivered
        if one.environment == environment and service in ("", one.service) and since < one.finished_at <= until
    ]
    forward = [one for one in window if not one.rollback]
    good = [one for one in forward if one.ok]
    leads = [seconds for one in good for seconds in one.lead_seconds]
    failed = [one for one in forward if one.failed]
    recoveries = [(one.recovered_at - one.started_at).total_seconds() for one in failed if one.recovered_at]
    unplanned = [one for one in window if one.rollback or one.emergency]
    return Dora(
        days=days,
        deployments=len(forward),
        frequency_per_day=len(good) / days if window else None,
        lead_seconds=median(leads) if leads else None,
        change_failure_rate=len(failed) / len(forward) if forward else None,
        recovery_seconds=median(recoveries) if recoveries else None,
        rework_rate=len(unplanned) / len(window) if window else None,
    )
