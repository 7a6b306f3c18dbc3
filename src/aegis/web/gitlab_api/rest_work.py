"""Rows about what is carried out: pipelines, jobs, logs, artifacts, environments, deployments, releases, lint, runners."""

from __future__ import annotations

from itertools import islice
from typing import Any

from aegis import __version__
from aegis.core import ids
from aegis.core.errors import NotFound, UserError
from aegis.core.types import State
from aegis.delivery.gitlab_door import FoundJob, Linted
from aegis.delivery.options import ScheduleOptions
from aegis.web.gitlab_api import shapes
from aegis.web.gitlab_api.calls import Bytes, Call, Made, Rows, row

_JOBS = 500
"""Jobs of a project that are listed at most, newest first."""


# -- the server -------------------------------------------------------------------------------------------


@row("GET", "version", "the server's version", "gl.version()")
def version(_call: Call) -> Any:
    return {"version": __version__, "revision": __version__}


@row("GET", "metadata", "the same, with addresses", "gl.http_get('/metadata')")
def metadata(call: Call) -> Any:
    return {**version(call), "kas": {"enabled": False, "externalUrl": None, "version": None}, "enterprise": False}


@row("GET", "user", "whose token that is", "gl.auth()")
def user(call: Call) -> Any:
    return call.door.person(call.actor.id)


# -- pipelines --------------------------------------------------------------------------------------------


@row("GET", "projects/:id/pipelines", "pipelines, newest first", "project.pipelines.list(ref='main')")
def pipelines(call: Call) -> Any:
    ref, status, sha, source = (call.text(name) for name in ("ref", "status", "sha", "source"))
    found = [
        one
        for one in call.door.runs(call.actor, call.project.name)
        if ref in ("", shapes.ref_of(one)[0])
        and status in ("", one.state.value)
        and sha in ("", one.commit)
        and source in ("", one.source)
    ]
    return Rows(rows=found, shown=lambda one: shapes.pipeline(call.door, one))


@row("GET", "projects/:id/pipelines/latest", "the newest of a ref", "project.pipelines.latest(ref='main')")
def latest_pipeline(call: Call) -> Any:
    ref = call.text("ref") or call.project.default_branch
    for one in call.door.runs(call.actor, call.project.name):
        if shapes.ref_of(one)[0] == ref:
            return shapes.pipeline(call.door, one)
    raise NotFound("no-such-run", "Pipeline Not Found")


@row(
    "POST",
    "projects/:id/pipeline",
    "start one for a branch, with variables",
    "project.pipelines.create({'ref': 'main'})",
)
def create_pipeline(call: Call) -> Any:
    made = call.run("run", project=call.project.name, ref=call.need("ref"), variables=_variables(call, "variables"))
    if "run" not in made:
        raise UserError("pipeline", "Pipeline cannot be run: its file is not valid, or no job applies")
    return Made(value=shapes.pipeline(call.door, call.door.run(str(made["run"]))))


def _variables(call: Call, name: str) -> dict[str, str]:
    given = call.given.get(name) or []
    if not isinstance(given, list) or not all(isinstance(one, dict) and "key" in one for one in given):
        raise UserError("parameter", f"{name}[key] is missing")
    return {str(one["key"]): str(one.get("value", "")) for one in given}


def found_run(call: Call) -> str:
    """The run that an address names; `NotFound`."""
    return call.door.run_id(call.actor, call.project.name, call.path["pipeline"])


@row("GET", "projects/:id/pipelines/:pipeline", "one pipeline", "project.pipelines.get(number)")
def pipeline(call: Call) -> Any:
    return shapes.pipeline(call.door, call.door.run(found_run(call)))


@row("POST", "projects/:id/pipelines/:pipeline/cancel", "stop it", "pipeline.cancel()")
def cancel_pipeline(call: Call) -> Any:
    run = found_run(call)
    call.run("cancel", run=run)
    return shapes.pipeline(call.door, call.door.run(run))


@row("POST", "projects/:id/pipelines/:pipeline/retry", "run what failed or was canceled again", "pipeline.retry()")
def retry_pipeline(call: Call) -> Any:
    run = found_run(call)
    call.run("retry", run=run)
    return Made(value=shapes.pipeline(call.door, call.door.run(run)))


@row("GET", "projects/:id/pipelines/:pipeline/jobs", "its jobs", "pipeline.jobs.list()")
def pipeline_jobs(call: Call) -> Any:
    found = call.door.jobs(found_run(call), retried=call.flag("include_retried"))
    return _jobs(call, [one for one in found if one.spec.trigger is None])


