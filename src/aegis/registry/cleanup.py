"""Which images go and which stay, each with the reason. Pure: images, rules and protections are given.

The first rule that matches a repository and all tags of an image decides about it; what no rule speaks of stays. What
belongs to an image (its parts, its signatures and other referrers, cosign's tags) goes exactly when the image goes.
Protections come first: what is deployed, what may have to be returned to, what is evidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Final

from aegis.registry.options import CleanUpRule
from aegis.registry.ports import ListedImage

_BESIDE: Final = re.compile(r"(sha256|sha512)-([0-9a-f]{64,128})(?:\.(?:sig|att|sbom|base))?")

Protected = Callable[[str, str], str]
"""Why the image with this repository and digest must stay, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens to one image, and why."""

    repository: str
    digest: str
    tags: tuple[str, ...]
    pushed_at: datetime
    remove: bool
    reason: str


def decide(
    repository: str, images: Sequence[ListedImage], rules: Sequence[CleanUpRule], protected: Protected, now: datetime
) -> tuple[Decision, ...]:
    """A decision for every image of a repository, in the order of `images`."""
    belongs = _belonging(images)
    roots = [one for one in images if not belongs.get(one.record.digest)]
    said: dict[str, tuple[bool, str]] = {}
    for rule, matching in _by_rule(repository, roots, rules):
        newest = sorted(matching, key=lambda one: (one.pushed_at, one.record.digest), reverse=True)
        for rank, image in enumerate(newest):
            why = protected(repository, image.record.digest)
            said[image.record.digest] = (False, why) if why else _by_age(image, rank, rule, now)
    for image in images:
        _inherit(image.record.digest, belongs, said, set())
    return tuple(
        Decision(
            repository=repository, digest=one.record.digest, tags=one.tags, pushed_at=one.pushed_at,
            remove=said[one.record.digest][0], reason=said[one.record.digest][1],
        )
        for one in images
    )  # fmt: skip


def _belonging(images: Sequence[ListedImage]) -> dict[str, set[str]]:
    """Image to those (of the same repository) that it belongs to."""
    here = {one.record.digest for one in images}
    found: dict[str, set[str]] = {}
    for one in images:
        digest = one.record.digest
        for part in here.intersection(one.record.references) - {digest}:
            found.setdefault(part, set()).add(digest)
        beside = [_BESIDE.fullmatch(tag) for tag in one.tags]
        named = {f"{match[1]}:{match[2]}" for match in beside if match} if all(beside) else set()  # else for itself
        owners = {one.record.subject} | named
        for owner in (owners & here) - {digest}:
            found.setdefault(digest, set()).add(owner)
    return found


def beside(tags: Sequence[str]) -> str:
    """The digest of the image that something with these tags belongs to, or empty."""
    match = next(filter(None, map(_BESIDE.fullmatch, tags)), None)
    return f"{match[1]}:{match[2]}" if match else ""


def _by_rule(
    repository: str, roots: Sequence[ListedImage], rules: Sequence[CleanUpRule]
) -> list[tuple[CleanUpRule, list[ListedImage]]]:
    waiting, found = list(roots), []
    for rule in rules:
        if fnmatchcase(repository, rule.repositories):
            matching = [one for one in waiting if _matches(one, rule)]
            waiting = [one for one in waiting if not _matches(one, rule)]
            found.append((rule, matching))
    return found


def _matches(image: ListedImage, rule: CleanUpRule) -> bool:
    return all(fnmatchcase(tag, rule.tags) for tag in image.tags) if image.tags else rule.untagged


def _by_age(image: ListedImage, rank: int, rule: CleanUpRule, now: datetime) -> tuple[bool, str]:
    name = f"the rule for {rule.repositories} (tags {rule.tags})"
    if rank < rule.keep:
        return False, f"one of the newest {rule.keep} of {name}"
    age = (now - image.pushed_at).total_seconds()
    if age <= rule.older:
        return False, f"{_days(age)} old; {name} waits for {_days(rule.older)}"
    beyond = f"beyond the newest {rule.keep}" if rule.keep else ""
    older = f"{_days(age)} old, more than {_days(rule.older)}" if rule.older else ""
    return True, f"{', '.join(part for part in (beyond, older) if part)}: {name}"


def _inherit(digest: str, belongs: dict[str, set[str]], said: dict[str, tuple[bool, str]], seen: set[str]) -> None:
    """Decide about what belongs to others, after them: it goes when all of them go."""
    if digest in said:
        return
    owners = belongs.get(digest, set()) - seen
    for owner in sorted(owners):
        _inherit(owner, belongs, said, seen | {digest})
    decided = [(owner, said[owner][0]) for owner in sorted(owners) if owner in said]
    if not decided:
        said[digest] = (False, "no rule speaks of it")
        return
    staying = next((owner for owner, goes in decided if not goes), None)
    said[digest] = (
        staying is None,
        f"belongs to {staying or decided[0][0]}, which {'goes' if staying is None else 'stays'}",
    )


def _days(seconds: float) -> str:
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:.0f} days"
    return f"{seconds / 3600:.0f} h" if seconds >= 3600 else f"{seconds:.0f} s"
