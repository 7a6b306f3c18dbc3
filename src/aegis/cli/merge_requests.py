"""`aegis merge-request list|open|merge|close`."""

from __future__ import annotations

from typing import Any

import click

from aegis.cli.output import document, say, state
from aegis.cli.remote import client, server_options, told


@click.group("merge-request")
def merge_request() -> None:
    """Open, merge and close merge requests.

    \b
    Examples:
      aegis merge-request open shop/orders receipts --target develop
      aegis merge-request merge shop/orders 7
    """


@merge_request.command("list")
@click.argument("project", required=False, default="")
@click.option("--state", "wanted", default="opened", show_default=True, help="opened, merged or closed.")
@server_options
def list_requests(project: str, wanted: str, url: str, data: str, *, as_json: bool) -> None:
    """List merge requests, newest first.

    \b
    Examples:
      aegis merge-request list
      aegis merge-request list shop/orders --state merged
    """
    with client(url, data) as server:
        found: list[dict[str, Any]] = server.get("merge-requests", project=project, state=wanted)
    if as_json:
        document("aegis.merge-requests/1", found)
        return
    for one in found:
        note = "may be merged" if one["may_merge"] else one["why_not"]
        say(f"!{one['number']} {one['project']} {one['source_branch']} → {one['target_branch']}  {one['title']}")
        say(f"   {state(one['verdict'] or 'pending')}  {note}")
    if not found:
        say("there are none; `git push -o merge_request.create` opens one")


@merge_request.command("open")
@click.argument("project")
@click.argument("source")
@click.option("--target", default="", help="The branch to merge into; else the default branch.")
@click.option("--title", default="", help="Else the last commit's first line.")
@click.option("--description", default="", help="More about it.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@server_options
def open_(
    project: str, source: str, target: str, title: str, description: str, url: str, data: str, *, dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Ask for a branch to be merged.

    \b
    Examples:
      aegis merge-request open shop/orders receipts --target develop
      aegis merge-request open shop/orders develop --target main --title "Receipts"
    """
    fields = {"project": project, "source": source, "target": target, "title": title, "description": description}
    with client(url, data) as server:
        result = server.execute("open-merge-request", fields, dry_run=dry_run)
    told("merge-request", result, as_json=as_json)


def _end(verb: str, project: str, number: int, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    with client(url, data) as server:
        result = server.execute(verb, {"project": project, "number": number}, dry_run=dry_run)
    told("merge-request", result, as_json=as_json)


@merge_request.command()
@click.argument("project")
@click.argument("number", type=int)
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@server_options
def merge(project: str, number: int, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Merge a merge request whose head has passed.

    \b
    Examples:
      aegis merge-request merge shop/orders 7
      aegis merge-request merge shop/orders 7 --dry-run
    """
    _end("merge", project, number, url, data, dry_run=dry_run, as_json=as_json)


@merge_request.command()
@click.argument("project")
@click.argument("number", type=int)
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@server_options
def close(project: str, number: int, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Close a merge request without merging.

    \b
    Examples:
      aegis merge-request close shop/orders 7
      aegis merge-request close shop/orders 7 --dry-run
    """
    _end("close", project, number, url, data, dry_run=dry_run, as_json=as_json)
