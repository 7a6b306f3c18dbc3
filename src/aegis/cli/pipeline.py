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
    from aegis.pipeline.forecast import Forecast
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


_MERGED: Final = click.option(
    "--merged", is_flag=True, help="Show the merged YAML: includes, extends, references done."
)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


def pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The values of an option that takes NAME=VALUE."""
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
        click.option("--merged-result", is_flag=True, help="With --merge-request: for what merging would make."),
        click.option("--target", metavar="BRANCH", help="What the merge request is for. Default: the default branch."),
        click.option("--source", metavar="SOURCE", help="What starts it: push, schedule, web, api, trigger …"),
        click.option(
            "--var", "variables", multiple=True, callback=pairs, metavar="NAME=VALUE", help="A pipeline variable."
        ),
        click.option(
            "--variables",
            "declaration",
            metavar="FILE",
            help="An aegis.yaml with variables of the project. Default: that in its root.",
        ),
        click.option(
            "--input", "inputs", multiple=True, callback=pairs, metavar="NAME=VALUE", help="An input of the file."
        ),
        click.option("--changed", multiple=True, metavar="PATH", help="A changed file. Default: what Git says."),
        click.option("--since", metavar="REF", help="Changed is what differs from where the work tree left REF."),
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
    merged_result: bool,
    target: str | None,
    source: str | None,
    variables: Sequence[tuple[str, str]],
    inputs: Sequence[tuple[str, str]],
    changed: Sequence[str],
    since: str | None = None,
    declaration: str | None = None,
    local: bool = False,
) -> Occasion:
    """The options as one value; `UserError` where they contradict one another."""
    from difflib import get_close_matches

    from aegis.bootstrap.pipeline import Occasion
    from aegis.core.plan import Variable
    from aegis.pipeline.request import SOURCES

    if tag and (merge_request or ref):
        raise UserError("usage", "--tag cannot be joined with --ref or --merge-request", hint="leave one of them out")
    if changed and since:
        raise UserError("usage", "--changed and --since say it differently", hint="leave one of them out")
    if source is not None and source not in SOURCES:
        close = get_close_matches(source, SOURCES, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(SOURCES)}"
        raise UserError("usage", f"{source!r} is nothing that starts a pipeline", hint=hint)
    return Occasion(
        ref=ref,
        tag=tag,
        merge_request=merge_request or merged_result,
        merged_result=merged_result,
        target=target,
        source=source,
        variables=tuple(Variable(key=name, value=value) for name, value in variables),
        inputs=dict(inputs),
        changed=tuple(changed) if changed else None,
        since=since,
        predefined={"AEGIS_LOCAL": "true"} if local else None,
        declaration=declaration,
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
@_MERGED
@_JSON
@_uncollected
def lint(file: str | None, *, advice: bool, merged: bool, as_json: bool) -> None:
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
        body = {"valid": not found.errors, "errors": _places(found.errors), "warnings": _places(found.warnings)}
        output.document("aegis.lint/1", {**body, "merged": _merged(found)} if merged else body)
    elif merged and not found.errors:
        output.say(_merged(found).rstrip("\n"))
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


def refuse(found: Compilation, *, as_json: bool) -> None:
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
@click.option("--data", metavar="DIR", help="A server's data directory, whose ledger knows how long jobs took.")
@_MERGED
@_JSON
@_uncollected
def preview(file: str | None, *, data: str | None, merged: bool, as_json: bool, **options: Any) -> None:
    """Show the jobs that would run, in order, with the reason for each job that is in or out.

    \b
    Examples:
      aegis preview --merge-request
      aegis preview --tag v1.2.0 --var DEPLOY=yes --json
    """
    from aegis.bootstrap.pipeline import compile_and_forecast

    found, forecast = compile_and_forecast(file, occasion(**options), data)
    refuse(found, as_json=as_json)
    if as_json:
        more = {"merged": _merged(found)} if merged else {}
        _preview_document(found, {"forecast": _forecast_document(forecast), **more})
        return
    if merged:
        output.say(_merged(found).rstrip("\n"))
        return
    _tell(found.warnings, "warning")
    if found.plan is not None:
        _draw(found.plan, forecast)
    else:
        output.say(f"{output.state('skipped')}: nothing would run: {found.skipped}")
    if found.excluded and found.plan is not None:
        output.say("\nnot in this pipeline")
    for one in found.excluded:
        output.say(f"  {output.state('skipped')}  {one.name}: {one.reason}")
    if found.plan is not None:
        _foresee(forecast)


def _foresee(forecast: Forecast | None) -> None:
    """How long it will take, and what decides that."""
    from aegis.pipeline.forecast import spoken

    if forecast is None:
        output.say(
            "\nhow long it takes is not known: none of its jobs has run yet (`aegis run`, or --data DIR of a server)"
        )
        return
    unknown = (
        f"; {len(forecast.unknown)} without history: {', '.join(forecast.unknown[:4])}" if forecast.unknown else ""
    )
    output.say(f"\nabout {spoken(forecast.seconds)} with free runners{unknown}")
    way = [f"{name} ({spoken(span.end - span.start)})" for name in forecast.critical for span in [forecast.spans[name]]]
    output.say(f"critical path: {' → '.join(way)}")


def _forecast_document(forecast: Forecast | None) -> dict[str, Any] | None:
    if forecast is None:
        return None
    spans = {name: {"start": span.start, "end": span.end, "known": span.known} for name, span in forecast.spans.items()}
    return {
        "seconds": forecast.seconds,
        "critical_path": list(forecast.critical),
        "unknown": list(forecast.unknown),
        "jobs": spans,
    }


def _merged(found: Compilation) -> str:
    from aegis.pipeline.showing import merged_yaml

    return merged_yaml(found.merged)


def _preview_document(found: Compilation, more: dict[str, Any]) -> None:
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
            **more,
        },
    )


def _draw(plan: Plan, forecast: Forecast | None) -> None:
    from aegis.pipeline.forecast import spoken

    if plan.name:
        output.say(plan.name)
    by_stage: dict[str, list[JobSpec]] = {}
    for job in plan.jobs:
        by_stage.setdefault(job.stage, []).append(job)
    for stage in plan.stages:
        output.say(stage)
        for job in by_stage.get(stage, ()):
            marks = [job.when] if job.when != "on_success" else []
            if job.allow_failure or job.allow_failure_exit_codes:
                marks.append("may fail")
            if job.needs is not None:
                marks.append(f"needs {', '.join(need.job for need in job.needs) or 'nothing'}")
            span = forecast.spans.get(job.name) if forecast is not None else None
            if span is not None and span.known:
                marks.append(f"about {spoken(span.end - span.start)}")
            if forecast is not None and job.name in forecast.critical:
                marks.append("on the critical path")
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
    refuse(after.compilation, as_json=as_json)
    difference = compare(before.compilation.plan, after.compilation.plan)
    if as_json:
        _difference_document(before, after, difference)
    else:
        _tell_difference(before, after, difference)
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


def _tell_difference(before: Revision, after: Revision, difference: Difference) -> None:
    from aegis.pipeline.review import review

    if before.compilation.errors:
        output.note(f"{before.name} has no valid pipeline: everything counts as added")
    output.say(f"{before.name} ({before.commit[:8]}) → {after.name} ({after.commit[:8]})")
    left_out = after.compilation.excluded
    for one in review(before.compilation.plan, after.compilation.plan, difference, left_out):
        output.say(
            output.marked(
                one.mark, f"{'    ' * one.depth}{one.mark} {one.text}" if one.depth or one.mark != " " else one.text
            )
        )
    if after.compilation.plan is None and difference:
        output.say(f"{after.name} makes no pipeline for this occasion: {after.compilation.skipped}")
