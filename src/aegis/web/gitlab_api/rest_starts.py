"""Rows about what starts pipelines and what they were started with: triggers, schedules, variables, bridges; and erasing jobs."""

from __future__ import annotations

from typing import Any

from aegis.core.errors import UserError
from aegis.delivery.gitlab_door import FoundJob
from aegis.web.gitlab_api import shapes
from aegis.web.gitlab_api.calls import Call, Made, Rows, row
from aegis.web.gitlab_api.rest_work import environment, environments_of, found_job, found_run, found_schedule


@row("POST", "projects/:id/trigger/pipeline", "start one with a person's token as `token`, with variables",
     "project.trigger_pipeline('main', token)")  # fmt: skip
def trigger(call: Call) -> Any:
    given = call.given.get("variables") or {}
    if not isinstance(given, dict):
        raise UserError("parameter", "variables is invalid")
    # A form writes them one by one: variables[KEY]=value.
    one_by_one = {
        name.removeprefix("variables[")[:-1]: value
        for name, value in call.given.items()
        if name.startswith("variables[") and name.endswith("]")
    }
    variables = {str(key): str(value) for key, value in {**given, **one_by_one}.items()}
    made = call.run("trigger", project=call.project.name, ref=call.need("ref"), variables=variables)
    if "run" not in made:
        raise UserError("pipeline", "Pipeline cannot be run: its file is not valid, or no job applies")
    return Made(value=shapes.pipeline(call.door, call.door.run(str(made["run"]))))


@row("POST", "projects/:id/pipeline_schedules/:schedule/play", "start its pipeline now", "schedule.play()")
def play_schedule(call: Call) -> Any:
    name, _ = found_schedule(call)
    call.run("play-schedule", project=call.project.name, schedule=name)
    return Made(value={"message": "201 Created"})


@row("GET", "projects/:id/pipelines/:pipeline/variables", "the variables it was started with",
     "pipeline.variables.list()")  # fmt: skip
def pipeline_variables(call: Call) -> Any:
    given = call.door.plan(found_run(call)).given
    return Rows(
        rows=given, shown=lambda one: {"key": one.key, "value": one.value, "variable_type": "env_var", "raw": one.raw}
    )


@row("GET", "projects/:id/pipelines/:pipeline/bridges", "its jobs that start other pipelines, with these",
     "pipeline.bridges.list()")  # fmt: skip
def bridges(call: Call) -> Any:
    found = [one for one in call.door.jobs(found_run(call)) if one.spec.trigger is not None]
    return Rows(rows=found, shown=lambda one: _bridge(call, one))


def _bridge(call: Call, one: FoundJob) -> Any:
    started = call.door.started_by(one)
    shown = shapes.pipeline(call.door, started) if started is not None else None
    return {**shapes.job(call.door, one), "downstream_pipeline": shown}


@row("POST", "projects/:id/jobs/:job/erase", "delete its log and its files", "job.erase()")
def erase_job(call: Call) -> Any:
    found = found_job(call)
    call.run("erase-job", run=found.run.id, job=found.job.id)
    erased: dict[str, Any] = {"artifacts": [], "artifacts_file": None, "erased_at": shapes.time(call.door.now())}
    return Made(value={**shapes.job(call.door, found), **erased})


@row(
    "POST",
    "projects/:id/environments",
    "name one before a job deploys it",
    "project.environments.create({'name': 'n'})",
)
def create_environment(call: Call) -> Any:
    name = call.need("name")
    tier, url = call.text("tier"), call.text("external_url")
    call.run("create-environment", project=call.project.name, environment=name, url=url, tier=tier)
    return Made(value=next(one for one in environments_of(call) if one["name"] == name))


@row("DELETE", "projects/:id/environments/:environment", "list a stopped one no longer", "environment.delete()")
def delete_environment(call: Call) -> Any:
    call.run("remove-environment", project=call.project.name, environment=environment(call)["name"])
    return Made()


@row("POST", "projects/:id/repository/tags", "tag a commit", "project.tags.create({'tag_name': 't', 'ref': 'main'})")
def create_tag(call: Call) -> Any:
    name = call.need("tag_name")
    call.run("create-tag", project=call.project.name, tag=name, ref=call.need("ref"), message=call.text("message"))
    return Made(value=shapes.tag(call.door.sources.tag(call.actor, call.project.name, name)))


@row("DELETE", "projects/:id/repository/tags/:tag", "remove a tag", "tag.delete()")
def delete_tag(call: Call) -> Any:
    call.run("delete-tag", project=call.project.name, tag=call.path["tag"])
    return Made()
