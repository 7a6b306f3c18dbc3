"""`aegis runner`: remote runners (`gitlab-runner`) that take a server's jobs."""

from __future__ import annotations

from typing import Any

import click

from aegis.cli.output import document, say, state
from aegis.cli.remote import client, server_options, told


@click.group()
def runner() -> None:
    """Register, list and pause remote runners (gitlab-runner).

    \b
    Examples:
      aegis runner create --description fleet-1 --tag docker --tag linux
      aegis runner list
    """


def _settings(function: Any) -> Any:
    """The options that say what a runner takes."""
    options = (
        click.option("--description", default=None, help="A name for people."),
        click.option("--tag", "tags", multiple=True, help="A tag of jobs that it takes; repeat for several."),
        click.option("--untagged/--no-untagged", "run_untagged", default=None, help="Take jobs without tags."),
        click.option("--protected/--no-protected", default=None, help="Take jobs of protected refs alone."),
        click.option("--project", "projects", multiple=True, help="Serve only this project or group; repeat."),
        click.option("--timeout", "maximum_timeout", type=int, default=None, help="The most seconds of a job."),
        click.option(
            "--isolated/--no-isolated",
            default=None,
            help="You vouch that every job has a machine or container of its own (shell, ssh and custom executors).",
        ),
        click.option("--note", default=None, help="A word for those who maintain it."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@runner.command()
@_settings
@click.option("--paused", is_flag=True, help="Give it no jobs yet.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@server_options
def create(url: str, data: str, *, paused: bool, dry_run: bool, as_json: bool, **settings: Any) -> None:
    """Let a runner ask for jobs; its token is shown once.

    \b
    Examples:
      aegis runner create --description fleet-1 --tag docker
      aegis runner create --description nightly --untagged --protected --json
    """
    fields = {name: value for name, value in settings.items() if value not in (None, ())}
    if not settings["tags"] and settings["run_untagged"] is None:
        fields["run_untagged"] = True
    with client(url, data) as server:
        result = server.execute("create-runner", {**fields, "paused": paused}, dry_run=dry_run)
        where = server.url
    if as_json or dry_run:
        told("runner", result, as_json=as_json)
        return
    say(result["message"])
    say(result["values"]["token"])
    say("it is shown this once; on the runner's machine:")
    say(f"  gitlab-runner register --url {where} --token {result['values']['token']}")


@runner.command("list")
@server_options
def list_runners(url: str, data: str, *, as_json: bool) -> None:
    """List the runners, what each takes, and the machines that work under it.

    \b
    Examples:
      aegis runner list
      aegis runner list --json
    """
    with client(url, data) as server:
        found: list[dict[str, Any]] = server.get("runners")
    if as_json:
        document("aegis.runners/1", found)
        return
    for one in found:
        tags = ", ".join(one["tags"]) or "no tags"
        also = [word for word in ("protected", "locked") if one[word]]
        also += ["untagged jobs too"] if one["run_untagged"] and one["tags"] else []
        say(f"{one['number']:>6}  {state('held' if one['paused'] else one['status'])}  {one['description'] or '–'}")
        say(f"        {tags}{''.join(f'; {word}' for word in also)}")
        for machine in one["machines"]:
            say(
                f"        {machine['system_id']}  {machine['executor']} {machine['version']}  {machine['contacted_at']}"
            )
    if not found:
        say("there are none; `aegis runner create` makes the token for one")


def _execute(verb: str, fields: dict[str, Any], url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    with client(url, data) as server:
        result = server.execute(verb, fields, dry_run=dry_run)
    told("runner", result, as_json=as_json)
    if not as_json and "token" in result["values"]:
        say(result["values"]["token"])


@runner.command()
@click.argument("number")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@server_options
def pause(number: str, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Give a runner no new jobs; those that it has go on.

    \b
    Examples:
      aegis runner pause 12
      aegis runner pause 12 --dry-run
    """
    _execute("change-runner", {"runner": number, "paused": True}, url, data, dry_run=dry_run, as_json=as_json)


@runner.command()
@click.argument("number")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@server_options
def resume(number: str, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Give a paused runner jobs again.

    \b
    Examples:
      aegis runner resume 12
      aegis runner resume 12 --dry-run
    """
    _execute("change-runner", {"runner": number, "paused": False}, url, data, dry_run=dry_run, as_json=as_json)


@runner.command()
@click.argument("number")
@_settings
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@server_options
def change(number: str, url: str, data: str, *, dry_run: bool, as_json: bool, **settings: Any) -> None:
    """Change what a runner takes; what is not named stays.

    \b
    Examples:
      aegis runner change 12 --tag docker --tag arm64
      aegis runner change 12 --protected --timeout 3600
    """
    fields = {name: value for name, value in settings.items() if value not in (None, ())}
    _execute("change-runner", {"runner": number, **fields}, url, data, dry_run=dry_run, as_json=as_json)


@runner.command()
@click.argument("number")
@click.option("--reason", default="", help="Why.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@server_options
def remove(number: str, reason: str, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Remove a runner; its token is worthless at once.

    \b
    Examples:
      aegis runner remove 12
      aegis runner remove 12 --reason "machine sold"
    """
    _execute("remove-runner", {"runner": number, "reason": reason}, url, data, dry_run=dry_run, as_json=as_json)


@runner.command("reset-token")
@click.argument("number")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@server_options
def reset_token(number: str, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Make a new token for a runner; the old one is worthless at once.

    \b
    Examples:
      aegis runner reset-token 12
      aegis runner reset-token 12 --json
    """
    _execute("reset-runner-token", {"runner": number}, url, data, dry_run=dry_run, as_json=as_json)


@runner.command("registration-token")
@click.option("--project", default="", help="Runners registered with it serve this project alone.")
@click.option("--days", default=7.0, show_default=True, help="How long it counts.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@server_options
def registration_token(project: str, days: float, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Make a token with which runners register themselves (the old way; prefer `create`).

    \b
    Examples:
      aegis runner registration-token
      aegis runner registration-token --project shop/orders --days 1
    """
    fields = {"project": project, "expires_seconds": days * 86400}
    _execute("issue-registration-token", fields, url, data, dry_run=dry_run, as_json=as_json)
