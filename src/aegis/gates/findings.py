"""Weighs what scanners found: which finding blocks, which warns, and the mend that a person can act on.

Findings of dependencies are put together per package, since one new version mends them all. At most twenty reasons
per kind and outcome are told; the rest is counted, never dropped from the outcome.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final

from packaging.version import InvalidVersion, Version

from aegis.core.types import Finding, Outcome, Reason, Severity
from aegis.gates.policy import Exemption, GatePolicy
from aegis.gates.reports import (
    ADVISORY_UNREADABLE,
    DEPENDENCIES,
    PACKAGE_NOT_LOOKED_UP,
    QUALITY,
    SECRETS,
    FindingsReport,
)

_SHOWN: Final = 20
_ORDER: Final = {severity: place for place, severity in enumerate(Severity)}
_CLEAN: Final = {
    QUALITY: "static analysis found nothing that blocks",
    DEPENDENCIES: "no dependency with a blocking vulnerability",
    SECRETS: "no leaked secret was found",
}
_BLIND: Final = frozenset({PACKAGE_NOT_LOOKED_UP, ADVISORY_UNREADABLE})
NEWEST: Final = "advisories-newest"
"""The scan option under which a dependency report says how new its advisories are (RFC 3339)."""


def judge_findings(
    policy: GatePolicy, kind: str, reports: tuple[FindingsReport, ...], now: datetime | None
) -> tuple[Reason, ...]:
    """The reasons of all reports of one kind; a scan that did not finish blocks."""
    reasons = [_unfinished(kind, report) for report in reports if not report.complete]
    findings = sorted(
        (finding for report in reports for finding in report.findings),
        key=lambda one: (_ORDER[one.severity], str(one.where or ""), one.rule, one.package),
    )
    weighed = [(finding, *_weigh(policy, kind, finding, now)) for finding in findings]
    packages = _packages(weighed) if kind == DEPENDENCIES else []
    for outcome in (Outcome.BLOCK, Outcome.WARN):
        chosen = [(finding, note) for finding, said, note in weighed if said is outcome]
        told = [one for one in packages if one.outcome is outcome]
        told += _places(kind, chosen, outcome) if kind != DEPENDENCIES else []
        reasons += told[:_SHOWN]
        if len(told) > _SHOWN:
            reasons.append(_rest(kind, outcome, len(told) - _SHOWN))
    if kind == DEPENDENCIES and now is not None:
        reasons += _ages(policy, reports, now)
    if not any(reason.outcome is Outcome.BLOCK for reason in reasons):
        known = _known_until(reports, now) if kind == DEPENDENCIES and now is not None else ""
        reasons.append(Reason(gate=kind, outcome=Outcome.PASS, message=_CLEAN[kind] + known))
    return tuple(reasons)


def _weigh(policy: GatePolicy, kind: str, finding: Finding, now: datetime | None) -> tuple[Outcome, str]:
    """The outcome of one finding and a note for its message."""
    if kind == DEPENDENCIES and finding.rule in _BLIND:
        outcome = policy.not_found
    else:
        outcome = policy.scan(kind).outcome(finding.severity)
    if outcome is not Outcome.BLOCK:
        return outcome, ""
    exemption = next((one for one in policy.exemptions if _covers(one, finding)), None)
    if exemption is None:
        return outcome, ""
    if now is None or now.date() > exemption.until:
        return outcome, f"; its exemption ended on {exemption.until}"
    return Outcome.WARN, f"; borne until {exemption.until}: {exemption.reason}"


def _covers(exemption: Exemption, finding: Finding) -> bool:
    file = finding.where.file if finding.where else ""
    return (
        exemption.rule == finding.rule
        and fnmatchcase(finding.package, exemption.package)
        and fnmatchcase(file, exemption.path)
    )


def _places(kind: str, chosen: list[tuple[Finding, str]], outcome: Outcome) -> list[Reason]:
    default = (
        "revoke the credential where it was issued, keep the new one as a secret reference, and rewrite the commits "
        "that hold it"
        if kind == SECRETS
        else "change the code as the rule says, or run `ruff check --fix`"
    )
    return [
        Reason(
            gate=kind,
            outcome=outcome,
            message=f"{finding.severity}: {finding.message}{_rule(finding)}{note}",
            mend=finding.mend or default,
            where=finding.where,
        )
        for finding, note in chosen
    ]


def _rule(finding: Finding) -> str:
    return f" ({finding.rule})" if finding.rule and finding.rule not in finding.message else ""


def _packages(weighed: list[tuple[Finding, Outcome, str]]) -> list[Reason]:
    """One reason per package, since one new version mends it: with the worst outcome, in the order of the worst finding."""
    groups: dict[tuple[str, str, str], list[tuple[Finding, Outcome, str]]] = {}
    for finding, outcome, note in weighed:
        if outcome is not Outcome.PASS:
            alone = finding.message if finding.rule in _BLIND else ""
            groups.setdefault((finding.package, finding.installed, alone), []).append((finding, outcome, note))
    return [_package(group) for group in groups.values()]


def _package(group: list[tuple[Finding, Outcome, str]]) -> Reason:
    first, _, note = group[0]
    outcome = Outcome.BLOCK if any(one is Outcome.BLOCK for _, one, _ in group) else Outcome.WARN
    if first.rule in _BLIND:
        return Reason(
            gate=DEPENDENCIES,
            outcome=outcome,
            message=f"{first.message}{note}",
            mend=first.mend or "pin the package to a released version",
            where=first.where,
        )
    findings = [finding for finding, _, _ in group]
    notes = "".join(dict.fromkeys(note for _, _, note in group))
    names = ", ".join(dict.fromkeys(finding.rule for finding in findings if finding.rule))
    fix = _needed(findings)
    count = "a known vulnerability" if len(findings) == 1 else f"{len(findings)} known vulnerabilities"
    said = first.message.removeprefix(f"{first.package}: ")
    fixed = f"fixed in {fix}" if fix else "no version that mends all of it is known"
    return Reason(
        gate=DEPENDENCIES,
        outcome=outcome,
        message=f"{first.package} {first.installed} has {count}, {fixed} ({first.severity}: {said}; {names}){notes}",
        mend=(
            f"require {first.package}>={fix} and write the lock again with `aegis project lock`"
            if fix
            else f"replace {first.package}, or have the platform's owners exempt {names} until a day"
        ),
        where=first.where,
    )


def _needed(findings: Iterable[Finding]) -> str:
    """The smallest version that mends all of them; empty when one of them has no fix."""
    best: Version | None = None
    for finding in findings:
        versions = [one for one in map(_version, finding.fixed_in) if one is not None]
        if not versions:
            return ""
        smallest = min(versions)
        best = smallest if best is None else max(best, smallest)
    return str(best) if best is not None else ""


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _unfinished(kind: str, report: FindingsReport) -> Reason:
    return Reason(
        gate=kind,
        outcome=Outcome.BLOCK,
        message=f"the {report.scan.replace('_', ' ')} report says that its scan did not finish, or holds broken entries",
        mend="look into the scanning job's log and run it again",
    )


def _ages(policy: GatePolicy, reports: tuple[FindingsReport, ...], now: datetime) -> list[Reason]:
    if policy.advisories_max_age_days is None:
        return []
    reasons: list[Reason] = []
    for report in reports:
        newest = _instant(report.options.get(NEWEST, ""))
        if newest is None or now - newest > timedelta(days=policy.advisories_max_age_days):
            age = "of unknown age" if newest is None else f"{(now - newest).days} days old"
            reasons.append(
                Reason(
                    gate=DEPENDENCIES,
                    outcome=Outcome.WARN,
                    message=f"the newest advisory is {age}; {policy.advisories_max_age_days} days are allowed",
                    mend="bring the advisory store up to date",
                )
            )
    return reasons


def _known_until(reports: tuple[FindingsReport, ...], now: datetime) -> str:
    """How old the advisories were that a clean report was made with: it is worth no more than they are."""
    told = [report.options[NEWEST] for report in reports if report.options.get(NEWEST)]
    if not told:
        return ""
    instants = [_instant(text) for text in told]
    days = [(now - one).days for one in instants if one is not None]
    age = f"{max(days)} days old" if len(days) == len(told) else "of unknown age"
    return f"; the newest advisory is {age}"


def _instant(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _rest(kind: str, outcome: Outcome, count: int) -> Reason:
    return Reason(gate=kind, outcome=outcome, message=f"and {count} more findings; the report lists them all")


def worst(severities: Iterable[Severity]) -> Severity:
    """The most severe of them; UNKNOWN where there are none."""
    return min(severities, key=_ORDER.__getitem__, default=Severity.UNKNOWN)
