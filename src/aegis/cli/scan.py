"""`aegis scan`: look for vulnerable dependencies and leaked secrets."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aegis.cli import output

if TYPE_CHECKING:
    from aegis.core.types import Severity

_LEVELS = ("critical", "high", "medium", "low", "info")


@click.group()
def scan() -> None:
    """Look for vulnerable dependencies and leaked secrets.

    \b
    Examples:
      aegis scan dependencies --advisories advisories/
      aegis scan secrets --since main
    """


@scan.command()
@click.argument("path", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--advisories", metavar="PLACE", help="OSV directory, archive or address. [env: AEGIS_ADVISORIES]")
@click.option("--lock", metavar="FILE", help="The lock to read, relative to PATH; found by itself otherwise.")
@click.option(
    "--output",
    "report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write GitLab's report there; in a job by itself to its usual name.",
)
@click.option(
    "--fail-on", type=click.Choice(_LEVELS), help="Leave with 1 on findings of this severity, worse, or unknown."
)
@click.option(
    "--provenance",
    type=click.Choice(("off", "warn", "block")),
    default="off",
    envvar="AEGIS_PROVENANCE",
    help="Whether attestations that the index publishes must hold (off). [env: AEGIS_PROVENANCE]",
)
@click.option(
    "--index", metavar="URL", default="", help="The index to ask; else $AEGIS_INDEX_URL or $UV_DEFAULT_INDEX."
)
@click.option(
    "--authorities",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Certificates (PEM) of those who may have issued the publishers'.",
)
@click.option(
    "--log-key", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="The public key (PEM) of the transparency log that must vouch for their signatures.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def dependencies(
    path: Path,
    *,
    advisories: str | None,
    lock: str | None,
    report: Path | None,
    fail_on: str | None,
    provenance: str,
    index: str,
    authorities: Path | None,
    log_key: Path | None,
    as_json: bool,
) -> None:
    """Look every locked package up in the advisories.

    \b
    Examples:
      aegis scan dependencies --advisories advisories/
      aegis scan dependencies --output gl-dependency-scanning-report.json --fail-on high

    Leaves with 0 when everything was looked up or named as not to be looked up: the gates judge the report. Without a
    lock the installed packages of .venv are read. A scan that could not be carried out is an error.
    """
    from aegis.bootstrap import scan as scanning

    rules = scanning.ProvenanceRules(policy=provenance, index=index, authorities=authorities, log_key=log_key)  # type: ignore[arg-type]
    result = scanning.dependencies(path, advisories, lock, rules)
    report = report or _usual("gl-dependency-scanning-report.json")
    if report is not None:
        scanning.write_report(report, result.report)
    newest = result.scan.newest.date().isoformat() if result.scan.newest else "unknown"
    age = f"{result.age_days} days old" if result.age_days is not None else "of unknown age"
    if as_json:
        output.document(
            "aegis.scan.dependencies/1",
            {
                "packages": len(result.scan.packages),
                "read_from": result.read_from,
                "advisories": {
                    "source": _without_credentials(result.source),
                    "count": result.scan.advisories,
                    "newest": result.scan.newest,
                    "age_days": result.age_days,
                },
                "findings": result.scan.findings,
                "published": result.published,
            },
        )
    else:
        for file in result.published:
            who = f"published by {file.publisher}{'' if file.identified else ', as the index says'}"
            output.say(
                f"{output.state('failed' if file.problem else 'success')}  {file.filename}: {file.problem or who}"
            )
        for one in result.scan.vulnerabilities:
            finding = one.finding
            what = f"{finding.package} {finding.installed}".strip()
            names = ", ".join(one.names[:2])
            output.say(f"{output.state('failed')}  {finding.severity}  {what}: {finding.message} ({names})")
            output.say(f"    mend: {finding.mend}")
        output.say(
            f"{len(result.scan.packages)} packages of {', '.join(result.read_from)}, "
            f"{len(result.scan.vulnerabilities)} findings; {result.scan.advisories} advisories, the newest of {newest} ({age})"
        )
    _leave([finding.severity for finding in result.scan.findings], fail_on)


@scan.command()
@click.argument("path", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--since", metavar="REV", help="Search the commits after this one as well; found by itself in a job.")
@click.option("--staged", is_flag=True, help="Search only what the next commit brings.")
@click.option(
    "--output",
    "report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write GitLab's report there; in a job by itself to its usual name.",
)
@click.option(
    "--fail-on", type=click.Choice(_LEVELS), help="Leave with 1 on findings of this severity, worse, or unknown."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def secrets(
    path: Path, *, since: str | None, staged: bool, report: Path | None, fail_on: str | None, as_json: bool
) -> None:
    """Search the files and the commits of a change for credentials.

    \b
    Examples:
      aegis scan secrets --since main
      aegis scan secrets --output gl-secret-detection-report.json --fail-on low
      aegis scan secrets --staged --fail-on low

    A secret that a later commit removes is still leaked: the commits are searched as well. A line with
    `aegis: allow-secret REASON` on it or above it is allowed. The secret itself is never shown.
    """
    from aegis.bootstrap import scan as scanning

    result = scanning.secrets(path, since, staged=staged)
    report = report or _usual("gl-secret-detection-report.json")
    if report is not None:
        scanning.write_report(report, result.report)
    if as_json:
        shown = ("rule", "title", "severity", "path", "line", "commit", "redacted", "mend", "fingerprint", "allowed")
        output.document(
            "aegis.scan.secrets/1",
            {
                "files": result.files,
                "commits": result.commits,
                "searched": result.searched,
                "notes": result.notes,
                "findings": [{name: getattr(leak, name) for name in shown} for leak in result.found],
                "allowed": [{name: getattr(leak, name) for name in shown} for leak in result.allowed],
            },
        )
    else:
        for leak in result.found:
            commit = f" in commit {leak.commit[:12]}" if leak.commit else ""
            output.say(
                f"{output.state('failed')}  {leak.severity}  {leak.path}:{leak.line}{commit}: "
                f"{leak.title} {leak.redacted} ({leak.rule})"
            )
            output.say(f"    mend: {leak.mend}")
        for leak in result.allowed:
            output.say(f"{output.state('warn')}  {leak.path}:{leak.line}: {leak.title}, allowed: {leak.allowed}")
        for note in result.notes:
            output.say(f"{output.state('warn')}  {note}")
        output.say(
            f"{result.files} files and {result.commits} commits searched ({result.searched}); {len(result.found)} findings"
        )
    _leave([leak.severity for leak in result.found], fail_on)


def _leave(severities: list[Severity], fail_on: str | None) -> None:
    """Exit 1 where a finding is at least as bad as asked; what is unknown is not taken for harmless."""
    if fail_on is not None and any(
        one == "unknown" or _LEVELS.index(one) <= _LEVELS.index(fail_on) for one in severities
    ):
        sys.exit(1)


def _without_credentials(source: str) -> str:
    """An address without user and password, which a careless caller may have put there."""
    head, separator, rest = source.partition("://")
    if not separator:
        return source
    host, slash, path = rest.partition("/")
    return f"{head}://{host.rpartition('@')[2]}{slash}{path}"


def _usual(name: str) -> Path | None:
    """Where a job's report is expected; on a laptop nothing is written unasked."""
    return Path(name) if os.environ.get("GITLAB_CI") else None
