"""The next version, from what the commits since the last release declare (semver.org 2.0.0).

`feat` raises the minor, `fix`, `perf`, `revert` and `security` the patch, a breaking change the major number. While the
major number is 0 a breaking change raises the minor number only: 1.0.0 is a promise that a person makes, with the
footer `Release-As: 1.0.0`. Other commits release nothing. Branches that do not release get pre-releases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from aegis.core.ports import CommitInfo, Repository
from aegis.source.commits import Conventional, declared

TAG_PREFIX: Final = "v"
FIRST: Final = "0.1.0"

_VERSION: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_PRE: Final = re.compile(r"(\d+\.\d+\.\d+)-dev\.(\d+)")
_PATCH_KINDS: Final = frozenset({"fix", "perf", "revert", "security"})
_SHOWN: Final = 3

Number = tuple[int, int, int]


class Bump(IntEnum):
    """How far a version is raised."""

    NONE = 0
    PATCH = 1
    MINOR = 2
    MAJOR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDecision:
    """`version` is always usable; `release` says whether it is to be released, `reasons` why or why not."""

    version: str
    release: bool
    bump: Bump
    previous: str | None
    reasons: tuple[str, ...]


def number(text: str) -> Number | None:
    """The three numbers of `1.2.3`; None for anything else, pre-releases among it."""
    found = _VERSION.fullmatch(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def tag_name(version: str) -> str:
    """The tag of a version: `v1.2.3`."""
    return TAG_PREFIX + version


def pep440(version: str) -> str:
    """A version as Python packages spell it: `1.3.0-dev.5` is `1.3.0.dev5`."""
    return _PRE.sub(r"\1.dev\2", version)


def released(tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Version and commit of every release tag among refs (`refs/tags/v1.2.3` or `v1.2.3`), highest first."""
    found: list[tuple[Number, str]] = []
    for name, commit in tags.items():
        short = name.removeprefix("refs/tags/")
        parsed = number(short.removeprefix(TAG_PREFIX))
        if parsed is not None:
            found.append((parsed, commit))
    return tuple((".".join(map(str, parsed)), commit) for parsed, commit in sorted(found, reverse=True))


def bump_of(commit: Conventional) -> Bump:
    """How far one commit raises the version, major number 0 left aside."""
    if commit.breaking:
        return Bump.MAJOR
    if commit.kind == "feat":
        return Bump.MINOR
    return Bump.PATCH if commit.kind in _PATCH_KINDS else Bump.NONE


def next_version(
    commits: Sequence[CommitInfo], previous: str | None, *, release_branch: bool, first: str = FIRST
) -> VersionDecision:
    """The version of a commit, from those since the last release.

    `commits` are newest first, `previous` is the last version (None: nothing was released), `first` that of a first
    release.
    """
    if previous is not None and not commits:
        reason = f"this commit is already released as {previous}"
        return VersionDecision(version=previous, release=False, bump=Bump.NONE, previous=previous, reasons=(reason,))
    found = declared(commits)
    bump = max((bump_of(one) for one in found), default=Bump.NONE)
    wanted = next((one.release_as for one in found if one.release_as), None)
    target, reasons = _target(previous, bump, wanted, first)
    reasons += _because(found, bump, previous)
    releases = release_branch and (bump > Bump.NONE or wanted is not None)
    if releases and previous is not None and (number(target) or (0, 0, 0)) <= (number(previous) or (0, 0, 0)):
        releases = False
        reasons = (*reasons, f"{target} is not above {previous}, so nothing is released")
    if not releases:
        target = f"{target}-dev.{max(len(commits), 1)}"
        why = "this branch does not release" if not release_branch else "nothing here asks for a release"
        reasons = (*reasons, why)
    return VersionDecision(version=target, release=releases, bump=bump, previous=previous, reasons=reasons)


def decide_version(
    repository: Repository, revision: str, *, release_branch: bool, first: str = FIRST, without: str | None = None
) -> VersionDecision:
    """`next_version` of a commit, against the highest release tag that it contains; the tag of `without` counts not."""
    head = repository.resolve(revision)
    for version, commit in released(repository.refs("refs/tags/")):
        if version == without:
            continue
        if commit == head or repository.merge_base(commit, head) == commit:
            commits = repository.log(head, since=commit, limit=10_000)
            return next_version(commits, version, release_branch=release_branch, first=first)
    return next_version(repository.log(head, limit=10_000), None, release_branch=release_branch, first=first)


def _target(previous: str | None, bump: Bump, wanted: str | None, first: str) -> tuple[str, tuple[str, ...]]:
    if wanted is not None:
        return wanted, (f"a commit asks for {wanted} (Release-As)",)
    last = number(previous) if previous is not None else None
    if last is None:
        return first, (f"nothing was released yet, so this is {first}",)
    major, minor, patch = last
    if bump is Bump.MAJOR and major > 0:
        return f"{major + 1}.0.0", ()
    if bump >= Bump.MINOR:
        return f"{major}.{minor + 1}.0", ()
    return f"{major}.{minor}.{patch + 1}", ()


def _because(found: Sequence[Conventional], bump: Bump, previous: str | None) -> tuple[str, ...]:
    if bump is Bump.NONE:
        return ("no feat, fix or perf commit since " + (previous or "the beginning"),)
    causes = [one for one in found if bump_of(one) is bump]
    word = {Bump.MAJOR: "breaking change", Bump.MINOR: "feature", Bump.PATCH: "fix"}[bump]
    lines = [f"{word}: {one.breaking or one.text} ({one.commit[:8]})" for one in causes[:_SHOWN]]
    if len(causes) > _SHOWN:
        lines.append(f"and {len(causes) - _SHOWN} more")
    return tuple(lines)
