"""Runs: from a change to queued jobs, and what people may do with a run.

A run has the id of the event that asked for it, so the same event never makes a second run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from aegis.core import events, ids
from aegis.core.errors import Conflict, NotFound, UserError
from aegis.core.events import Draft
from aegis.core.plan import Trigger, Variable
from aegis.core.ports import Query
from aegis.core.types import Change, Run, State
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.elsewhere import Comparisons, HostedElsewhere
from aegis.delivery.files import CommitFiles
from aegis.delivery.options import ScheduleOptions
from aegis.delivery.queries.entries import RunEntry
from aegis.delivery.views import Result
from aegis.execution.downstream import reader
from aegis.pipeline.child import child_request
from aegis.pipeline.compile import compile_pipeline
from aegis.pipeline.declared import given
from aegis.pipeline.request import Compilation, CompileRequest, MergeRequest
from aegis.source import merge_requests, versions

PIPELINE_FILE = ".gitlab-ci.yml"
SKIP = ("[skip ci]", "[ci skip]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A pipeline somebody or something wants: for which commit, as what source, with which variables."""

    run: str
    project: str
    ref: str
    commit: str
    source: str
    started_by: str
    change: str
    before: str | None = None
    changed: tuple[str, ...] | None = None
    message: str = ""
    author: str = ""
    merge_request: MergeRequest | None = None
    variables: tuple[Variable, ...] = ()
    release: str | None = None
    environment: str | None = None
    parent: str = ""
    trigger: Trigger | None = None


@handles(ask.StartRun)
def start(context: Context, command: ask.StartRun, asking: Asking) -> Result:
    """Start the pipeline of a change or of a merge request's head."""
    if command.change.startswith("merge-request:"):
        wish = _merge_request_wish(context, command.change, asking)
    else:
        wish = _change_wish(context, command.change, asking)
    if wish is None:
        return Result(seq=context.ledger.head().seq, message="nothing to run")
    return launch(context, wish, asking)


def _change_wish(context: Context, change_id: str, asking: Asking) -> Wish | None:
    change = change_of(context, change_id)
    if not change.ref.startswith(("refs/heads/", "refs/tags/")) or change.commit == "0" * 40:
        return None
    if any(mark in change.message for mark in SKIP) or change.source == "skipped":
        return None
    if context.options.project(change.project).kind == "platform":
        return None
    return Wish(
        run=asking.cause or context.new_id(),
        project=change.project,
        ref=change.ref,
        commit=change.commit,
        source="push",
        started_by=change.pushed_by,
        change=change.id,
        before=change.before,
        changed=change.changed if change.before else None,
        message=change.message,
        author=f"{change.author_name} <{change.author_email}>",
    )


def _merge_request_wish(context: Context, name: str, asking: Asking) -> Wish | None:
    _, project, number = name.split(":")
    entry = merge_request_of(context, project, int(number))
    if entry.state != "opened":
        return None
    repository = context.repository(project)
    target = _head_of(context, project, entry.target_branch)
    base = repository.merge_base(target, entry.head) if target else None
    info = repository.log(entry.head, limit=1)[0]
    return Wish(
        run=asking.cause or context.new_id(),
        project=project,
        ref=f"refs/merge-requests/{number}/head",
        commit=entry.head,
        source="merge_request_event",
        started_by=entry.opened_by,
        change=name,
        before=base,
        changed=repository.changed(base, entry.head),
        message=info.message,
        author=f"{info.author_name} <{info.author_email}>",
        merge_request=_described(context, project, entry, base or ""),
    )


def _head_of(context: Context, project: str, branch: str) -> str:
    return context.repository(project).refs("refs/heads/").get(f"refs/heads/{branch}", "")


def _described(context: Context, project: str, entry: merge_requests.MergeRequest, base: str = "") -> MergeRequest:
    return MergeRequest(
        number=entry.number,
        source_branch=entry.source_branch,
        target_branch=entry.target_branch,
        target_sha=_head_of(context, project, entry.target_branch),
        title=entry.title,
        description=entry.description,
        base_sha=base,
        source_protected=context.options.is_protected(f"refs/heads/{entry.source_branch}"),
        target_protected=context.options.is_protected(f"refs/heads/{entry.target_branch}"),
    )


