"""`aegis lint`, `aegis preview` and `aegis diff`: what a pipeline file says, before anything runs."""

from __future__ import annotations

import functools
import gc
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from aegis.cli import output
from aegis.core.errors import CheckFailed, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aegis.bootstrap.pipeline import Occasion, Revision
    from aegis.core.plan import JobSpec, Plan
    from aegis.pipeline.diagnostics import Diagnostic
    from aegis.pipeline.difference import Difference
    from aegis.pipeline.request import Compilation


def _uncollected(command: Callable[..., Any]) -> Callable[..., Any]:
    """The cycle collector off while a command compiles, which makes no cycles: for large files it is a third of the time."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        gc.disable()
        try:
            return command(*arguments, **options)
        finally:
            gc.freeze()
            gc.enable()

    return run


_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


def _pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found = []
    for value in values:
        name, equals, rest = value.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE", ctx, param)
        found.append((name, rest))
    return tuple(found)


def _is_local(ctx: click.Context, param: click.Parameter, value: bool | None) -> bool:  # noqa: ARG001 - click's signature
    """What runs here is local unless it is said otherwise; everything else asks what the server would do."""
    return ctx.info_name == "run" if value is None else value


def occasion_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what a pipeline would be run for; `run` shares them."""
    options = (
        click.option("--ref", metavar="NAME", help="A branch, which need not exist. Default: the one checked out."),
        click.option("--tag", metavar="NAME", help="A tag instead of a branch."),
        click.option("--merge-request", is_flag=True, help="A merge request of the branch."),
        click.option("--target", metavar="BRANCH", help="What the merge request is for. Default: the default branch."),
        click.option("--source", metavar="SOURCE", help="What starts it: push, schedule, web, api, trigger …"),
        click.option(
            "--var", "variables", multiple=True, callback=_pairs, metavar="NAME=VALUE", help="A pipeline variable."
        ),
        click.option(
            "--input", "inputs", multiple=True, callback=_pairs, metavar="NAME=VALUE", help="An input of the file."
        ),
        click.option("--changed", multiple=True, metavar="PATH", help="A changed file. Default: what Git says."),
        click.option(
            "--local/--no-local",
            default=None,
            callback=_is_local,
            help="As on this machine: AEGIS_LOCAL is set, and templates neither push nor publish (`run` does so).",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def occasion(
    *,
    ref: str | None,
    tag: str | None,
    merge_request: bool,
    target: str | None,
    source: str | None,
    variables: Sequence[tuple[str, str]],
    inputs: Sequence[tuple[str, str]],
    changed: Sequence[str],
    local: bool = False,
) -> Occasion:
    """The options as one value; `UserError` where they contradict one another."""
    from aegis.bootstrap.pipeline import Occasion
    from aegis.core.plan import Variable

    if tag and (merge_request or ref):
        raise UserError("usage", "--tag cannot be joined with --ref or --merge-request", hint="leave one of them out")
    return Occasion(
        ref=ref,
        tag=tag,
        merge_request=merge_request,
        target=target,
        source=source,
        variables=tuple(Variable(key=name, value=value) for name, value in variables),
        inputs=dict(inputs),
        changed=tuple(changed) if changed else None,
        predefined={"AEGIS_LOCAL": "true"} if local else None,
    )


def _places(diagnostics: Sequence[Diagnostic]) -> list[dict[str, Any]]:
    return [
        {
            "code": one.code,
            "message": one.message,
            "hint": one.hint,
            "where": {"file": one.where.file, "line": one.where.line, "column": one.where.column}
            if one.where
            else None,
        }
        for one in diagnostics
    ]


def _tell(diagnostics: Sequence[Diagnostic], kind: str) -> None:
    for one in diagnostics:
        place = f"{one.where}: " if one.where else ""
        output.say(f"{place}{kind}[{one.code}]: {one.message}")
        if one.hint:
            output.say(f"  hint: {one.hint}")


@click.command()
@click.argument("file", required=False)
@click.option("--advice/--no-advice", default=True, help="Also advise on what is valid and could be better (default).")
@_JSON
@_uncollected
def lint(file: str | None, *, advice: bool, as_json: bool) -> None:
    """Check a .gitlab-ci.yml, with everything it includes; leave with 1 when it is not valid.

    \b
    Examples:
      aegis lint
      aegis lint services/orders/.gitlab-ci.yml --json

    Advice never makes a file invalid; `# aegis: allow RULE` in the file silences a rule.
    """
    from aegis.bootstrap.pipeline import check

    found = check(file, advise=advice)
    if as_json:
        output.document(
            "aegis.lint/1",
            {"valid": not found.errors, "errors": _places(found.errors), "warnings": _places(found.warnings)},
        )
    else:
        _tell(found.errors, "error")
        _tell([one for one in found.warnings if not one.code.startswith("advice-")], "warning")
        _tell([one for one in found.warnings if one.code.startswith("advice-")], "advice")
        count = f"{len(found.errors)} errors, {len(found.warnings)} warnings"
        output.say(
            f"{output.state('failed' if found.errors else 'passed')}: {count}"
            if found.errors or found.warnings
            else output.state("passed")
        )
    sys.exit(CheckFailed.exit_code if found.errors else 0)


def _refuse(found: Compilation, *, as_json: bool) -> None:
    """An invalid file is wrong input to everything but `lint`."""
    if not found.errors:
        return
    first = found.errors[0]
    if as_json:
        output.document("aegis.error/1", {"error": _places([first])[0], "errors": _places(found.errors)})
    else:
        _tell(found.errors, "error")
    sys.exit(UserError.exit_code)


def job_document(job: JobSpec) -> dict[str, Any]:
    """A job as it stands in JSON: variables by name, needs always a list, masked values never shown."""
    body: dict[str, Any] = {name: getattr(job, name) for name in job.__slots__}
    body["scheduling"] = "stage" if job.needs is None else "needs"
    body["needs"] = job.needs or []
    body["variables"] = {one.key: "[masked]" if one.masked or one.secret else one.value for one in job.variables}
    return body


@click.command()
@click.argument("file", required=False)
@occasion_options
@_JSON
@_uncollected
def preview(file: str | None, *, as_json: bool, **options: Any) -> None:
    """Show the jobs that would run, in order, with the reason for each job that is in or out.

    \b
    Examples:
      aegis preview --merge-request
      aegis preview --tag v1.2.0 --var DEPLOY=yes --json
    """
    from aegis.bootstrap.pipeline import compile_local

    found = compile_local(file, occasion(**options))
    _refuse(found, as_json=as_json)
    if as_json:
        _preview_document(found)
        return
    _tell(found.warnings, "warning")
    if found.plan is not None:
        _draw(found.plan)
    else:
        output.say(f"{output.state('skipped')}: nothing would run: {found.skipped}")
    for one in found.excluded:
        output.say(f"  {output.state('skipped')}  {one.name}: {one.reason}")


def _preview_document(found: Compilation) -> None:
    plan = found.plan
    output.document(
        "aegis.preview/1",
        {
            "jobs": [job_document(job) for job in plan.jobs] if plan is not None else [],
            "excluded": [{"name": one.name, "reason": one.reason} for one in found.excluded],
            "stages": list(plan.stages) if plan is not None else [],
            "name": plan.name if plan is not None else None,
            "plan": plan.id if plan is not None else None,
            "skipped": found.skipped,
            "unsupported": list(plan.unsupported) if plan is not None else [],
            "warnings": _places(found.warnings),
        },
    )


def _draw(plan: Plan) -> None:
    if plan.name:
        output.say(plan.name)
    for stage in plan.stages:
        output.say(stage)
        for job in plan.jobs:
            if job.stage != stage:
                continue
            marks = [job.when] if job.when != "on_success" else []
            if job.allow_failure or job.allow_failure_exit_codes:
                marks.append("may fail")
            if job.needs is not None:
                marks.append(f"needs {', '.join(need.job for need in job.needs) or 'nothing'}")
            output.say(f"  {job.name}" + (f"  ({'; '.join(marks)})" if marks else ""))
            output.say(f"      {job.reason}")


@click.command()
@click.argument("base")
@click.argument("head")
@click.argument("file", required=False)
@occasion_options
@click.option("--exit-code", is_flag=True, help="Leave with 1 when they differ.")
@_JSON
@_uncollected
def diff(base: str, head: str, file: str | None, *, exit_code: bool, as_json: bool, **options: Any) -> None:
    """Compare the pipelines of two revisions for the same occasion, job by job.

    \b
    Examples:
      aegis diff main HEAD
      aegis diff v1.0.0 v1.1.0 --merge-request --json
    """
    from aegis.bootstrap.pipeline import compile_revisions
    from aegis.pipeline.difference import compare

    before, after = compile_revisions(base, head, file, occasion(**options))
    _refuse(after.compilation, as_json=as_json)
    difference = compare(before.compilation.plan, after.compilation.plan)
    if as_json:
        _difference_document(before, after, difference)
    else:
        _tell_difference(before, difference)
    sys.exit(1 if exit_code and difference else 0)


def _difference_document(before: Revision, after: Revision, difference: Difference) -> None:
    from aegis.core import codec

    output.document(
        "aegis.diff/1",
        {
            "differs": bool(difference),
            "base": {"name": before.name, "commit": before.commit, "valid": not before.compilation.errors},
            "head": {"name": after.name, "commit": after.commit, "valid": True},
            "added": list(difference.added),
            "removed": list(difference.removed),
            "changed": codec.plain(difference.changed),
            "stages": {"before": list(difference.stages_before), "after": list(difference.stages_after)},
        },
    )


def _tell_difference(before: Revision, difference: Difference) -> None:
    if before.compilation.errors:
        output.note(f"{before.name} has no valid pipeline: everything counts as added")
    if difference.stages_before != difference.stages_after:
        output.say(f"stages: {', '.join(difference.stages_before)} → {', '.join(difference.stages_after)}")
    for name in difference.added:
        output.say(f"+ {name}")
    for name in difference.removed:
        output.say(f"- {name}")
    for job in difference.changed:
        output.say(f"~ {job.name}")
        for field in job.fields:
            output.say(f"    {field.field}: {_short(field.before)} → {_short(field.after)}")
    if not difference:
        output.say("no difference")


def _short(value: object) -> str:
    from aegis.core import codec

    text = value if isinstance(value, str) else codec.encode(value).decode()
    return text if len(text) <= 120 else text[:117] + "…"
