"""`aegis promote|approve|reject|rollback`: what changes an environment."""

from __future__ import annotations

from typing import Any

import click

from aegis.cli.output import document, say
from aegis.cli.remote import client, confirmed, server_options, told


@click.command()
@click.argument("service")
@click.argument("environment")
@click.argument("release", required=False, default="")
@click.option("--emergency", is_flag=True, help="The shorter way; needs --reason and is reviewed afterwards.")
@click.option("--reason", default="", help="Why.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Do not ask for production's name.")
@server_options
def promote(
    service: str, environment: str, release: str, reason: str, url: str, data: str, *, emergency: bool,
    dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Ask for a release in an environment.

    \b
    Examples:
      aegis promote orders production
      aegis promote orders production 1.4.0 --dry-run
    """
    if not dry_run:
        confirmed(environment, yes=yes, what=f"promoting {service}")
    fields = {
        "service": service, "environment": environment, "release": release, "emergency": emergency, "reason": reason,
    }  # fmt: skip
    with client(url, data) as server:
        result = server.execute("promote", fields, dry_run=dry_run)
    told("promote", result, as_json=as_json)


@click.command()
@click.argument("service")
@click.argument("environment")
@click.argument("release", required=False, default="")
@click.option("--reason", default="", help="Why.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Do not ask for production's name.")
@server_options
def rollback(
    service: str, environment: str, release: str, reason: str, url: str, data: str, *, dry_run: bool, yes: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Return an environment to its previous release, or to a named earlier one.

    \b
    Examples:
      aegis rollback orders production
      aegis rollback orders production 1.3.2 --reason "slow checkout"
    """
    if not dry_run:
        confirmed(environment, yes=yes, what=f"rolling {service} back")
    fields = {"service": service, "environment": environment, "release": release, "reason": reason}
    with client(url, data) as server:
        result = server.execute("rollback", fields, dry_run=dry_run)
    told("rollback", result, as_json=as_json)


def _decide(
    verb: str, promotion: str, comment: str, url: str, data: str, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    with client(url, data) as server:
        view: dict[str, Any] = server.get(f"promotions/{promotion}")
        found = view["promotion"]
        if verb == "approve" and not dry_run:
            if not as_json:
                say(f"{found['release']} → {found['environment']} (now {found['previous'] or 'nothing'})")
                say(found["diff"])
            confirmed(found["environment"], yes=yes, what=f"approving {found['release']}")
        fields = {"promotion": promotion, "comment": comment}
        if verb == "approve":
            fields["plan_hash"] = found["plan_hash"]
        result = server.execute(verb, fields, dry_run=dry_run)
    told(verb, result, as_json=as_json)


@click.command()
@click.argument("promotion", required=False, default="")
@click.option("--comment", default="", help="Kept with the approval.")
@click.option("--dry-run", is_flag=True, help="Only say whether it would count.")
@click.option("--yes", is_flag=True, help="Do not ask for production's name.")
@server_options
def approve(promotion: str, comment: str, url: str, data: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Approve a waiting promotion, exactly as it is shown; without an argument: list what waits.

    \b
    Examples:
      aegis approve
      aegis approve orders@1.4.0-production --comment "looked at the difference"
    """
    if promotion:
        _decide("approve", promotion, comment, url, data, dry_run=dry_run, yes=yes, as_json=as_json)
        return
    with client(url, data) as server:
        waiting = server.get("promotions", waiting="true")
    if as_json:
        document("aegis.promotions/1", waiting)
        return
    for view in waiting:
        note = "you may approve" if view["may_approve"] else view["why_not"]
        say(
            f"‖ {view['promotion']['id']}  {view['promotion']['release']} → {view['promotion']['environment']}  ({note})"
        )
    if not waiting:
        say("nothing waits for an approval; `aegis promote SERVICE ENVIRONMENT` asks for one")


@click.command()
@click.argument("promotion")
@click.option("--comment", default="", help="Why not.")
@click.option("--dry-run", is_flag=True, help="Only say whether it would count.")
@server_options
def reject(promotion: str, comment: str, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Reject a waiting promotion.

    \b
    Examples:
      aegis reject orders@1.4.0-production --comment "after the sale"
      aegis reject orders@1.4.0-production --dry-run
    """
    _decide("reject", promotion, comment, url, data, dry_run=dry_run, yes=True, as_json=as_json)


@click.command()
@click.argument("promotion")
@click.option("--comment", default="", help="What you found.")
@click.option("--dry-run", is_flag=True, help="Only say whether it would count.")
@server_options
def review(promotion: str, comment: str, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Review an emergency after the fact, as somebody who had no part in it.

    \b
    Examples:
      aegis review 01k9xexample --comment "right, and the test is written"
      aegis review 01k9xexample --dry-run
    """
    with client(url, data) as server:
        result = server.execute("review", {"promotion": promotion, "comment": comment}, dry_run=dry_run)
    told("review", result, as_json=as_json)
