"""Which locked packages have known vulnerabilities: findings, and what could not be looked up.

Silence is never an answer: a package without a version, from a repository, an address or a path, and an advisory that
cannot be read or decided is a finding of its own. Advisories that share an identifier are one finding. What a finding
means is the gates' matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aegis.core.errors import Where
from aegis.core.types import Finding, Severity
from aegis.supplychain.advisories import Advisory, AdvisoryStore, Match
from aegis.supplychain.packages import INDEX, Package, canonical, parsed

TOOL: Final = "aegis-dependencies"
NOT_LOOKED_UP: Final = "package-not-looked-up"
UNREADABLE: Final = "advisory-unreadable"
_ORDER: Final = {severity: place for place, severity in enumerate(Severity)}
_SOURCES: Final = {
    "vcs": "comes from a repository and not from an index",
    "url": "comes from an address and not from an index",
    "path": "comes from a local path",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vulnerability:
    """One vulnerability of one package: all advisories that mean the same. `finding` is what the gates will see."""

    finding: Finding
    package: Package
    names: tuple[str, ...]
    details: str = ""
    rating: str = ""
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyScan:
    """The result. `newest` is when the youngest advisory was last changed, `advisories` how many were searched."""

    packages: tuple[Package, ...]
    vulnerabilities: tuple[Vulnerability, ...]
    newest: datetime | None
    advisories: int

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, worst first."""
        return tuple(one.finding for one in self.vulnerabilities)

    def age_days(self, now: datetime) -> int | None:
        """Whole days since the youngest advisory; None where no advisory says when it was changed."""
        return (now - self.newest).days if self.newest else None


def scan_dependencies(packages: Iterable[Package], store: AdvisoryStore) -> DependencyScan:
    """Look every package up. The order of the findings: worst first, then by package."""
    listed = tuple(packages)
    found = [one for package in dict.fromkeys(listed) for one in _look_up(package, store)]
    found += [_unreadable(name, problem) for name, problem in store.unreadable.items()]
    found.sort(key=lambda one: (_ORDER[one.finding.severity], canonical(one.package.name), one.names))
    return DependencyScan(packages=listed, vulnerabilities=tuple(found), newest=store.newest, advisories=len(store))


def _look_up(package: Package, store: AdvisoryStore) -> list[Vulnerability]:
    version = parsed(package.version)
    if package.source != INDEX:
        return [_unknown(package, _SOURCES.get(package.source, "comes from an unknown source"))]
    if version is None:
        why = f"has the version {package.version!r}, which is none" if package.version else "has no version in the lock"
        return [_unknown(package, why)]
    matches = store.matches(package.name, version, package.version or "")
    groups = _same_vulnerability(tuple(one for one in matches if not one.undecided))
    undecided = [_undecided(package, one.advisory) for one in matches if one.undecided]
    return [_vulnerability(package, group) for group in groups] + undecided


def _same_vulnerability(matches: tuple[Match, ...]) -> list[list[Match]]:
    """Matches in groups that share an identifier, directly or through another."""
    groups: list[tuple[set[str], list[Match]]] = []
    for one in matches:
        names, members = set(one.advisory.names), [one]
        for other in [group for group in groups if group[0] & names]:
            groups.remove(other)
            names |= other[0]
            members = other[1] + members
        groups.append((names, members))
    return [members for _, members in groups]


def _vulnerability(package: Package, group: list[Match]) -> Vulnerability:
    advisories = [one.advisory for one in group]
    rated = [one for one in advisories if one.severity is not Severity.UNKNOWN]
    worst = min(rated or advisories, key=lambda one: _ORDER[one.severity])
    names = tuple(
        sorted({name for one in advisories for name in one.names}, key=lambda name: (not name.startswith("CVE-"), name))
    )
    versions = {parsed(text) for one in group for text in one.fixed}
    fixed = tuple(str(version) for version in sorted(version for version in versions if version))
    said = next((one.summary for one in advisories if one.summary), "") or _first_sentence(
        next((one.details for one in advisories if one.details), "")
    )
    mend = (
        f"upgrade {package.name} to {fixed[0]} or later and write the lock again"
        if fixed
        else f"no fixed version of {package.name} is known: replace it, or have the platform bear {names[0]} until a day"
    )
    return Vulnerability(
        finding=Finding(
            tool=TOOL,
            rule=names[0],
            severity=worst.severity,
            message=said or f"{package.name} {package.version} is vulnerable",
            mend=mend,
            where=Where(package.file, package.line) if package.file else None,
            package=package.name,
            installed=package.version or "",
            fixed_in=fixed,
            fingerprint=_fingerprint(package, names[0]),
        ),
        package=package,
        names=names,
        details=next((one.details for one in advisories if one.details), ""),
        rating=worst.rating,
        references=tuple(dict.fromkeys(url for one in advisories for url in one.references))[:20],
    )


def _unknown(package: Package, why: str) -> Vulnerability:
    return _blind(
        package,
        NOT_LOOKED_UP,
        f"{package.name} could not be looked up: it {why}",
        f"lock {package.name} to a released version of an index, or have the platform bear it until a day",
    )


def _undecided(package: Package, advisory: Advisory) -> Vulnerability:
    return _blind(
        package,
        NOT_LOOKED_UP,
        f"{package.name} {package.version} could not be judged: {advisory.names[0]} names commits and no versions",
        f"read {advisory.names[0]} and upgrade {package.name} past it, or have the platform bear it until a day",
    )


def _unreadable(name: str, problem: str) -> Vulnerability:
    return _blind(
        Package(name=name, version=None),
        UNREADABLE,
        f"the advisory {name} is {problem}" if problem.startswith("not ") else f"the advisory {name}: {problem}",
        "bring the advisory store up to date, or remove the broken file",
    )


def _blind(package: Package, rule: str, message: str, mend: str) -> Vulnerability:
    finding = Finding(
        tool=TOOL,
        rule=rule,
        severity=Severity.UNKNOWN,
        message=message,
        mend=mend,
        where=Where(package.file, package.line) if package.file else None,
        package=package.name,
        installed=package.version or "",
        fingerprint=_fingerprint(package, message),
    )
    return Vulnerability(finding=finding, package=package, names=(rule,))


def _first_sentence(text: str) -> str:
    flat = " ".join(text.split())
    end = flat.find(". ")
    return (flat[: end + 1] if 0 < end < 200 else flat[:200]).strip()


def _fingerprint(package: Package, what: str) -> str:
    parts = (canonical(package.name), package.version or "", package.file, what)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
