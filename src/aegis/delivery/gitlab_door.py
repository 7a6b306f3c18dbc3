"""What GitLab's REST needs of a server besides views and verbs: numbers to names, jobs by number, files of jobs, lint.

Authorisation is that of the views and verbs it stands beside; it decides nothing of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import yaml

from aegis.core import events, ids
from aegis.core.errors import NotFound
from aegis.core.pages import PagesDeployment
from aegis.core.plan import CiVariable, JobSpec, Plan
from aegis.core.ports import Query
from aegis.core.types import JobRun, Promotion, PublishedRelease, Run
from aegis.delivery.artifacts import must_access, present
from aegis.delivery.context import Context
from aegis.delivery.files import CommitFiles
from aegis.delivery.handlers.variables import find, may_manage
from aegis.delivery.options import EnvironmentOptions, ProjectOptions, ScheduleOptions
from aegis.delivery.queries.sources import Sources
from aegis.delivery.runner_door import Download, RunnerDoor
from aegis.delivery.views import Actor, Cell, Commands, Queries, RunSummary
from aegis.execution import cron, stored
from aegis.execution.places import Place
from aegis.pipeline.compile import check_pipeline, compile_pipeline
from aegis.pipeline.declared import given
from aegis.pipeline.request import CompileRequest, MemoryFiles

PIPELINE_FILE = ".gitlab-ci.yml"
RUNS = 400
_PUBLISHED = events.NAMES[events.ReleasePublished][0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linted:
    """What is said of a pipeline file."""

    valid: bool
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    merged: str = ""
    jobs: tuple[JobSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundJob:
    """A job with the run and plan that it belongs to."""

    number: int
    run: Run
    job: JobRun
    spec: JobSpec


class GitlabDoor:
    """See the module. Synchronous; every call may come from any thread."""

    def __init__(self, context: Context, runners: RunnerDoor, queries: Queries, commands: Commands) -> None:
        self._context = context
        self.runners = runners
        self.queries = queries
        self.commands = commands
        self.sources = Sources(context)
        self.numbers = runners.numbers

    @property
    def url(self) -> str:
        """The server's address."""
        return self._context.url

    def head(self) -> int:
        """The ledger's end: what a view must reflect to show what was just done."""
        return self._context.ledger.head().seq

    # -- projects and people ------------------------------------------------------------------------------

    def projects(self, actor: Actor) -> tuple[ProjectOptions, ...]:
        """The declared projects that the actor may see, by name; a job sees its own."""
        declared = sorted(self._context.options.projects.values(), key=lambda one: one.name)
        if actor.project:
            return tuple(one for one in declared if one.name == actor.project)
        self._context.authorise(actor, "read")
        return tuple(declared)

    def project(self, actor: Actor, wanted: str) -> ProjectOptions:
        """A project by its number or path; `NotFound` also for one that the actor may not see."""
        for one in self.projects(actor):
            if wanted == one.name or (wanted.isdigit() and int(wanted) == ids.number(f"project/{one.name}")):
                return one
        raise NotFound("no-such-project", "Project Not Found")

    def is_empty(self, project: str) -> bool:
        """Whether a repository has no commit."""
        return not self._context.repository(project).refs("refs/heads/")

    def person(self, identity: str) -> Mapping[str, Any]:
        """Somebody, in GitLab's words."""
        known = self._context.adopted.directory.by_id(identity)
        return {
            "id": ids.number(f"identity/{identity}"),
            "username": identity,
            "name": known.name if known else identity,
            "state": "active",
            "web_url": f"{self.url}/",
            "email": known.emails[0] if known and known.emails else "",
        }

    # -- pipelines and jobs -------------------------------------------------------------------------------

    def run_id(self, actor: Actor, project: str, wanted: str) -> str:
        """A run of a project by its number or id; `NotFound`."""
        run_id = self.numbers.run(int(wanted)) if wanted.isdigit() else wanted
        run = self._context.engine.run(run_id)
        if run.project != project:
            raise NotFound("no-such-run", "Pipeline Not Found")
        self._context.authorise(actor, "read", project=project)
        return run_id

    def run(self, run_id: str) -> Run:
        """A run with its jobs, as it is now."""
        return self._context.engine.run(run_id)

    def plan(self, run_id: str) -> Plan:
        """What a run carries out."""
        return self._context.engine.plan(run_id)

    def runs(self, actor: Actor, project: str) -> tuple[RunSummary, ...]:
        """The runs of a project that are at hand, newest first."""
        return self.queries.runs(actor, project=project, limit=RUNS)

    def jobs(self, run_id: str, *, retried: bool = False) -> Iterator[FoundJob]:
        """The jobs of a run in the order of its plan, each as its latest attempt (all of them with `retried`)."""
        run, plan = self.run(run_id), self.plan(run_id)
        for spec, latest in zip(plan.jobs, run.jobs, strict=True):
            attempts = self._context.engine.attempts(run_id, spec.name) if retried and latest.attempt > 1 else (latest,)
            for job in reversed(attempts):
                number = self.numbers.of_attempt(run_id, job.name, job.attempt)
                yield FoundJob(number=number, run=run, job=present(self._context, run, job), spec=spec)

    def job(self, actor: Actor, project: str, wanted: str) -> FoundJob:
        """A job of a project by its number; `NotFound`."""
        if not wanted.isdigit():
            raise NotFound("no-such-job", "Job Not Found")
        run_id, job = self.numbers.job(int(wanted))
        run = self.run(run_id)
        if run.project != project:
            raise NotFound("no-such-job", "Job Not Found")
        self._context.authorise(actor, "read", project=project)
        job = present(self._context, run, job)
        return FoundJob(number=int(wanted), run=run, job=job, spec=self.plan(run_id).job(job.name))

    def own_job(self, actor: Actor) -> FoundJob:
        """The job whose token the actor holds; `NotFound`."""
        if actor.kind != "job":
            raise NotFound("no-such-job", "Job Not Found")
        for found in self.jobs(actor.run, retried=True):
            if found.job.id == actor.job:
                return found
        raise NotFound("no-such-job", "Job Not Found")

    def started_by(self, bridge: FoundJob) -> Run | None:
        """The run that a trigger job has started, if it has."""
        try:
            return self.run(bridge.job.id)
        except NotFound:
            return None

    def now(self) -> datetime:
        """What time it is."""
        return self._context.clock.now()

    def latest_with(self, actor: Actor, project: str, ref: str, job: str) -> FoundJob:
        """The named job of the newest run of a ref in which it passed; `NotFound`."""
        wanted = {f"refs/heads/{ref}", f"refs/tags/{ref}"}
        for run in self.runs(actor, project):
            if run.ref in wanted:
                for found in self.jobs(run.id):
                    if found.job.name == job and found.job.state == "success" and found.job.files:
                        return found
        raise NotFound("no-such-job", "Job Not Found")

    def trace(self, found: FoundJob) -> Iterator[bytes]:
        """The whole log of a job so far."""
        if found.job.trace is not None:
            return self._context.blobs.open(found.job.trace.digest)
        return self.runners.log(found.job.id)

    # -- files of jobs ------------------------------------------------------------------------------------

    def archive(self, actor: Actor, found: FoundJob) -> Download:
        """A job's archive; `NotFound`, `Denied` where `artifacts:access` gives it to others."""
        must_access(self._context, actor, found.run.project, found.spec.artifacts)
        return self.runners.archive(found.job.files)

    def within(self, actor: Actor, found: FoundJob, path: str) -> tuple[int, Iterator[bytes]]:
        """One file of a job's archive: its size and its bytes, unpacked as they are read; `NotFound`."""
        return stored.file_of(self._context.blobs, self.archive(actor, found).digest, path)

    # -- environments and deployments ---------------------------------------------------------------------

    def environments(self, project: ProjectOptions) -> tuple[EnvironmentOptions, ...]:
        """The environments that a project's service runs in."""
        return tuple(self._context.options.environments.values()) if project.service else ()

    def places(self, actor: Actor, project: ProjectOptions) -> tuple[Place, ...]:
        """The environments that a project's jobs have deployed, other than those that are declared."""
        self._context.authorise(actor, "read", project=project.name)
        declared = {one.name for one in self.environments(project)}
        return tuple(one for one in self._context.places.of(project.name) if one.name not in declared)

    def cell(self, actor: Actor, project: ProjectOptions, environment: str) -> Cell:
        """What of a project runs in an environment."""
        return self.queries.home(actor).cell(project.service, environment)

    def promotions(self, actor: Actor, project: ProjectOptions) -> tuple[Promotion, ...]:
        """The promotions of a project's service, newest first: GitLab's deployments."""
        if not project.service:
            return ()
        found = self.queries.promotions(actor)
        return tuple(one.promotion for one in found if one.promotion.service == project.service)

    def published(self, actor: Actor, project: ProjectOptions) -> tuple[PublishedRelease, ...]:
        """The releases that a project's jobs have made, newest first."""
        self._context.authorise(actor, "read", project=project.name)
        query = Query(types=(_PUBLISHED,), project=project.name, newest_first=True)
        records = self._context.ledger.read(limit=RUNS, query=query)
        return tuple(one.data.release for one in records if isinstance(one.data, events.ReleasePublished))

    # -- pages --------------------------------------------------------------------------------------------

    def pages(self, actor: Actor, project: ProjectOptions) -> tuple[str, tuple[PagesDeployment, ...]]:
        """The address of a project's pages and what is served there; `NotFound` where there is nothing."""
        self._context.authorise(actor, "read", project=project.name)
        served = self._context.pages.of(project.name, self._context.clock.now())
        if not served:
            raise NotFound("no-such-pages", "Not Found")
        return f"{self.url}/pages/{project.name}", tuple(one for _, one in sorted(served.items()))

    # -- variables ----------------------------------------------------------------------------------------

    def variables(self, actor: Actor, owner: str) -> tuple[CiVariable, ...]:
        """The variables that are kept for a project or group, for those who may change them."""
        may_manage(self._context, actor, owner)
        return self._context.variables.of(owner)

    def variable(self, actor: Actor, owner: str, key: str, scope: str | None) -> CiVariable:
        """One of them; `NotFound`, or `Conflict` where several are meant."""
        may_manage(self._context, actor, owner)
        return find(self._context, owner, key, scope)

    def variable_value(self, variable: CiVariable) -> str:
        """The value of one that was answered."""
        return self._context.variables.value(variable)

    # -- schedules ----------------------------------------------------------------------------------------

    def next_run(self, schedule: ScheduleOptions) -> datetime | None:
        """When a schedule is due next, within two years; None for one that is not active."""
        if not schedule.active:
            return None
        now, when = self._context.clock.now(), cron.parse(schedule.cron, schedule.zone)
        # Whether it has been due by a time only ever turns from no to yes.
        low, high = 0, 2 * 366 * 24 * 60
        if when.last(now + timedelta(minutes=high), after=now) is None:
            return None
        while high - low > 1:
            middle = (low + high) // 2
            due = when.last(now + timedelta(minutes=middle), after=now)
            low, high = (low, middle) if due is not None else (middle, high)
        return when.last(now + timedelta(minutes=high), after=now)

    # -- lint ---------------------------------------------------------------------------------------------

    def lint(self, actor: Actor, project: ProjectOptions, *, content: str | None, ref: str, whole: bool) -> Linted:
        """What is wrong with a pipeline file (that of `ref` without `content`); with `whole` as a push of it would run."""
        self._context.authorise(actor, "read", project=project.name)
        repository = self._context.repository(project.name)
        # Without a ref the file is seen beside those of the default branch, where there is one.
        there_is = ref or f"refs/heads/{project.default_branch}" in repository.refs("refs/heads/")
        commit = self.sources.commit_of(actor, project.name, ref) if there_is else "0" * 40
        there = CommitFiles(repository, commit) if commit != "0" * 40 else MemoryFiles()
        files = there if content is None else _Over(there, content.encode())
        branch = ref or project.default_branch
        protected = self._context.options.is_protected(f"refs/heads/{branch}")
        own = given(self._context.variables.levels(project), protected=protected)
        request = CompileRequest(
            files=files, root=PIPELINE_FILE, project=project.name, commit=commit, ref=branch,
            default_branch=project.default_branch, protected=protected, project_variables=own.everywhere,
            scoped_variables=own.scoped,
        )  # fmt: skip
        found = compile_pipeline(request) if whole else check_pipeline(request)
        merged = yaml.safe_dump(dict(found.merged), sort_keys=False, allow_unicode=True) if found.merged else ""
        return Linted(
            valid=not found.errors,
            errors=tuple(one.message for one in found.errors),
            warnings=tuple(one.message for one in found.warnings),
            merged=merged,
            jobs=found.plan.jobs if found.plan is not None else (),
        )


@dataclass(frozen=True, slots=True)
class _Over:
    """A commit's files with another pipeline file over them."""

    files: CommitFiles | MemoryFiles
    content: bytes

    def read(self, path: str) -> bytes | None:
        """See `pipeline.ports.Files`."""
        return self.content if path == PIPELINE_FILE else self.files.read(path)

    def paths(self) -> tuple[str, ...]:
        """See `pipeline.ports.Files`."""
        return tuple(sorted({*self.files.paths(), PIPELINE_FILE}))
