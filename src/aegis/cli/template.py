"""`aegis template`: the pipeline templates that come with Aegis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aegis.cli import output
from aegis.core.errors import Conflict, UserError

if TYPE_CHECKING:
    from aegis.pipeline.library import Template


@click.group()
def template() -> None:
    """List, show and use pipeline templates.

    \b
    Examples:
      aegis template list
      aegis template use python-service --input integration=false
    """


def _document(one: Template, *, whole: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": one.name,
        "address": one.address,
        "description": one.description,
        "inputs": [
            {
                "name": spec.name,
                "type": spec.type,
                "required": not spec.has_default,
                "default": spec.default,
                "options": list(spec.options),
                "description": spec.description,
            }
            for spec in one.inputs
        ],
    }
    return {**body, "text": one.text} if whole else body


@template.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_templates(*, as_json: bool) -> None:
    """List the templates.

    \b
    Examples:
      aegis template list
      aegis template list --json
    """
    from aegis.pipeline import library

    found = library.every()
    if as_json:
        output.document("aegis.templates/1", {"templates": [_document(one, whole=False) for one in found]})
        return
    for one in found:
        output.say(f"{one.address}\n  {one.description}")


@template.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show(name: str, *, as_json: bool) -> None:
    """Show a template's inputs and text.

    \b
    Examples:
      aegis template show python-service
      aegis template show security --json
    """
    from aegis.pipeline import library

    found = library.find(name)
    if as_json:
        output.document("aegis.template/1", _document(found, whole=True))
        return
    output.say(f"{found.address}\n{found.description}\n")
    for spec in found.inputs:
        default = f"default {spec.default!r}" if spec.has_default else "required"
        output.say(f"  {spec.name} ({spec.type}, {default}): {spec.description}")
    output.say(f"\n{found.text}")


@template.command()
@click.argument("name")
@click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="A value for an input.")
@click.option("--file", default=".gitlab-ci.yml", show_default=True, metavar="FILE", help="Where it is written.")
@click.option("--force", is_flag=True, help="Replace the file where there is one.")
@click.option("--dry-run", is_flag=True, help="Show the file and write nothing.")
@click.option("--render", is_flag=True, help="Write the jobs themselves instead of an include.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def use(
    name: str, *, inputs: tuple[str, ...], file: str, force: bool, dry_run: bool, render: bool, as_json: bool
) -> None:
    """Write a .gitlab-ci.yml that uses a template.

    \b
    Examples:
      aegis template use python-library
      aegis template use python-service --input integration=false --dry-run

    With --render the file holds the jobs, with the inputs put in, for a server that does not have these components.
    """
    from aegis.pipeline import library

    found = library.find(name)
    given: dict[str, str] = {}
    for pair in inputs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError("usage", f"{pair!r} is not NAME=VALUE", hint="write --input lint=false")
        given[key] = value
    values = library.typed(found, given)
    text = library.rendered(found, values) if render else library.including(found, values)
    path = Path(file)
    if path.exists() and not force and not dry_run:
        raise Conflict(
            "file-exists", f"{file} is there already", hint="add --force to replace it, or --dry-run to look"
        )
    if not dry_run:
        path.write_text(text, encoding="utf-8")
    if as_json:
        output.document("aegis.template-use/1", {"file": file, "written": not dry_run, "text": text})
    else:
        output.say(text if dry_run else f"{output.state('success')}: wrote {file}; look at it with `aegis preview`")
