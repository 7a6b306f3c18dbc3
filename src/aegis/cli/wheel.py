"""`aegis wheel`: build a library's wheel and sdist, and publish them."""

from __future__ import annotations

from pathlib import Path

import click

from aegis.cli import output


@click.group()
def wheel() -> None:
    """Build and publish a library.

    \b
    Examples:
      aegis wheel build
      aegis wheel publish dist/*.whl
    """


@wheel.command()
@click.argument("path", default=".", type=click.Path(path_type=Path))
@click.option("--publish", is_flag=True, help="Upload to --repository-url, or to $AEGIS_UPLOAD_URL.")
@click.option("--repository-url", default="", metavar="URL", help="The upload address of a package index.")
@click.option("--version", default="", help="Build as this version, whatever pyproject.toml says.")
@click.option("--output", "folder", type=click.Path(path_type=Path), help="Where to write (dist/).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def build(path: Path, *, publish: bool, repository_url: str, version: str, folder: Path | None, as_json: bool) -> None:
    """Build wheel and sdist with the project's own backend, reproducibly.

    \b
    Examples:
      aegis wheel build
      aegis wheel build libraries/shared --version 1.3.0-dev.5

    Where the version is dynamic, or [tool.aegis] version = "managed", $AEGIS_VERSION is written in.
    """
    from aegis.bootstrap.wheel import build_wheel

    report = build_wheel(path, output=folder, version=version, publish=publish, repository_url=repository_url)
    if as_json:
        output.document("aegis.wheel/1", report)
        return
    for file in report.files:
        output.say(f"  {file.filename}  {file.size / 1e3:.1f} kB  {file.digest}")
    decided = "decided by the server" if report.forced else "as the project says"
    output.say(f"{output.state('success')}  {report.name} {report.version} ({decided}) in {report.seconds:.2f} s")
    if report.published:
        output.say(f"{output.state('success')}  published to {report.published}")


@wheel.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--repository-url", default="", metavar="URL", help="The upload address; else $AEGIS_UPLOAD_URL.")
@click.option("--dry-run", is_flag=True, help="Only say what would be published.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def publish(files: tuple[Path, ...], *, repository_url: str, dry_run: bool, as_json: bool) -> None:
    """Publish built files to a package index. Publishing the same file again succeeds.

    \b
    Examples:
      aegis wheel publish dist/shared-1.2.0-py3-none-any.whl
      aegis wheel publish --dry-run dist/*
    """
    from aegis.bootstrap.wheel import publish_files

    names = [file.name for file in files]
    where = ""
    if not dry_run:
        where = publish_files(files, repository_url=repository_url)
    if as_json:
        output.document("aegis.wheel-publish/1", {"files": names, "index": where, "dry_run": dry_run})
    else:
        output.say(f"would publish {', '.join(names)}" if dry_run else f"published {', '.join(names)} to {where}")
