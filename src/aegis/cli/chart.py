"""`aegis chart`: generate, check, pack and push Helm charts, without helm."""

from __future__ import annotations

from pathlib import Path

import click

from aegis.cli import output


@click.group()
def chart() -> None:
    """Generate, check, pack and push Helm charts.

    \b
    Examples:
      aegis chart generate --out chart
      aegis chart package chart --version 1.2.0 --out dist
    """


@chart.command()
@click.argument("path", default=".", type=click.Path(path_type=Path))
@click.option("--out", default="chart", type=click.Path(path_type=Path), help="The folder to write (chart).")
@click.option("--image", default="", metavar="HOST/NAME", help="The image's repository, without a tag.")
@click.option("--health", default="/healthz", metavar="PATH", help="Where the service answers for its health.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def generate(path: Path, *, out: Path, image: str, health: str, as_json: bool) -> None:
    """Write a chart for the service in a folder; what is there already is not overwritten.

    \b
    Examples:
      aegis chart generate
      aegis chart generate services/orders --out charts/orders --image registry.example.org/shop/orders
    """
    from aegis.bootstrap.chart import generate_chart

    files = generate_chart(path, out=out, image=image, health=health)
    if as_json:
        output.document("aegis.chart-generate/1", {"path": str(out), "files": files})
    else:
        output.say(f"{output.state('success')}  wrote {len(files)} files to {out}; next: aegis chart lint {out}")


@chart.command()
@click.argument("path", default="chart", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def lint(path: Path, *, as_json: bool) -> None:
    """Check a chart without carrying its templates out. Exits with 1 when helm would refuse it.

    \b
    Examples:
      aegis chart lint chart
      aegis chart lint --json charts/orders
    """
    from aegis.bootstrap.chart import files_of
    from aegis.build.chart import lint as linted

    found = linted(files_of(path))
    errors = [one for one in found if one.fatal]
    if as_json:
        warnings = [one for one in found if not one.fatal]
        output.document("aegis.chart-lint/1", {"valid": not errors, "errors": errors, "warnings": warnings})
    else:
        for one in found:
            place = f"{path / one.where.file}:{one.where.line}: " if one.where is not None else ""
            output.say(f"{output.state('failed' if one.fatal else 'warn')}  {place}{one.message}")
            if one.hint:
                output.say(f"    {one.hint}")
        if not found:
            output.say(f"{output.state('success')}  {path} is in order")
    if errors:
        raise SystemExit(1)


@chart.command()
@click.argument("path", default="chart", type=click.Path(path_type=Path))
@click.option("--version", default="", metavar="V", help="The chart's version; else that of its Chart.yaml.")
@click.option("--out", default="dist", type=click.Path(path_type=Path), help="The folder for the package (dist).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def package(path: Path, *, version: str, out: Path, as_json: bool) -> None:
    """Pack a chart: the same bytes for the same files.

    \b
    Examples:
      aegis chart package chart --version 1.2.0 --out dist
      aegis chart package charts/orders --json
    """
    from aegis.bootstrap.chart import package_chart

    report = package_chart(path, version=version, out=out)
    if as_json:
        output.document("aegis.chart/1", report)
    else:
        output.say(f"{output.state('success')}  {report.path}  {report.digest}")


@chart.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("url")
@click.option("--dry-run", is_flag=True, help="Only say what would be pushed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def push(file: Path, url: str, *, dry_run: bool, as_json: bool) -> None:
    """Push a packed chart to an OCI registry, as `helm push` does.

    \b
    Examples:
      aegis chart push dist/orders-1.2.0.tgz oci://localhost:5000/shop/charts
      aegis chart push dist/orders-1.2.0.tgz oci://localhost:5000/shop/charts --dry-run
    """
    from aegis.bootstrap.chart import push_chart

    if dry_run:
        planned = {"file": str(file), "url": url}
        if as_json:
            output.document("aegis.chart-push-plan/1", planned)
        else:
            output.say(f"would push {file} to {url}")
        return
    report = push_chart(file, url)
    if as_json:
        output.document("aegis.chart-push/1", report)
    else:
        output.say(f"{output.state('success')}  {report.reference}  {report.digest}")