@row("GET", "projects/:id/pipeline_schedules", "the declared schedules", "project.pipelineschedules.list()")
def schedules(call: Call) -> Any:
    project = call.project
    return Rows(
        rows=tuple(project.schedules.items()), shown=lambda one: shapes.schedule(call.door, project, one[0], one[1])
    )


@row(
    "GET",
    "projects/:id/pipeline_schedules/:schedule",
    "one of them, and when it is due",
    "project.pipelineschedules.get(number)",
)
def schedule(call: Call) -> Any:
    name, made = found_schedule(call)
    return shapes.schedule(call.door, call.project, name, made)


def found_schedule(call: Call) -> tuple[str, ScheduleOptions]:
    """The schedule that an address names; `NotFound`."""
    project = call.project
    for name, made in project.schedules.items():
        if call.path["schedule"] == str(shapes.schedule_number(project, name)):
            return name, made
    raise NotFound("no-such-schedule", "Pipeline Schedule Not Found")


# -- jobs -------------------------------------------------------------------------------------------------


def _jobs(call: Call, found: list[FoundJob]) -> Rows:
    scope = call.given.get("scope[]") or call.given.get("scope") or []
    wanted = {scope} if isinstance(scope, str) else set(scope)
    kept = [one for one in found if not wanted or one.job.state.value in wanted]
    return Rows(rows=kept, shown=lambda one: shapes.job(call.door, one))


@row("GET", "projects/:id/jobs", "jobs of the newest pipelines", "project.jobs.list()")
def jobs(call: Call) -> Any:
    every = (
        one for run in call.door.runs(call.actor, call.project.name) for one in reversed(list(call.door.jobs(run.id)))
    )
    return _jobs(call, list(islice(every, _JOBS)))


@row("GET", "job", "the job whose token you hold", "gl.http_get('/job')")
def own_job(call: Call) -> Any:
    return shapes.job(call.door, call.door.own_job(call.actor))


def found_job(call: Call) -> FoundJob:
    """The job that an address names; `NotFound`."""
    return call.door.job(call.actor, call.project.name, call.path["job"])


@row("GET", "projects/:id/jobs/:job", "one job", "project.jobs.get(number)")
def job(call: Call) -> Any:
    return shapes.job(call.door, found_job(call))


@row("GET", "projects/:id/jobs/:job/trace", "its log", "job.trace()")
def trace(call: Call) -> Any:
    found = found_job(call)
    size = found.job.trace.size if found.job.trace is not None else None
    return Bytes(chunks=call.door.trace(found), size=size, media="text/plain", name=f"{found.number}.log")


def _changed(call: Call, verb: str, found: FoundJob, **more: Any) -> Any:
    call.run(verb, run=found.run.id, job=found.job.name, **more)
    latest = next(one for one in call.door.jobs(found.run.id) if one.job.name == found.job.name)
    return Made(value=shapes.job(call.door, latest))


@row("POST", "projects/:id/jobs/:job/retry", "run it again", "job.retry()")
def retry_job(call: Call) -> Any:
    return _changed(call, "retry", found_job(call))


@row("POST", "projects/:id/jobs/:job/play", "start a manual job, with variables", "job.play()")
def play_job(call: Call) -> Any:
    found = found_job(call)
    if found.job.state not in (State.MANUAL, State.SCHEDULED):
        raise UserError("job-not-manual", "Unplayable Job")
    return _changed(call, "play", found, variables=_variables(call, "job_variables_attributes"))


@row("POST", "projects/:id/jobs/:job/cancel", "stop it", "job.cancel()")
def cancel_job(call: Call) -> Any:
    return _changed(call, "cancel-job", found_job(call))


# -- artifacts --------------------------------------------------------------------------------------------


def _archive(call: Call, found: FoundJob) -> Bytes:
    archive = call.door.archive(call.actor, found)
    return Bytes(chunks=archive.chunks, size=archive.size, media="application/zip", name=archive.name)


def _within(call: Call, found: FoundJob) -> Bytes:
    size, chunks = call.door.within(call.actor, found, call.path["path"])
    return Bytes(chunks=chunks, size=size, name=call.path["path"].rpartition("/")[2])


@row("GET", "projects/:id/jobs/:job/artifacts", "its archive", "job.artifacts()")
def artifacts(call: Call) -> Any:
    return _archive(call, found_job(call))


@row("POST", "projects/:id/jobs/:job/artifacts/keep", "keep its files beyond `expire_in`", "job.keep_artifacts()")
def keep_artifacts(call: Call) -> Any:
    return _changed(call, "keep-artifacts", found_job(call))


