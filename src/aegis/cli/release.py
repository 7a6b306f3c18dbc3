"""`aegis release list|show|compare|rescan`: what was released, from what, where it runs, and how two differ."""

from __future__ import annotations

from typing import Any

import click

from aegis.cli.output import document, say, state
from aegis.cli.remote import client, server_options


@click.group()
def release() -> None:
    """Show releases.

    \b
    Examples:
      aegis release list orders
      aegis release show orders@1.4.0
    """


@release.command("list")
@click.argument("service", required=False, default="")
@server_options
def list_releases(service: str, url: str, data: str, *, as_json: bool) -> None:
    """List releases, newest first.

    \b
    Examples:
      aegis release list
      aegis release list orders --json
    """
    with client(url, data) as server:
        found: list[dict[str, Any]] = server.get("releases", service=service)
    if as_json:
        document("aegis.releases/1", found)
        return
    for one in found:
        say(f"{one['id']:<28} {one['commit'][:8]}  {one['ref'].removeprefix('refs/heads/')}  {one['at']}")
    if not found:
        say("nothing was released yet: push a feat: or fix: commit to a branch that an environment follows")


@release.command()
@click.argument("name")
@server_options
def show(name: str, url: str, data: str, *, as_json: bool) -> None:
    """Tell everything about a release: where from, what is in it, what was proven, where it runs.

    \b
    Examples:
      aegis release show orders@1.4.0
      aegis release show --json orders@1.4.0

    The digest of its image or wheel names a release as well.
    """
    with client(url, data) as server:
        dossier: dict[str, Any] = server.get(f"releases/{name}/dossier")
        view: dict[str, Any] = server.get(f"releases/{dossier['release']}")
    if as_json:
        document("aegis.release/1", {**view, "dossier": dossier})
        return
    _say_origin(view, dossier)
    _say_image(dossier["image"])
    for wheel in dossier["wheels"]:
        _say_wheel(wheel)
    for file in dossier["files"]:
        yanked = "" if file["yanked"] is None else f"  ⊘ yanked: {file['yanked'] or 'no reason given'}"
        say(f"  {file['filename']} in index {file['index']}{yanked}")
    if view["verdict"]:
        for reason in view["verdict"]["reasons"]:
            say(f"  {state(reason['outcome'])} {reason['gate']}: {reason['message']}")
    for approval in view["approvals"]:
        granted = "approved" if approval["granted"] else "rejected"
        say(f"  {granted} by {approval['by']} as {approval['role']}  {approval['at']}")
    for cell in view["running_in"]:
        say(f"  runs in {cell['environment']} since {cell['since']}")
    for line in view["history"]:
        say(f"  {line['at']}  {line['actor']}: {line['text']}")
    if view["release"]["changelog"]:
        say("\n" + view["release"]["changelog"])


def _say_origin(view: dict[str, Any], dossier: dict[str, Any]) -> None:
    found = view["release"]
    say(f"{found['id']}  commit {found['commit']}  run {found['run']}")
    say(f"  {dossier['author']}: {dossier['message'].splitlines()[0]}")
    say(f"signed by key {view['signature'][:24]}" if view["signature"] else "not signed")
    if view["quarantined"]:
        say(f"⊘ quarantined: {view['quarantined']}")
    for artifact in found["artifacts"]:
        say(f"  {artifact['kind']} {artifact['name']} {artifact['digest'][:19]}")
    for job in dossier["jobs"]:
        say(f"  {state(job['state'])} job {job['name']}")
    for kind, figures in sorted(dossier["figures"].items()):
        told = ", ".join(f"{key} {value}" for key, value in figures.items() if key not in {"job", "file"})
        say(f"  {kind}: {told}")
    for finding in dossier["findings"]:
        say(f"  finding: {finding}")


def _say_wheel(wheel: dict[str, Any]) -> None:
    say(f"  {wheel['filename']} needs {', '.join(wheel['needs']) or 'nothing'}; bill of materials {wheel['sbom'][:19]}")


def _say_image(image: dict[str, Any] | None) -> None:
    if image is None:
        return
    say(
        f"  image {image['repository']}@{image['digest'][:19]}  {image['size'] / 1e6:.1f} MB, {len(image['layers'])} layers"
    )
    say(f"  tags {', '.join(image['tags'])}")
    say(f"  contents: {len(image['packages'])} packages; trusted: {image['trusted']}")
    for one in image["attested"]:
        say(f"  attested: {one}")


@release.command()
@server_options
def rescan(url: str, data: str, *, as_json: bool) -> None:
    """Look up in the server's advisories what runs, waits or is newest; it does so itself when they change.

    \b
    Examples:
      aegis release rescan
      aegis release rescan --json
    """
    with client(url, data) as server:
        result = server.execute("rescan-releases", {})
    if as_json:
        document("aegis.release-rescan/1", result["values"])
        return
    say(result["message"])
    for one in result["values"]["releases"]:
        say(f"  {one}")


@release.command()
@click.argument("before")
@click.argument("after")
@server_options
def compare(before: str, after: str, url: str, data: str, *, as_json: bool) -> None:
    """Compare two releases: dependencies, size, layers, findings, licences.

    \b
    Examples:
      aegis release compare orders@1.3.0 orders@1.4.0
      aegis release compare --json orders@1.3.0 orders@1.4.0
    """
    from aegis.cli.image_trust import difference_lines
    from aegis.core import codec
    from aegis.supplychain.compare import Difference

    with client(url, data) as server:
        told: dict[str, Any] = server.get(f"releases/{after}/comparison", **{"from": before})
    if as_json:
        document("aegis.release-compare/1", told)
        return
    found = codec.convert(told, Difference)
    say(f"{found.before} → {found.after}")
    for line in difference_lines(found):
        say(f"  {line}")
