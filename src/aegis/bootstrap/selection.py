"""Which jobs of a plan a local run carries out: those that were asked for, and what they need. Pure."""

from __future__ import annotations

from dataclasses import replace

from aegis.core.errors import NotFound
from aegis.core.plan import Plan


def meant(plan: Plan, names: tuple[str, ...]) -> tuple[str, ...]:
    """The jobs that names stand for, each for all its parallel instances; `NotFound` for a name that no job has."""
    found: list[str] = []
    for name in names:
        hits = [job.name for job in plan.jobs if job.name == name or job.name.startswith((f"{name} ", f"{name}: "))]
        if not hits:
            known = ", ".join(job.name for job in plan.jobs) or "none"
            raise NotFound(
                "no-such-job", f"the pipeline has no job {name!r} here; it has: {known}", hint="aegis preview"
            )
        found.extend(hits)
    return tuple(found)


def select(plan: Plan, names: tuple[str, ...]) -> Plan:
    """The part of a plan that was asked for: the named jobs and what they need; all without names.

    A name stands for all its parallel instances (`shard` for `shard 1/3`). A manual job that is named runs; delayed jobs
    do not wait. `NotFound` for a name that no job has.
    """
    jobs = tuple(replace(job, when="on_success") if job.when == "delayed" else job for job in plan.jobs)
    if not names:
        return replace(plan, jobs=jobs)
    by_name = {job.name: job for job in jobs}
    named = meant(plan, names)
    wanted = dict.fromkeys(named)
    stack = list(wanted)
    while stack:
        for need in by_name[stack.pop()].needs or ():
            if need.job in by_name and need.job not in wanted:
                wanted[need.job] = None
                stack.append(need.job)
    kept = tuple(
        replace(job, when="on_success") if job.name in named and job.when == "manual" else job
        for job in jobs
        if job.name in wanted
    )
    return replace(plan, jobs=kept)