@row("GET", "projects/:id/jobs/:job/artifacts/*path", "one file of its archive", "job.artifact('out/a.txt')")
def artifact(call: Call) -> Any:
    return _within(call, found_job(call))


def _latest(call: Call) -> FoundJob:
    return call.door.latest_with(call.actor, call.project.name, call.path["ref"], call.need("job"))


@row("GET", "projects/:id/jobs/artifacts/:ref/download", "the archive of a ref's newest such job",
     "project.artifacts.download('main', 'build')")  # fmt: skip
def latest_artifacts(call: Call) -> Any:
    return _archive(call, _latest(call))


@row(
    "GET",
    "projects/:id/jobs/artifacts/:ref/raw/*path",
    "one file of it",
    "project.artifacts.raw('main', 'a.txt', 'build')",
)
def latest_artifact(call: Call) -> Any:
    return _within(call, _latest(call))


@row("DELETE", "projects/:id/jobs/:job/artifacts", "delete its files; its log stays", "job.delete_artifacts()")
def delete_artifacts(call: Call) -> Any:
    found = found_job(call)
    call.run("erase-artifacts", run=found.run.id, job=found.job.name)
    return Made()


# -- environments, deployments, releases ------------------------------------------------------------------


@row(
    "GET",
    "projects/:id/environments",
    "environments of its service, and those that its jobs deploy to",
    "project.environments.list()",
)
def environments(call: Call) -> Any:
    wanted, states = call.text("name"), call.text("states")
    found = [one for one in environments_of(call) if wanted in ("", one["name"]) and states in ("", one["state"])]
    return Rows(rows=found, shown=lambda one: one)


@row(
    "GET",
    "projects/:id/environments/:environment",
    "one of them, and what runs there",
    "project.environments.get(number)",
)
def environment(call: Call) -> Any:
    for one in environments_of(call):
        if call.path["environment"] == str(one["id"]):
            return one
    raise NotFound("no-such-environment", "Environment Not Found")


@row("POST", "projects/:id/environments/:environment/stop", "stop one that a job deployed", "environment.stop()")
def stop_environment(call: Call) -> Any:
    found = environment(call)
    if found["name"] in {one.name for one in call.door.environments(call.project)}:
        raise UserError("environment-declared", "a declared environment is not stopped")
    if found["state"] != "stopped":
        call.run("stop-environment", project=call.project.name, environment=found["name"])
    return Made(value=environment(call), status=200)


def environments_of(call: Call) -> list[shapes.Shape]:
    """The environments of a project: declared ones, then those of its jobs."""
    door, project = call.door, call.project
    declared = [
        shapes.environment(door, project, one, door.cell(call.actor, project, one.name))
        for one in door.environments(project)
    ]
    return declared + [shapes.place(door, one) for one in door.places(call.actor, project)]


@row("GET", "projects/:id/deployments", "promotions of its service, newest first", "project.deployments.list()")
def deployments(call: Call) -> Any:
    project, wanted = call.project, call.text("environment")
    found = [one for one in call.door.promotions(call.actor, project) if wanted in ("", one.environment)]
    return Rows(rows=found, shown=lambda one: shapes.deployment(call.door, project, one))


@row("GET", "projects/:id/deployments/:deployment", "one of them", "project.deployments.get(number)")
def deployment(call: Call) -> Any:
    project = call.project
    for one in call.door.promotions(call.actor, project):
        if call.path["deployment"] == str(ids.number(f"promotion/{one.id}")):
            return shapes.deployment(call.door, project, one)
    raise NotFound("no-such-deployment", "Deployment Not Found")


@row(
    "GET",
    "projects/:id/releases",
    "releases that its jobs made, then those that its gates let pass, newest first",
    "project.releases.list()",
)
def releases(call: Call) -> Any:
    return Rows(rows=_releases(call), shown=lambda one: one)


@row("GET", "projects/:id/releases/:tag", "one release, by its tag", "project.releases.get('v1.0.0')")
def release(call: Call) -> Any:
    for one in _releases(call):
        if one["tag_name"] == call.path["tag"]:
            return one
    raise NotFound("no-such-release", "Not Found")


def _releases(call: Call) -> list[shapes.Shape]:
    door, project = call.door, call.project
    passed = door.queries.releases(call.actor, service=project.name, limit=_JOBS)
    made = [shapes.published(door, one) for one in door.published(call.actor, project)]
    return made + [shapes.release(door, one) for one in passed]


