"""A run by its id, one of its jobs, and the environments that jobs have deployed; read from world, ledger and engine."""

from __future__ import annotations

from aegis.core.errors import NotFound
from aegis.delivery import views
from aegis.delivery.context import Context
from aegis.delivery.queries.entries import RunEntry
from aegis.execution.places import Place


def entry(context: Context, run: str) -> RunEntry:
    """What the ledger has of a run; `NotFound`."""
    found = context.world.read(lambda state: state.runs.get(run)) or RunEntry.fold(context.subject(f"run/{run}"))
    if found is None:
        raise NotFound("no-such-run", f"there is no run {run!r}", hint="`aegis status` lists the latest")
    return found


def job(context: Context, run: str, name: str) -> tuple[str, str, int, bool]:
    """Of a job by name or id: its id, the digest of its closed trace (empty while open), its size, whether it has ended."""
    of_run = entry(context, run)
    jobs = list(of_run.jobs.values())
    if not of_run.run.state.finished:
        jobs += context.engine.run(run).jobs
    found = next((one for one in jobs if name in (one.name, one.id)), None)
    if found is None:
        raise NotFound("no-such-job", f"run {run} has no job {name!r}")
    closed = found.trace
    return found.id, closed.digest if closed else "", closed.size if closed else 0, found.state.finished


def environments(context: Context, project: str) -> tuple[views.JobEnvironment, ...]:
    """The environments that jobs of a project (empty: of every project) have deployed."""
    names = [project] if project else list(context.options.projects)
    return tuple(_environment(one) for name in names for one in context.places.of(name))


def _environment(one: Place) -> views.JobEnvironment:
    return views.JobEnvironment(
        project=one.project, name=one.name, state=one.state.value, tier=one.tier, url=one.url, ref=one.ref,
        commit=one.commit, run=one.run, job=one.job, stop_job=one.on_stop, deployed_at=one.deployed_at,
        stops_at=one.stops_at, reason=one.reason,
    )  # fmt: skip