def merge_request_for(context: Context, run: Run) -> MergeRequest | None:
    """The merge request that a run belongs to."""
    kind, _, rest = run.ref.removeprefix("refs/").partition("/")
    if kind != "merge-requests":
        return None
    return _described(context, run.project, merge_request_of(context, run.project, int(rest.partition("/")[0])))


def launch(context: Context, wish: Wish, asking: Asking) -> Result:
    """Compile and queue; a pipeline that cannot be made is written down with its mend."""
    if context.subject(f"run/{wish.run}"):
        return Result(seq=context.ledger.head().seq, message="already started", subject=f"run/{wish.run}")
    compilation = compile_for(context, wish)
    if compilation.plan is None:
        return _refused(context, wish, compilation, asking)
    plan = compilation.plan
    run = Run(
        id=wish.run,
        project=wish.project,
        ref=wish.ref,
        commit=wish.commit,
        plan=plan.id,
        change=wish.change,
        source=wish.source,
        started_by=wish.started_by,
        release=wish.release,
        environment=wish.environment,
        parent=wish.parent,
    )
    record = context.engine.submit(run, plan, actor=asking.actor.id, cause=asking.cause, project=wish.project)
    return Result(
        seq=record.seq, message=f"started {len(plan.jobs)} jobs", subject=f"run/{run.id}", values={"run": run.id}
    )


def _refused(context: Context, wish: Wish, compilation: Compilation, asking: Asking) -> Result:
    if not compilation.errors:
        return Result(seq=context.ledger.head().seq, message=compilation.skipped or "no job applies")
    first = compilation.errors[0]
    more = f" (and {len(compilation.errors) - 1} more)" if len(compilation.errors) > 1 else ""
    place = f"{first.where}: " if first.where else ""
    refusal = events.RunRefused(
        change=wish.change,
        commit=wish.commit,
        ref=wish.ref,
        code=first.code,
        message=f"{place}{first.message}{more}",
        hint=first.hint,
    )
    draft = Draft(
        subject=f"run/{wish.run}", data=refusal, actor=asking.actor.id, project=wish.project, cause=asking.cause
    )
    seq = context.append(draft, expect={f"run/{wish.run}": 0})
    return Result(seq=seq, message=refusal.message, subject=f"run/{wish.run}")


def compile_for(context: Context, wish: Wish) -> Compilation:
    """The compilation of a wish, with the variables that only the server knows."""
    options = context.options
    project = options.project(wish.project)
    repository = context.repository(wish.project)
    branch = branch_of(wish)
    info = repository.log(wish.commit, limit=1)[0]
    is_tag = wish.ref.startswith("refs/tags/")
    protected = options.is_protected(wish.ref)
    own = given(context.variables.levels(project), protected=protected)
    request = CompileRequest(
        files=CommitFiles(repository, wish.commit),
        root=PIPELINE_FILE,
        project=wish.project,
        commit=wish.commit,
        ref=wish.ref.removeprefix("refs/tags/") if is_tag else branch,
        ref_kind="tag" if is_tag else "branch",
        source=wish.source,
        default_branch=project.default_branch,
        protected=protected,
        before=wish.before,
        changed=wish.changed,
        comparisons=Comparisons(repository, wish.commit),
        elsewhere=HostedElsewhere(
            lambda name: context.repository(options.project(name).name),
            context.url,
            lambda name: options.project(name).default_branch,
            context.outside(),
        ),
        project_variables=own.everywhere,
        scoped_variables=own.scoped,
        pipeline_variables=wish.variables,
        predefined=_predefined(context, wish, info.authored_at),
        merge_request=wish.merge_request,
        commit_message=wish.message or info.message,
        tag_message=repository.tag_message(wish.ref.removeprefix("refs/tags/")) if is_tag else "",
        open_merge_requests=() if is_tag else _open_of(context, wish.project, branch),
        commit_author=wish.author or f"{info.author_name} <{info.author_email}>",
        commit_timestamp=info.authored_at.isoformat(),
        policy_digest=options.policy_digest,
    )
    if wish.trigger is not None:
        made_by = reader(context.engine.run(wish.parent).jobs, context.blobs)
        request = child_request(request, wish.trigger, made_by)
    return compile_pipeline(request)


