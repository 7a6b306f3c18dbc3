"""Tries the mend of a local failure on a copy: the failed job runs again, with the mend before its script.

The working tree stays as it is, and so do the runs that are listed. It runs only jobs that act on nothing outside, and only
in isolation.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import Final

from aegis.bootstrap.explain import Explained, local_plan
from aegis.bootstrap.pipeline import locate
from aegis.bootstrap.run import LocalOptions, LocalRun, watch
from aegis.bootstrap.selection import select
from aegis.core.types import State
from aegis.execution.explain.mends import mended, trial, unsafe

_EVERY: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a trial showed. `helped` None: none was made, and `told` says why."""

    job: str
    helped: bool | None
    told: str


def try_mend(found: Explained, *, file: str | None = None, host_tools: bool = False) -> Tried:
    """Try the mend of the likeliest cause."""
    name = found.job.name
    if found.explanation.abstained:
        return Tried(job=name, helped=None, told="no cause is known, so there is no mend to try")
    plan = local_plan(found.run)
    spec = plan.job(name)
    if reason := unsafe(spec):
        return Tried(job=name, helped=None, told=f"the job is not run for a trial: {reason}")
    tried = trial(found.explanation.causes[0], spec)
    if tried is None:
        return Tried(job=name, helped=None, told="this mend needs a person")
    jobs = tuple(mended(one, tried) if one.name == name else one for one in plan.jobs)
    chosen = select(replace(plan, jobs=jobs), (name,))
    with LocalRun(locate(file), chosen, LocalOptions(host_tools=host_tools)) as made:
        try:
            if made.executor.isolation == "process":
                return Tried(job=name, helped=None, told="jobs cannot be isolated here, so none is run for a trial")
            made.start()
            state = watch(made, lambda _: None, every=_EVERY)
            helped = next(one for one in state.jobs if one.name == name).state is State.SUCCESS
        finally:
            shutil.rmtree(made.directory, ignore_errors=True)
    return Tried(job=name, helped=helped, told=f"{tried.told} {'makes the job succeed' if helped else 'does not help'}")
