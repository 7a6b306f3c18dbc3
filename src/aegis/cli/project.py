"""`aegis project`: a project's environment, lock, quality and tests; what jobs call, and what a laptop can call as well."""

from __future__ import annotations

import sys
from typing import Literal, cast

import click

from aegis.cli import output


@click.group()
def project() -> None:
    """Make a project's environment and check it there.

    \b
    Examples:
      aegis project install
      aegis project test --kind unit
    """


@project.command()
@click.argument("path", default=".", metavar="[PATH]")
@click.option(
    "--python", metavar="PYTHON", help="The interpreter or version of the environment (default: that of aegis)."
)
@click.option("--force", is_flag=True, help="Make it again even when nothing has changed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def install(path: str, *, python: str | None, force: bool, as_json: bool) -> None:
    """Make .venv from the lock (hashes verified), or from what the project declares.

    \b
    Examples:
      aegis project install
      aegis project install services/orders --python 3.12
    """
    from aegis.bootstrap import project as shop

    done = shop.install(shop.workshop(path, quiet=as_json), python=python, force=force)
    if as_json:
        output.document("aegis.project-install/1", done)
        return
    how = "hashes verified" if done.verified else "nothing verified"
    word = "installed" if done.fresh else "is up to date"
    output.say(f"{output.state('success')}  .venv {word} from {done.source} ({how})")
    for line in done.notes:
        output.note(f"! {line}")


@project.command()
@click.argument("path", default=".", metavar="[PATH]")
@click.option("--upgrade", is_flag=True, help="Take the newest versions instead of keeping those that are locked.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def lock(path: str, *, upgrade: bool, as_json: bool) -> None:
    """Write requirements.lock (what it needs to run) and requirements-test.lock (what its tests need too).

    \b
    Examples:
      aegis project lock
      aegis project lock --upgrade
    """
    from aegis.bootstrap import project as shop

    written = shop.lock(shop.workshop(path, quiet=as_json), upgrade=upgrade)
    if as_json:
        output.document("aegis.project-lock/1", {"files": written})
    else:
        output.say(f"{output.state('success')}  wrote {' and '.join(written)}, every file pinned by hash")


@project.command()
@click.argument("path", default=".", metavar="[PATH]")
@click.option("--strict", is_flag=True, help="Leave with 1 when something was found.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def lint(path: str, *, strict: bool, as_json: bool) -> None:
    """Check the code with ruff and write gl-code-quality-report.json; the gates judge what was found.

    \b
    Examples:
      aegis project lint
      aegis project lint --strict
    """
    from aegis.bootstrap import project as shop

    found = shop.lint(shop.workshop(path, quiet=as_json))
    if as_json:
        output.document("aegis.project-lint/1", found)
    else:
        for one in found.issues:
            output.say(f"{one.path}:{one.line}:{one.column}: {one.severity}: {one.message} [{one.rule}]")
        output.say(f"{len(found.issues)} findings in {found.report}")
    if strict and found.issues:
        sys.exit(1)


@project.command()
@click.argument("path", default=".", metavar="[PATH]")
@click.option(
    "--kind", type=click.Choice(["unit", "integration", "e2e"]), help="Only tests/<kind>, where that is there."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def test(path: str, *, kind: str | None, as_json: bool) -> None:
    """Run the tests as pytest would, under coverage; write junit.xml and coverage.xml.

    \b
    Examples:
      aegis project test
      aegis project test --kind integration services/orders
    """
    from aegis.bootstrap import project as shop

    wanted = cast("Literal['unit', 'integration', 'e2e'] | None", kind)
    done = shop.test(shop.workshop(path, quiet=as_json), wanted)
    if as_json:
        output.document("aegis.project-test/1", done)
    else:
        if done.counts is not None:
            counted = done.counts
            output.say(
                f"{counted.tests} tests: {counted.passed} passed, {counted.failures} failed, {counted.errors} errors, "
                f"{counted.skipped} skipped"
            )
        if done.coverage:
            output.say(done.coverage)
        if done.message:
            output.note(f"{output.state('failed' if done.code else 'skipped', sys.stderr)}: {done.message}")
    if done.code:
        sys.exit(1)