def _predefined(context: Context, wish: Wish, authored_at: datetime) -> dict[str, str]:
    """What only the server knows: its addresses, the version, who started the pipeline."""
    person = context.adopted.directory.by_id(wish.started_by)
    return {
        "CI_SERVER_NAME": "Aegis",
        "CI_SERVER_URL": context.url,
        "CI_PROJECT_VISIBILITY": "private",
        "CI_REGISTRY": context.address,
        "CI_REGISTRY_IMAGE": f"{context.address}/quarantine/{wish.project}",
        "GITLAB_USER_ID": str(ids.number(f"identity/{wish.started_by}")),
        "GITLAB_USER_LOGIN": wish.started_by,
        "GITLAB_USER_NAME": person.name if person is not None else wish.started_by,
        "GITLAB_USER_EMAIL": person.emails[0] if person is not None and person.emails else "",
        "AEGIS_URL": context.url,
        "AEGIS_VERSION": version_for(context, wish.project, wish.commit, branch_of(wish)),
        "AEGIS_ADVISORIES": f"{context.url}/api/aegis/v1/advisories",
        "SOURCE_DATE_EPOCH": str(int(authored_at.timestamp())),
        "CI_PAGES_DOMAIN": context.address,
        "CI_PAGES_URL": f"{context.url}/pages/{wish.project}",
        "CI_PIPELINE_ID": wish.run,
        "CI_PIPELINE_URL": f"{context.url}/runs/{wish.run}",
    }


def _open_of(context: Context, project: str, branch: str) -> tuple[int, ...]:
    """The open merge requests of a branch."""
    return tuple(
        one.number for one in of_project(context, project) if one.source_branch == branch and one.state == "opened"
    )


def branch_of(wish: Wish) -> str:
    """The branch that a pipeline belongs to; a merge request's is its source branch."""
    if wish.merge_request is not None:
        return wish.merge_request.source_branch
    return wish.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def version_for(context: Context, project: str, commit: str, branch: str) -> str:
    """The version that a run of `commit` would release."""
    repository = context.repository(project)
    release_branch = context.options.is_release_branch(branch)
    return versions.decide_version(repository, commit, release_branch=release_branch).version


def change_of(context: Context, change_id: str) -> Change:
    """A change from the writer's state."""
    for record in context.subject(f"change/{change_id}"):
        if isinstance(record.data, events.ChangePushed):
            return record.data.change
    raise NotFound("no-such-change", f"there is no change {change_id}")


def merge_request_of(context: Context, project: str, number: int) -> merge_requests.MergeRequest:
    """A merge request from the writer's state."""
    request = merge_requests.fold(context.subject(merge_requests.subject_of(project, number)))
    if request is None:
        raise NotFound("no-such-merge-request", f"{project} has no merge request {number}")
    return request


def of_project(context: Context, project: str) -> tuple[merge_requests.MergeRequest, ...]:
    """All merge requests of a project, oldest first, from the ledger itself."""
    query = Query(types=(events.NAMES[events.MergeRequestOpened][0],), project=project)
    opened: list[int] = []
    after = 0
    while records := context.ledger.read(after=after, limit=500, query=query):
        after = records[-1].seq
        opened += [one.data.number for one in records if isinstance(one.data, events.MergeRequestOpened)]
    return tuple(merge_request_of(context, project, number) for number in opened)


def run_of(context: Context, run_id: str) -> RunEntry:
    """A run from the writer's state."""
    entry = RunEntry.fold(context.subject(f"run/{run_id}"))
    if entry is None:
        raise NotFound("no-such-run", f"there is no run {run_id!r}", hint="`aegis status` lists the latest")
    return entry


