"""`aegis image base`: a base image solved from Debian packages, without root and without running anything of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from aegis.cli import output

F = TypeVar("F", bound=Callable[..., Any])


def _from(function: F) -> F:
    """The options that say where packages come from."""
    for option in (
        click.option("--trusted", is_flag=True, help="Use the mirror without a signature: it is your own."),
        click.option("--keyring", type=click.Path(path_type=Path), help="The keys that the mirror is signed with."),
        click.option("--component", "components", multiple=True, default=("main",), help="Components (main)."),
        click.option("--suite", "suites", multiple=True, metavar="NAME", help="Suites of the mirror."),
        click.option("--mirror", default="", metavar="URL", help="A mirror; else the machine's own apt."),
    ):
        function = option(function)
    return function


@click.group()
def base() -> None:
    """Make base images of Debian packages: an exact lock, then the same bytes from it everywhere.

    \b
    Examples:
      aegis image base lock
      aegis image base build
    """


@base.command()
@click.argument("packages", nargs=-1)
@click.option("--without", multiple=True, metavar="NAME", help="Leave a dependency out.")
@click.option("--with", "with_", multiple=True, metavar="NAME", help="Take in what is left out by default.")
@click.option("--arch", default="", metavar="ARCH", help="amd64 or arm64; else this machine's.")
@click.option("--output", "file", default="aegis-base.lock", type=click.Path(path_type=Path), help="The lock to write.")
@_from
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def lock(
    packages: tuple[str, ...], *, without: tuple[str, ...], with_: tuple[str, ...], arch: str, file: Path, mirror: str,
    suites: tuple[str, ...], components: tuple[str, ...], keyring: Path | None, trusted: bool, as_json: bool,
) -> None:  # fmt: skip
    """Solve which packages a base needs, and write exactly these into a lock with their digests.

    \b
    Examples:
      aegis image base lock
      aegis image base lock python3 ca-certificates libpq5 --output base.lock

    Without packages named: Python, certificates, time zones. What only maintainer scripts need is left out.
    """
    from aegis.bootstrap.image_base import From, lock_base

    source = From(mirror=mirror, suites=suites, components=components, keyring=keyring, trusted=trusted)
    report = lock_base(packages, source=source, with_=with_, without=without, architecture=arch, file=file)
    if as_json:
        output.document("aegis.base-lock/1", report)
        return
    output.say(f"{output.state('success')}  {report.packages} packages, {report.size / 1e6:.1f} MB, in {report.file}")
    output.say(f"  left out: {', '.join(report.left_out)}")


@base.command()
@click.argument("file", default="aegis-base.lock", type=click.Path(path_type=Path))
@click.option("--output", "folder", default="base", type=click.Path(path_type=Path), help="The OCI layout to write.")
@click.option("--tag", default="base", help="The image's tag in the layout.")
@_from
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def build(
    file: Path, *, folder: Path, tag: str, mirror: str, suites: tuple[str, ...], components: tuple[str, ...],
    keyring: Path | None, trusted: bool, as_json: bool,
) -> None:  # fmt: skip
    """Build the base image of a lock into an OCI layout.

    \b
    Examples:
      aegis image base build
      aegis image base build base.lock --output base --tag 2026.11

    An image stands on it with `--base oci:base`, or on the lock itself with `--base lock:aegis-base.lock`.
    """
    from aegis.bootstrap.image_base import From, build_base

    source = From(mirror=mirror, suites=suites, components=components, keyring=keyring, trusted=trusted)
    report = build_base(file, source=source, output=folder, tag=tag)
    if as_json:
        output.document("aegis.base/1", report)
        return
    held = f"Python {report.python}" if report.python else "no Python"
    output.say(
        f"{output.state('success')}  {report.digest}  {report.size / 1e6:.1f} MB, {report.packages} packages, {held},"
        f" {report.seconds:.2f} s"
    )


@base.command()
@click.argument("reference", metavar="HOST/NAME[:TAG][@DIGEST]")
@click.option("--to", "repository", required=True, metavar="HOST/NAME", help="The repository that gets it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be copied.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def mirror(reference: str, *, repository: str, dry_run: bool, as_json: bool) -> None:
    """Copy a base from its registry into yours by digest, and say how a project names it.

    \b
    Examples:
      aegis image base mirror docker.io/library/python:3.12-slim --to registry.example.org/shop/python
      aegis image base mirror localhost:5000/mirror/hub/library/python:3.12-slim --to localhost:5000/shop/python --json

    An index is copied with all its platforms. What the target's registry has in the other repository is not sent.
    """
    from aegis.bootstrap.image_base import mirror_base

    report = mirror_base(reference, repository, dry_run=dry_run)
    if as_json:
        output.document("aegis.base-mirror/1", report)
        return
    counts = f"{report.sent} blobs sent, {report.present} were there"
    output.say(f"{output.state('success')}  {report.digest} ({'would be copied' if dry_run else counts})")
    output.say(f'  base = "{report.pinned}"')
