"""`aegis adopt` and `aegis check`: an existing project looked at, and brought to Aegis."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from aegis.cli import output

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aegis.pipeline.assessment import Assessment, Problem
    from aegis.projects.model import Command, Project, Remark

_WORDS = {"ok": "pass", "warn": "warn", "fail": "failed"}


@click.command()
@click.argument("path", default=".", metavar="[PATH]")
@click.option("--write/--dry-run", default=True, help="Write the files (the default), or only show them.")
@click.option("--config", metavar="FILE", help="Add the project to this declaration (aegis.yaml) as well.")
@click.option("--project", "name", metavar="GROUP/NAME", help="How the project is called at Aegis.")
@click.option("--replace", is_flag=True, help="Overwrite a .gitlab-ci.yml that is there already.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def adopt(path: str, *, write: bool, config: str | None, name: str | None, replace: bool, as_json: bool) -> None:
    """Write the pipeline and the declaration of an existing Python project, saying what was found.

    \b
    Examples:
      aegis adopt . --dry-run
      aegis adopt ../orders --config platform/aegis.yaml --project shop/orders
    """
    from aegis.bootstrap.projects import bring

    done = bring(path, name=name, config=config, write=write, replace=replace)
    found = done.adoption
    if as_json:
        output.document("aegis.adopt/1", {**_plain(found), "written": done.written, "kept": done.kept})
        return
    _remarks(found.remarks)
    _commands("carried over", found.carried)
    _commands("not carried over", found.dropped)
    output.say()
    output.say(
        f"{'kept' if done.kept else '.gitlab-ci.yml'}{' (there is one; --replace overwrites it), it would be' if done.kept else ''}:"
    )
    output.say(_indented(found.pipeline))
    output.say(f"aegis.yaml ({found.project}):")
    output.say(_indented(found.declaration))
    for file in done.written:
        output.say(f"{output.state('success')}  wrote {file}")
    if not write:
        output.say("nothing was written (--dry-run)")
    output.say("next: " + "; ".join(found.next))


@click.command()
@click.argument("path", default=".", metavar="[PATH]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check(path: str, *, as_json: bool) -> None:
    """Report what would work here and what would not, and why; nothing is written.

    \b
    Examples:
      aegis check .
      aegis check ../orders --json

    With a .gitlab-ci.yml: each job as it would run here, each keyword and include that would not, and the mend. With GitHub
    workflows: what `aegis adopt` would make of them. Leaves with 1 when something would not work.
    """
    from aegis.bootstrap.projects import look

    looked = look(path)
    found = looked.project
    if as_json:
        pipeline = _pipeline_document(looked.pipeline) if looked.pipeline is not None else None
        adoption = _plain(looked.adoption) if looked.adoption is not None else None
        output.document(
            "aegis.check/1",
            {"works": looked.works, "project": _plain(found), "pipeline": pipeline, "adoption": adoption},
        )
        sys.exit(0 if looked.works else 1)
    if found.packages or looked.pipeline is None:
        _title(found)
    if looked.pipeline is not None:
        _pipeline(looked.pipeline)
        sys.exit(0 if looked.works else 1)
    _remarks(found.remarks)
    _commands("carried over", [one for one in found.commands if one.carried])
    _commands("not carried over", [one for one in found.commands if not one.carried])
    if looked.adoption is not None:
        output.say("\n`aegis adopt` would write this .gitlab-ci.yml:")
        output.say(_indented(looked.adoption.pipeline))
        output.say("and this into aegis.yaml:")
        output.say(_indented(looked.adoption.declaration))
    works = looked.works
    output.say(
        f"{output.state('pass' if works else 'failed')}  {'it can be adopted: aegis adopt ' + path if works else 'see above'}"
    )
    sys.exit(0 if works else 1)


def _pipeline_document(found: Assessment) -> dict[str, Any]:
    return {
        "file": found.file,
        "valid": found.valid,
        "works": found.works,
        "jobs": [_plain(job) for job in found.jobs],
        "problems": [_plain(one) for one in found.problems],
        "variables": list(found.variables),
        "warnings": [_plain(one) for one in found.warnings],
    }


_VERDICTS = {"as written": "pass", "differently": "warn", "not": "failed"}


def _pipeline(found: Assessment) -> None:
    """The pipeline for people: what is wrong with the file, then each job, then what somebody has to set."""
    output.say(f"{found.file}: {len(found.jobs)} jobs" if found.jobs else f"{found.file} cannot be read as it is")
    _problems(found.problems, "  ")
    for job in found.jobs:
        count = f" ×{job.count}" if job.count > 1 else ""
        where = ", ".join(job.pipelines) or "no usual pipeline"
        output.say(f"{output.state(_VERDICTS[job.runs])}  {job.name}{count} ({job.stage}): {where}")
        _problems(job.problems, "      ")
    if found.variables:
        output.say(f"\nsomebody has to set: {', '.join(found.variables)}")
        output.say(
            "    mend: `aegis run --env-file FILE` or `--secrets-file FILE` here; variables of the project on a server"
        )
    kinds = [sum(job.runs == one for job in found.jobs) for one in _VERDICTS]
    verdict = f"{kinds[0]} jobs run as written, {kinds[1]} differently, {kinds[2]} not"
    output.say(
        f"\n{output.state('pass' if found.works else 'failed')}  {verdict}; next: {'aegis run' if found.works else 'the mends above'}"
    )


def _problems(problems: Iterable[Problem], indent: str) -> None:
    for one in problems:
        place = f"{one.where}: " if one.where is not None else ""
        output.say(f"{indent}{place}{one.message}")
        if one.mend:
            output.say(f"{indent}    mend: {one.mend}")


def _plain(value: object) -> dict[str, Any]:
    from aegis.core import codec

    plain: dict[str, Any] = codec.plain(value)
    return plain


def _title(found: Project) -> None:
    version = f" {found.version}" if found.version else ""
    output.say(f"{found.name or 'unnamed'}{version}: a {found.kind}, {found.layout} layout")


def _remarks(remarks: Iterable[Remark]) -> None:
    for one in remarks:
        output.say(f"{output.state(_WORDS[one.level])}  {one.topic}: {one.message}")
        if one.mend:
            output.say(f"    mend: {one.mend}")


def _commands(title: str, commands: Iterable[Command]) -> None:
    listed = list(commands)
    if listed:
        output.say(f"\n{title}:")
    for one in listed:
        output.say(f"  {one.where}: {one.text}")
        output.say(f"      {one.carried or one.why}")


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())
