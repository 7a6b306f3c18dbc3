"""`aegis gate`: judge reports against a policy, here and now."""

from __future__ import annotations

import sys

import click

from aegis.cli import output


@click.group()
def gate() -> None:
    """Judge evidence against a policy.

    \b
    Examples:
      aegis gate check junit.xml coverage.xml
      aegis gate check --policy aegis.yaml --require-all reports/*
    """


@gate.command()
@click.argument("reports", nargs=-1, required=True, metavar="REPORT...")
@click.option(
    "--policy", metavar="FILE", help="Take the gates of this declaration (aegis.yaml, or its `gates:` alone)."
)
@click.option("--coverage-minimum", type=click.FloatRange(0, 100), metavar="PERCENT", help="Required line coverage.")
@click.option("--changed", multiple=True, metavar="PATH", help="A changed file; its uncovered lines are told first.")
@click.option("--target", default="main", show_default=True, metavar="BRANCH", help="The branch the change is for.")
@click.option(
    "--require-all", is_flag=True, help="Block also on kinds of evidence that the policy needs and nobody gave."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check(
    reports: tuple[str, ...],
    *,
    policy: str | None,
    coverage_minimum: float | None,
    changed: tuple[str, ...],
    target: str,
    require_all: bool,
    as_json: bool,
) -> None:
    """Judge report files; leave with 1 when they block.

    \b
    Examples:
      aegis gate check junit.xml coverage.xml
      aegis gate check --coverage-minimum 90 --changed src/orders/app.py coverage.xml

    The kind of a report is recognised by its content: JUnit XML, Cobertura XML, GitLab's code quality,
    dependency-scanning and secret-detection JSON, SARIF.
    """
    from aegis.bootstrap.gates import check_reports
    from aegis.core.types import Outcome

    judged = check_reports(
        reports,
        policy_file=policy,
        coverage_minimum=coverage_minimum,
        changed=changed,
        target=target,
        require_all=require_all,
    )
    if as_json:
        output.document("aegis.gate/1", judged)
    else:
        for reason in judged.reasons:
            place = f"{reason.where}: " if reason.where else ""
            output.say(f"{output.state(reason.outcome)}  {reason.gate}: {place}{reason.message}")
            if reason.mend and reason.outcome is not Outcome.PASS:
                output.say(f"    mend: {reason.mend}")
        output.say(f"{output.state(judged.outcome)}  {len(judged.evidence)} reports judged")
    if judged.outcome is Outcome.BLOCK:
        sys.exit(1)