# -- lint -------------------------------------------------------------------------------------------------


def _linted(found: Linted, *, with_jobs: bool) -> dict[str, Any]:
    said: dict[str, Any] = {
        "valid": found.valid, "errors": list(found.errors), "warnings": list(found.warnings),
        "merged_yaml": found.merged, "includes": [],
    }  # fmt: skip
    if with_jobs:
        said["jobs"] = [
            {"name": one.name, "stage": one.stage, "before_script": list(one.before_script), "script": list(one.script),
             "after_script": list(one.after_script), "tag_list": list(one.tags), "when": one.when,
             "allow_failure": one.allow_failure}
            for one in found.jobs
        ]  # fmt: skip
    return said


@row("POST", "projects/:id/ci/lint", "check a pipeline file that is given", "project.ci_lint.validate({'content': …})")
def lint_given(call: Call) -> Any:
    jobs_too = call.flag("include_jobs")
    whole = call.flag("dry_run") or jobs_too
    found = call.door.lint(call.actor, call.project, content=call.need("content"), ref=call.text("ref"), whole=whole)
    return _linted(found, with_jobs=jobs_too)


@row("GET", "projects/:id/ci/lint", "check the pipeline file of a ref", "project.ci_lint.get()")
def lint_there(call: Call) -> Any:
    ref = call.text("content_ref") or call.text("ref") or call.text("sha")
    jobs_too = call.flag("include_jobs")
    whole = call.flag("dry_run") or jobs_too
    found = call.door.lint(call.actor, call.project, content=None, ref=ref, whole=whole)
    return _linted(found, with_jobs=jobs_too)


# -- runners ----------------------------------------------------------------------------------------------


@row("POST", "user/runners", "let a runner ask for jobs; its token is shown once", "gl.user.runners.create({…})")
def create_runner(call: Call) -> Any:
    projects: list[str] = []
    if call.text("runner_type") == "project_type":
        projects = [call.door.project(call.actor, call.need("project_id")).name]
    made = call.run("create-runner", **_settings(call), projects=projects)
    return Made(value={"id": made["id"], "token": made["token"], "token_expires_at": None})


def _settings(call: Call) -> dict[str, Any]:
    """What a body says of a runner, in Aegis's words; nothing for what it does not say."""
    wanted: dict[str, Any] = {}
    tags = call.given.get("tag_list")
    if tags is not None:
        names = tags.split(",") if isinstance(tags, str) else tags
        wanted["tags"] = [str(name).strip() for name in names if str(name).strip()]
    for name in ("run_untagged", "paused", "locked"):
        if name in call.given:
            wanted[name] = call.flag(name)
    if "active" in call.given:
        wanted["paused"] = not call.flag("active")
    if "access_level" in call.given:
        wanted["protected"] = call.text("access_level") == "ref_protected"
    if call.given.get("maximum_timeout"):
        wanted["maximum_timeout"] = call.whole("maximum_timeout", 0)
    for name, ours in (("description", "description"), ("maintenance_note", "note")):
        if name in call.given:
            wanted[ours] = call.text(name)
    return wanted


def _runner(call: Call) -> Any:
    for one in call.door.queries.runners(call.actor):
        if call.path["runner"] == str(one.number):
            return one
    raise NotFound("no-such-runner", "Runner not found")


@row("GET", "runners", "remote runners", "gl.runners.list()")
def runners(call: Call) -> Any:
    return Rows(rows=call.door.queries.runners(call.actor), shown=shapes.runner)


@row("GET", "runners/all", "the same", "gl.runners_all.list()")
def all_runners(call: Call) -> Any:
    return runners(call)


@row("GET", "runners/:runner", "one of them", "gl.runners.get(number)")
def runner(call: Call) -> Any:
    return shapes.runner(_runner(call))


@row("PUT", "runners/:runner", "pause it, or change what it takes", "runner.paused = True; runner.save()")
def change_runner(call: Call) -> Any:
    call.run("change-runner", runner=_runner(call).id, **_settings(call))
    return shapes.runner(_runner(call))


@row("DELETE", "runners/:runner", "remove it", "runner.delete()")
def delete_runner(call: Call) -> Any:
    call.run("remove-runner", runner=_runner(call).id)
    return Made()


@row("POST", "runners/:runner/reset_authentication_token", "renew its token",
     "gl.http_post('/runners/1/reset_authentication_token')")  # fmt: skip
def reset_runner(call: Call) -> Any:
    made = call.run("reset-runner-token", runner=_runner(call).id)
    return Made(value={"token": made["token"], "token_expires_at": None})
