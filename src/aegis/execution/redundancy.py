"""What a newer pipeline of the same branch cancels of an older one (`workflow:auto_cancel:on_new_commit`). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from aegis.core.plan import JobSpec, Plan
from aegis.core.types import JobRun
from aegis.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseded:
    """The whole run, or these jobs of it; neither where it goes on."""

    whole: bool = False
    jobs: tuple[str, ...] = ()


def superseded(plan: Plan, jobs: Iterable[JobRun]) -> Superseded:
    """What is canceled.

    `conservative`: the whole run, unless a job that must not be interrupted has begun. `interruptible`: the jobs that may
    be interrupted, begun or not. `none`: nothing.
    """
    if plan.auto_cancel == "none":
        return Superseded()
    specs: dict[str, JobSpec] = {spec.name: spec for spec in plan.jobs}
    if plan.auto_cancel == "interruptible":
        return Superseded(
            jobs=tuple(one.name for one in jobs if specs[one.name].interruptible and not one.state.finished)
        )
    begun = (specs[one.name] for one in jobs if one.started_at is not None)
    return Superseded(whole=all(spec.interruptible for spec in begun))
