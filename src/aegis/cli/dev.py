"""`aegis dev`: the environment of a developer in this working tree: programs, hooks, services, seeds."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from aegis.cli import output
from aegis.core.errors import CheckFailed, NotFound

if TYPE_CHECKING:
    from aegis.bootstrap.development import Development, Part

_PATH = click.argument("path", default=".", metavar="[PATH]")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
_DRY = click.option("--dry-run", is_flag=True, help="Only say what would happen.")
_INTERRUPTED = 130


@click.group()
def dev() -> None:
    """Make what a developer of this project needs here, and take it away again without a trace.

    \b
    Examples:
      aegis dev up
      eval "$(aegis dev env)"
      aegis dev down
    """


@dev.command()
@_PATH
@click.option(
    "--without",
    multiple=True,
    type=click.Choice(["environment", "hooks", "services", "seeds"]),
    help="Leave a part out.",
)
@click.option("--seed", is_flag=True, help="Sow the seeds again.")
@_DRY
@_JSON
def up(path: str, *, without: tuple[str, ...], seed: bool, dry_run: bool, as_json: bool) -> None:
    """Make .venv from the lock, put the Git hooks in, start the pipeline's services, sow the seeds.

    \b
    Examples:
      aegis dev up
      aegis dev up --without services --without seeds

    What is there already stays as it is; earlier hooks still run. Run it again when the lock or the pipeline has changed.
    """
    place = _here(path)
    if dry_run:
        _told("aegis.dev-up/1", place.preview(without), as_json=as_json, more={"dry_run": True})
        return
    done: list[Part] = []
    try:
        for part in place.up(without, seed_again=seed):
            done.append(part)
            if not as_json:
                _line(part)
        values = place.variables()
    except KeyboardInterrupt:
        there = ", ".join(one.name for one in done) or "nothing"
        output.note(f"interrupted; there is {there} by now. `aegis dev up` goes on, `aegis dev down` takes it away")
        sys.exit(_INTERRUPTED)
    if as_json:
        _told("aegis.dev-up/1", done, as_json=True, more={"variables": values, "dry_run": False})
        return
    shown = {name: value for name, value in values.items() if name != "PATH"}
    for name, value in shown.items():
        output.say(f"  {name}={value}")
    output.say('into this shell: eval "$(aegis dev env)"    away with it: aegis dev down')


@dev.command()
@_PATH
@_JSON
def status(path: str, *, as_json: bool) -> None:
    """Say what of the environment is there; leave with 1 where something that should be is not.

    \b
    Examples:
      aegis dev status
      aegis dev status --json
    """
    parts = _here(path).status()
    if as_json:
        _told("aegis.dev-status/1", parts, as_json=True, more={"up": bool(parts)})
    elif not parts:
        output.say("there is no developer's environment here; `aegis dev up` makes it")
    else:
        _told("", parts, as_json=False)
    sys.exit(CheckFailed.exit_code if any(one.state in {"failed", "warn"} for one in parts) else 0)


@dev.command()
@_PATH
@_JSON
def env(path: str, *, as_json: bool) -> None:
    """Print the variables of the environment, for a shell to read.

    \b
    Examples:
      eval "$(aegis dev env)"
      aegis dev env --json
    """
    import shlex

    values = _here(path).variables()
    if as_json:
        output.document("aegis.dev-env/1", {"variables": values})
        return
    for name, value in values.items():
        output.say(f"export {name}={shlex.quote(value)}")


@dev.command()
@_PATH
@click.option("--keep-images", is_flag=True, help="Keep the images that were fetched for services.")
@_DRY
@_JSON
def down(path: str, *, keep_images: bool, dry_run: bool, as_json: bool) -> None:
    """Take away everything that `aegis dev up` made; hooks and configuration are as they were.

    \b
    Examples:
      aegis dev down
      aegis dev down --keep-images
    """
    place = _here(path)
    if dry_run:
        _told("aegis.dev-down/1", place.status(), as_json=as_json, more={"dry_run": True})
        return
    done = []
    for part in place.down(keep_images=keep_images):
        done.append(part)
        if not as_json:
            _line(part)
    if as_json:
        _told("aegis.dev-down/1", done, as_json=True, more={"dry_run": False})
    elif not done:
        output.say("there was nothing to take away")


@dev.command(hidden=True)
@click.argument("name", type=click.Choice(["pre-commit", "pre-push"]))
@_JSON
def hook(name: str, *, as_json: bool) -> None:  # noqa: ARG001 - errors are told as asked
    """What the hooks call.

    \b
    Examples:
      aegis dev hook pre-commit
      aegis dev hook pre-push < refs
    """
    _here(".").hook(name, sys.stdin.read() if name == "pre-push" else "")


def _here(path: str) -> Development:
    from pathlib import Path

    from aegis.bootstrap.development import here

    if not Path(path).is_dir():
        raise NotFound("no-folder", f"{path} is not a folder", hint="name the folder of a project")
    return here(path, output.note)


def _line(part: Part) -> None:
    output.say(f"{output.state(part.state)}  {part.name}: {part.text}")
    if part.hint:
        output.say(f"    mend: {part.hint}")


def _told(schema: str, parts: Iterable[Part], *, as_json: bool, more: dict[str, Any] | None = None) -> None:
    if as_json:
        from aegis.core import codec

        output.document(schema, {"parts": [codec.plain(one) for one in parts], **(more or {})})
        return
    for part in parts:
        _line(part)
