"""`aegis environment`: the environments that jobs have deployed on a server (`environment:` in `.gitlab-ci.yml`)."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import click

from aegis.cli.output import SYMBOLS, coloured, document, say, tinted
from aegis.cli.remote import client, confirmed, server_options, told
from aegis.core.errors import NotFound

_STATES = {"available": "healthy", "stopping": "running", "stopped": "canceled"}


@click.group()
def environment() -> None:
    """Show and stop the environments that jobs have deployed.

    \b
    Examples:
      aegis environment list
      aegis environment stop shop/web review/greet
    """


@environment.command("list")
@click.argument("project", required=False, default="")
@click.option("--all", "everything", is_flag=True, help="Those that were stopped as well.")
@server_options
def list_(project: str, url: str, data: str, *, everything: bool, as_json: bool) -> None:
    """List environments, of one project or of all.

    \b
    Examples:
      aegis environment list
      aegis environment list shop/web --all
    """
    with client(url, data) as server:
        found = server.get("environments", project=project)
    shown = [one for one in found if everything or one["state"] != "stopped"]
    if as_json:
        document("aegis.environment-list/1", {"environments": shown})
        return
    if not shown:
        hidden = f"; {len(found)} were stopped (--all shows them)" if found else ""
        say(f"no job has an environment here{hidden}: jobs deploy one with `environment:`")
    for one in shown:
        where = f"  {one['url']}" if one["url"] else ""
        until = f"  stops {_time(one['stops_at'])}" if one["stops_at"] else ""
        say(
            f"{_word(one)}  {one['project']}  {one['name']}  {_ref(one)}  since {_time(one['deployed_at'])}{where}{until}"
        )


@environment.command()
@click.argument("project")
@click.argument("name")
@server_options
def show(project: str, name: str, url: str, data: str, *, as_json: bool) -> None:
    """Show one environment: what was deployed there, by which job, and how it is stopped.

    \b
    Examples:
      aegis environment show shop/web review/greet
      aegis environment show shop/web review/greet --json
    """
    with client(url, data) as server:
        found = next((one for one in server.get("environments", project=project) if one["name"] == name), None)
    if found is None:
        message = f"no job of {project} has deployed an environment {name!r}"
        raise NotFound("no-such-environment", message, hint=f"aegis environment list {project} --all")
    if as_json:
        document("aegis.environment/1", found)
        return
    say(f"{_word(found)}  {found['project']}  {found['name']}")
    lines = {
        "address": found["url"],
        "tier": found["tier"],
        "deployed": f"{_time(found['deployed_at'])}, {_ref(found)} at {found['commit'][:12]}",
        "by": f"job {found['job']} of run {found['run']}",
        "stops": _time(found["stops_at"]) if found["stops_at"] else "",
        "stop job": found["stop_job"] or "none: it counts as stopped at once",
        "because": found["reason"],
    }
    for label, text in lines.items():
        if text:
            say(f"  {label:<9} {text}")


@environment.command()
@click.argument("project")
@click.argument("name")
@click.option("--reason", default="", help="Why.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@click.option("--yes", is_flag=True, help="Do not ask for production's name.")
@server_options
def stop(
    project: str, name: str, reason: str, url: str, data: str, *, dry_run: bool, yes: bool, as_json: bool
) -> None:  # fmt: skip
    """Stop an environment, by its stop job where it has one.

    \b
    Examples:
      aegis environment stop shop/web review/greet
      aegis environment stop shop/web review/greet --dry-run
    """
    if not dry_run:
        confirmed(name, yes=yes, what=f"stopping {name} of {project}")
    fields = {"project": project, "environment": name, "reason": reason}
    with client(url, data) as server:
        told("environment-stop", server.execute("stop-environment", fields, dry_run=dry_run), as_json=as_json)


def _word(one: dict[str, Any]) -> str:
    symbol = SYMBOLS[_STATES.get(one["state"], "pending")]
    text = f"{symbol} {one['state']}"
    return tinted(symbol, text) if coloured(sys.stdout) else text


def _ref(one: dict[str, Any]) -> str:
    return str(one["ref"]).removeprefix("refs/heads/").removeprefix("refs/tags/")


def _time(text: str | None) -> str:
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M %z") if text else "never"
