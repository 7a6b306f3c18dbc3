"""What goes and what stays of registries that GitLab hosts: the rules of `cleanup`, applied to what its interface tells.

Pure: tags, packages, rules and protections are given. A package is a repository of its versions. What GitLab gives no date
for stays, since no rule can be applied to it; what it does not list (parts of an image, what no tag names) is its own to
delete.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Final, Protocol

from aegis.registry.cleanup import Decision, Protected, beside, decide
from aegis.registry.options import CleanUpRule, HostedRule
from aegis.registry.ports import ListedImage, ManifestRecord

_UNDATED: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PACKAGE: Final = re.compile(r"package:(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedTag:
    """A tag of a container repository. `created_at` is that of the image, None where it is not told."""

    place: int
    repository: str
    name: str
    digest: str
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedPackage:
    """One version of a package."""

    number: int
    kind: str
    name: str
    version: str
    created_at: datetime | None


class HostedRegistry(Protocol):
    """The registries of one project. Any call may raise `ExternalError`; a listing is whole or is not given.

    Both deletions succeed for what is not there. `Denied` for what the instance protects.
    """

    def tags(self, wanted: Callable[[str], bool]) -> tuple[HostedTag, ...]:
        """All tags of the repositories whose path is wanted."""
        ...

    def digest(self, tag: HostedTag) -> str:
        """What a tag points at now, or empty where it is gone."""
        ...

    def packages(self) -> tuple[HostedPackage, ...]:
        """All packages that can be installed."""
        ...

    def contents(self, package: int) -> frozenset[str]:
        """The digests (`sha256:…`) of a package's files."""
        ...

    def untag(self, tag: HostedTag) -> None:
        """Delete one tag, and no other that points at the same image."""
        ...

    def remove(self, package: int) -> None:
        """Delete one version of a package."""
        ...


def listed(tags: Iterable[HostedTag]) -> Mapping[str, tuple[ListedImage, ...]]:
    """The images of each repository, as `cleanup` reads them."""
    found: dict[str, dict[str, list[HostedTag]]] = {}
    for tag in tags:
        found.setdefault(tag.repository, {}).setdefault(tag.digest, []).append(tag)
    return {
        repository: tuple(
            ListedImage(
                record=ManifestRecord(digest=digest, media_type="", size=0),
                tags=tuple(one.name for one in ours),
                pushed_at=max(one.created_at or _UNDATED for one in ours),
            )
            for digest, ours in images.items()
        )
        for repository, images in found.items()
    }


def packaged(project: str, packages: Iterable[HostedPackage]) -> Mapping[str, tuple[ListedImage, ...]]:
    """The versions of each package, as `cleanup` reads them."""
    found: dict[str, list[ListedImage]] = {}
    for one in packages:
        record = ManifestRecord(digest=f"package:{one.number}", media_type="", size=0)
        found.setdefault(f"{project}/packages/{one.kind}/{one.name}", []).append(
            ListedImage(record=record, tags=(one.version,), pushed_at=one.created_at or _UNDATED)
        )
    return {repository: tuple(versions) for repository, versions in found.items()}


def package_number(digest: str) -> int | None:
    """The number of the package that a decision is about; None: it is about an image."""
    match = _PACKAGE.fullmatch(digest)
    return int(match[1]) if match else None


def is_spoken_of(repository: str, rules: Sequence[CleanUpRule]) -> bool:
    """Whether any rule is about a repository."""
    return any(fnmatchcase(repository, one.repositories) for one in rules)


def decide_hosted(
    hosted: Mapping[str, Sequence[ListedImage]], rules: Sequence[CleanUpRule], protected: Protected, now: datetime
) -> tuple[Decision, ...]:
    """A decision for all that is hosted; what belongs to an image comes after all images."""
    found: list[Decision] = []
    for repository, images in sorted(hosted.items()):
        undated = {one.record.digest for one in images if one.pushed_at == _UNDATED}

        def staying(place: str, digest: str, undated: set[str] = undated) -> str:
            return "GitLab tells no date of it" if digest in undated else protected(place, digest)

        if is_spoken_of(repository, rules):
            found += decide(repository, images, rules, staying, now)
    return tuple(sorted(found, key=lambda one: bool(beside(one.tags))))


def named(decision: Decision, rule: HostedRule) -> Decision:
    """The decision as it is reported and recorded: with the instance before the repository."""
    return replace(decision, repository=f"{rule.host}/{decision.repository}")


def staying(decision: Decision, why: str) -> Decision:
    """The decision when it turned out that the image or package has to stay."""
    return replace(decision, remove=False, reason=why)