# -- what people ask --------------------------------------------------------------------------------------


@handles(ask.TriggerPipeline)
@handles(ask.RunPipeline)
def run_pipeline(context: Context, command: ask.RunPipeline | ask.TriggerPipeline, asking: Asking) -> Result:
    """Start a pipeline for a branch as it stands."""
    source = "trigger" if isinstance(command, ask.TriggerPipeline) else "api"
    project = context.options.project(command.project)
    context.authorise(asking.actor, "run", project=project.name)
    branch = command.ref or project.default_branch
    wish = Wish(
        run=context.new_id(), project=project.name, ref=f"refs/heads/{branch}",
        commit=branch_head(context, project.name, branch), source=source, started_by=asking.actor.id, change="",
        variables=_variables(command.variables),
    )  # fmt: skip
    if asking.dry_run:
        plan = compile_for(context, wish).plan
        jobs = [job.name for job in plan.jobs] if plan else []
        return Result(seq=0, message=f"would start {len(jobs)} jobs", values={"jobs": jobs}, dry_run=True)
    return launch(context, wish, asking)


def branch_head(context: Context, project: str, branch: str) -> str:
    """The commit that a branch is at; `NotFound`."""
    commit = _head_of(context, project, branch)
    if not commit:
        raise NotFound("no-such-branch", f"{project} has no branch {branch!r}")
    return commit


@handles(ask.RunSchedule)
def run_schedule(context: Context, command: ask.RunSchedule, asking: Asking) -> Result:
    """Start a schedule's pipeline; its id is made of the moment, so that the same moment starts it once."""
    schedule = context.options.project(command.project).schedules.get(command.name)
    if schedule is None:
        raise NotFound("no-such-schedule", f"{command.project} has no schedule {command.name!r}")
    moment = int(command.due.timestamp() * 1000)
    entropy = hashlib.sha256(f"{command.project}\0{command.name}\0{moment}".encode()).digest()[:10]
    who = schedule.owner or asking.actor.id
    return launch(
        context, _scheduled(context, command.project, command.name, schedule, ids.ulid(moment, entropy), who), asking
    )


@handles(ask.PlaySchedule)
def play_schedule(context: Context, command: ask.PlaySchedule, asking: Asking) -> Result:
    """Start a schedule's pipeline now, as whoever asks."""
    schedule = context.options.project(command.project).schedules.get(command.schedule)
    if schedule is None:
        raise NotFound("no-such-schedule", f"{command.project} has no schedule {command.schedule!r}")
    context.authorise(asking.actor, "run", project=command.project)
    if asking.dry_run:
        return Result(seq=0, message=f"would start {command.schedule}", dry_run=True)
    who = asking.actor.id
    return launch(
        context, _scheduled(context, command.project, command.schedule, schedule, context.new_id(), who), asking
    )


def _scheduled(context: Context, project: str, name: str, schedule: ScheduleOptions, run: str, who: str) -> Wish:
    return Wish(
        run=run, project=project, ref=f"refs/heads/{schedule.branch}",
        commit=branch_head(context, project, schedule.branch), source="schedule", started_by=who, change="",
        variables=(*_variables(schedule.variables), Variable(key="CI_PIPELINE_SCHEDULE_DESCRIPTION", value=name)),
    )  # fmt: skip


@handles(ask.CancelRun)
def cancel(context: Context, command: ask.CancelRun, asking: Asking) -> Result:
    """Stop a run."""
    entry = run_of(context, command.run)
    context.authorise(asking.actor, "cancel", project=entry.run.project)
    if entry.run.state.finished:
        raise Conflict("run-finished", f"run {command.run} has finished: {entry.run.state}")
    if asking.dry_run:
        return Result(seq=0, message=f"would cancel {command.run}", dry_run=True)
    context.engine.cancel(command.run, actor=asking.actor.id, reason=command.reason)
    return Result(seq=context.ledger.head().seq, message="cancelling", subject=f"run/{command.run}")


