"""`aegis graph`: the pipeline as a picture or for Mermaid."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from aegis.cli import output
from aegis.cli.pipeline import occasion, occasion_options, refuse
from aegis.core.errors import UserError

_FORMATS: Final = {
    ".svg": "svg",
    ".mmd": "mermaid",
    ".md": "markdown",
    ".html": "html",
    ".htm": "html",
    ".txt": "table",
}


@click.command()
@click.argument("file", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["svg", "mermaid", "markdown", "html", "table"]),
    help="Default: what the name after --out says, else svg.",
)
@click.option("--out", metavar="FILE", help="Where it is written. Default: standard output.")
@occasion_options
@click.option("--data", metavar="DIR", help="A server's data directory, whose ledger knows how long jobs took.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def graph(
    file: str | None, *, form: str | None, out: str | None, data: str | None, as_json: bool, **options: Any
) -> None:
    """Draw the pipeline that would run: stages as columns, needs as edges, the critical path where durations are known.

    \b
    Examples:
      aegis graph --out pipeline.svg
      aegis graph --merge-request --format mermaid
    """
    from aegis.bootstrap.pipeline import compile_and_forecast
    from aegis.pipeline import drawing

    asked = occasion(**options)
    found, forecast = compile_and_forecast(file, asked, data)
    refuse(found, as_json=as_json)
    if found.plan is None:
        raise UserError(
            "nothing-to-draw",
            f"nothing would run: {found.skipped}",
            hint="aegis preview says why; name another occasion",
        )
    chosen = form or _FORMATS.get(Path(out).suffix.lower() if out else ".svg", "svg")
    make = {
        "svg": drawing.svg,
        "mermaid": drawing.mermaid,
        "markdown": lambda plan, known: f"```mermaid\n{drawing.mermaid(plan, known)}```\n",
        "html": drawing.page,
        "table": _table,
    }
    text = make[chosen](found.plan, forecast)
    if out:
        Path(out).write_text(text, encoding="utf-8")
    if as_json:
        rows = [
            dict(zip(("stage", "job", "waits_for", "remarks", "critical"), row, strict=True))
            for row in drawing.rows(found.plan, forecast)
        ]
        output.document("aegis.graph/1", {"format": chosen, "file": out, "text": None if out else text, "jobs": rows})
    elif out:
        output.say(f"{output.state('success')}  wrote {out}")
    else:
        sys.stdout.write(text)


def _table(plan: Any, forecast: Any) -> str:
    from aegis.pipeline import drawing

    rows = [drawing.HEADS, *drawing.rows(plan, forecast)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(drawing.HEADS))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )
