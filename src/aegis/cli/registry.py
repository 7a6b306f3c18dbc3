"""`aegis registry cleanup|scrub|retention`: the upkeep of images, packages and logs on a server."""

from __future__ import annotations

from typing import Any

import click

from aegis.cli.output import document, say
from aegis.cli.remote import client, server_options, told


@click.group()
def registry() -> None:
    """Clean up, check and thin out what a server keeps.

    \b
    Examples:
      aegis registry cleanup --dry-run
      aegis registry scrub
    """


@registry.command()
@click.argument("repositories", default="*")
@click.option("--gitlab", metavar="PROJECT", help="What GitLab hosts for this declared project (or a pattern) instead.")
@click.option("--dry-run", is_flag=True, help="Only say what would go, what would stay, and why.")
@server_options
def cleanup(repositories: str, gitlab: str | None, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Remove images by the declared policy, and content that nothing needs.

    \b
    Examples:
      aegis registry cleanup --dry-run
      aegis registry cleanup "quarantine/*" --json
      aegis registry cleanup --gitlab shop/orders --dry-run
    """
    if gitlab is not None and repositories != "*":
        raise click.UsageError("name repositories of this server, or --gitlab with a project; not both")
    with client(url, data) as server:
        if gitlab is None:
            result = server.execute("clean-up-registry", {"repositories": repositories}, dry_run=dry_run)
        else:
            result = server.execute("clean-up-gitlab-registry", {"project": gitlab}, dry_run=dry_run)
    if as_json:
        document("aegis.registry-cleanup/1", result)
        return
    for one in result["values"]["decisions"]:
        sign = "-" if one["remove"] else " "
        names = ", ".join(one["tags"]) or one["digest"][:19]
        say(f"{sign} {one['repository']}:{names}  {one['reason']}")
    say(result["message"])


@registry.command()
@click.option("--dry-run", is_flag=True, help="Read everything, and write nothing down.")
@server_options
def scrub(url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Read all stored content and find what no longer has its digest; exit 1 where something is damaged.

    \b
    Examples:
      aegis registry scrub
      aegis registry scrub --json
    """
    checked, damaged, after = 0, list[str](), ""
    result: dict[str, Any] = {}
    with client(url, data) as server:
        while after or not result:
            result = server.execute("scrub-registry", {"after": after, "seconds": 5.0}, dry_run=dry_run)
            checked, after = checked + result["values"]["checked"], result["values"]["next"]
            damaged += result["values"]["damaged"]
            if after:
                click.echo(f"{checked} blobs read, at {after[:19]}", err=True)
    if as_json:
        document("aegis.registry-scrub/1", {"checked": checked, "damaged": damaged})
    else:
        for digest in damaged:
            say(f"✗ {digest} is damaged: push it again, or restore it from a backup")
        say(f"{checked} blobs read, {len(damaged)} damaged")
    if damaged:
        raise SystemExit(1)


@registry.command()
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@server_options
def retention(url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Delete logs and files of runs that are past the declared time.

    \b
    Examples:
      aegis registry retention --dry-run
      aegis registry retention --json
    """
    with client(url, data) as server:
        result = server.execute("apply-retention", {}, dry_run=dry_run)
    told("registry-retention", result, as_json=as_json)
