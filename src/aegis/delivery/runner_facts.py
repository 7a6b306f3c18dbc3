"""What the server knows of an assigned job beyond its assignment: numbers, addresses, protection, cache keys.

It reads repositories, options and the engine; it changes nothing.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase

from aegis import __version__
from aegis.core import ids
from aegis.core.errors import NotFound
from aegis.core.plan import CacheSpec
from aegis.core.ports import Query
from aegis.core.types import JobRun, Run
from aegis.delivery.context import Context
from aegis.execution.runners import Assignment
from aegis.execution.runners_roster import RegisteredRunner
from aegis.execution.runners_variables import Facts

_KEPT = 256
_ORDERS = 20_000


class Numbers:
    """GitLab's integer ids of runs and jobs, to and from Aegis's own. Safe from any thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._runs: OrderedDict[str, tuple[int, Mapping[str, int], tuple[str, ...]]] = OrderedDict()
        self._orders: dict[str, int] = {}

    def _run(self, run_id: str) -> tuple[int, Mapping[str, int], tuple[str, ...]]:
        """Number, positions by job name and names by position of a run; `NotFound`."""
        found = self._runs.get(run_id)
        if found is None:
            names = tuple(spec.name for spec in self._context.engine.plan(run_id).jobs)
            found = (self.of_run(run_id), {name: position for position, name in enumerate(names)}, names)
            self._runs[run_id] = found
            while len(self._runs) > _KEPT:
                self._runs.popitem(last=False)
        return found

    def of_run(self, run_id: str) -> int:
        """The number of a run: its first record's place in the ledger; `NotFound`."""
        known = self._orders.get(run_id)
        if known is None:
            first = self._context.ledger.read(limit=1, query=Query(subjects=(f"run/{run_id}",)))
            if not first:
                raise NotFound("no-such-run", f"there is no run {run_id!r}")
            known = first[0].seq
            if len(self._orders) > _ORDERS:
                self._orders.clear()
            self._orders[run_id] = known
        return known

    def of_job(self, run_id: str, job: JobRun) -> int:
        """The number of an attempt of a job."""
        return self.of_attempt(run_id, job.name, job.attempt)

    def of_attempt(self, run_id: str, name: str, attempt: int) -> int:
        """As `of_job`, by name and attempt."""
        number, positions, _ = self._run(run_id)
        return ids.job_number(number, positions[name], attempt)

    def run(self, number: int) -> str:
        """The id of a run by its number (or by itself, as text); `NotFound`."""
        if number > 0:
            for record in self._context.ledger.read(after=number - 1, limit=1):
                kind, _, run_id = record.subject.partition("/")
                if record.seq == number and kind == "run" and record.type == "dev.cdevents.pipelinerun.queued":
                    return run_id
        raise NotFound("no-such-run", f"there is no pipeline {number}")

    def job(self, number: int) -> tuple[str, JobRun]:
        """The run and the attempt of a job by its number; `NotFound`."""
        order, position, attempt = ids.split_job_number(number)
        run_id = self.run(order)
        names = self._run(run_id)[2]
        if position < len(names):
            for job in self._context.engine.attempts(run_id, names[position]):
                if job.attempt == attempt:
                    return run_id, job
        raise NotFound("no-such-job", f"there is no job {number}")


def protected(context: Context, run: Run) -> bool:
    """Whether a run's ref is protected: by a rule for branches, or as a tag that only the server sets."""
    kind, _, name = run.ref.removeprefix("refs/").partition("/")
    if kind == "heads":
        return context.adopted.access.options.branch_rule(run.project, name) is not None
    return kind == "tags" and any(fnmatchcase(name, tag.pattern) for tag in context.options.tags)


def facts_of(context: Context, numbers: Numbers, given: Assignment, runner: RegisteredRunner) -> Facts:
    """Everything that the job document needs of the server."""
    run, spec, settings = given.run, given.spec, runner.settings
    person = context.adopted.directory.by_id(run.started_by)
    kind, _, name = run.ref.removeprefix("refs/").partition("/")
    project = context.options.projects.get(run.project)
    before = next((one.value for one in spec.variables if one.key == "CI_COMMIT_BEFORE_SHA"), "") or "0" * 40
    queued, started = given.job.queued_at, given.job.started_at
    return Facts(
        url=context.url,
        job=numbers.of_job(run.id, given.job),
        run=numbers.of_run(run.id),
        project=ids.number(f"project/{run.project}"),
        namespace=ids.number(f"group/{run.project.rpartition('/')[0]}"),
        runner=runner.number,
        runner_description=settings.description,
        runner_tags=settings.tags,
        default_branch=project.default_branch if project else "main",
        protected=protected(context, run),
        branch_exists=kind != "heads" or f"refs/heads/{name}" in context.repository(run.project).refs("refs/heads/"),
        before=before,
        timeout=min(spec.timeout, settings.maximum_timeout or spec.timeout),
        queued_seconds=max(0.0, (started - queued).total_seconds()) if queued and started else 0.0,
        user=run.started_by,
        user_name=person.name if person else "",
        user_email=person.emails[0] if person and person.emails else "",
        created_at=moment(run.created_at),
        started_at=moment(started),
        plan_name=context.engine.plan(run.id).name or "",
        version=__version__,
        numbers={
            one.id: numbers.of_attempt(one.run or run.id, one.job, one.attempt) for one in given.dependencies if one.id
        },
        cache_keys=tuple(cache_key(context, run, one) for one in spec.cache),
    )  # fmt: skip


def cache_key(context: Context, run: Run, spec: CacheSpec) -> str:
    """The key of a cache: literal, or made of what the named files hold at the run's commit (`default` without any)."""
    if not spec.key_files:
        return spec.key
    found = [
        f"{entry.path}\0{entry.oid}"
        for entry in context.repository(run.project).entries(run.commit)
        if any(fnmatchcase(entry.path, wanted.removeprefix("./")) for wanted in spec.key_files)
    ]
    body = hashlib.sha256("\n".join(found).encode()).hexdigest()[:40] if found else "default"
    return f"{spec.key_prefix}-{body}" if spec.key_prefix else body


def moment(at: datetime | None) -> str:
    """A time as GitLab writes it, or nothing."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else ""