@handles(ask.RetryJob)
def retry(context: Context, command: ask.RetryJob, asking: Asking) -> Result:
    """Run failed jobs again."""
    entry = run_of(context, command.run)
    context.authorise(asking.actor, "retry", project=entry.run.project)
    # The engine knows all jobs; the ledger's records of a run do not name those that were canceled before they began.
    ended = (State.FAILED, State.CANCELED)
    jobs = tuple(job.name for job in context.engine.run(command.run).jobs if job.state in ended)
    if not jobs and not command.job:
        raise UserError("nothing-failed", f"no job of run {command.run} has failed", hint="name a job to run it again")
    if asking.dry_run:
        return Result(seq=0, message=f"would retry {command.job or ', '.join(jobs)}", dry_run=True)
    if command.job:
        context.engine.retry(command.run, command.job, actor=asking.actor.id)
        jobs = (command.job,)
    else:
        jobs = context.engine.retry_failed(command.run, actor=asking.actor.id)
    return Result(seq=context.ledger.head().seq, message=f"retrying {', '.join(jobs)}", subject=f"run/{command.run}")


@handles(ask.CancelJob)
def cancel_job(context: Context, command: ask.CancelJob, asking: Asking) -> Result:
    """Stop one job."""
    entry = run_of(context, command.run)
    context.authorise(asking.actor, "cancel-job", project=entry.run.project)
    if asking.dry_run:
        return Result(seq=0, message=f"would cancel {command.job}", dry_run=True)
    context.engine.cancel_job(command.run, command.job, actor=asking.actor.id, reason=command.reason)
    return Result(seq=context.ledger.head().seq, message=f"canceling {command.job}", subject=f"run/{command.run}")


@handles(ask.PlayJob)
def play(context: Context, command: ask.PlayJob, asking: Asking) -> Result:
    """Start a manual job."""
    entry = run_of(context, command.run)
    context.authorise(asking.actor, "play", project=entry.run.project)
    if asking.dry_run:
        return Result(seq=0, message=f"would start {command.job}", dry_run=True)
    context.engine.play(command.run, command.job, actor=asking.actor.id, variables=_variables(command.variables))
    return Result(seq=context.ledger.head().seq, message=f"started {command.job}", subject=f"run/{command.run}")


def _variables(given: Mapping[str, str]) -> tuple[Variable, ...]:
    return tuple(Variable(key=key, value=value, raw=True) for key, value in given.items())


@handles(ask.SupersedeRuns)
def supersede(context: Context, command: ask.SupersedeRuns, asking: Asking) -> Result:
    """Let a new run of a branch or merge request cancel what it makes redundant of older ones."""
    new = run_of(context, command.run).run
    if new.ref.startswith("refs/tags/") or new.environment:
        return Result(seq=context.ledger.head().seq, message="nothing older counts as redundant")
    older = [
        one.id
        for one in context.engine.open_runs()
        if one.project == new.project and one.ref == new.ref and one.commit != new.commit and one.id != new.id
        and one.source != "schedule" and not one.parent and not one.environment and _before(one, new)
    ]  # fmt: skip
    for one in older:
        context.engine.supersede(one, asking.actor.id, f"a newer pipeline of {new.ref} began: {new.id}")
    return Result(seq=context.ledger.head().seq, message=f"{len(older)} older runs", subject=f"run/{new.id}")


def _before(one: Run, other: Run) -> bool:
    return one.created_at is not None and other.created_at is not None and one.created_at < other.created_at


def verification(context: Context, wish: Wish, urls: str, asking: Asking) -> Result:
    """Start the end-to-end tests of a release against an environment; `urls` maps services to addresses, as JSON."""
    variables = (
        Variable(key="AEGIS_VERIFY", value="e2e"),
        Variable(key="AEGIS_ENVIRONMENT", value=wish.environment or ""),
        Variable(key="AEGIS_ENVIRONMENT_URL", value=urls, raw=True),
    )
    return launch(context, replace(wish, source="api", variables=variables), asking)
