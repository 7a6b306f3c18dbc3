"""What is cut when a release is cut, and who was involved in it: the ground that four eyes stand on.

Pure: given the records, the commits of the release and who is behind an address. Who may approve is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from aegis.core.events import ChangePushed, MergeRequestMerged, Record
from aegis.core.ports import CommitInfo
from aegis.core.types import Change
from aegis.source.changelog import entry
from aegis.source.commits import authors
from aegis.source.versions import VersionDecision, tag_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A release to be cut: `tag` is the short name, `message` that of an annotated tag or a changelog commit."""

    version: str
    tag: str
    changelog: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Involvement:
    """Identities that pushed, merged or wrote anything in a release, sorted; authors behind whom nobody is declared."""

    involved: tuple[str, ...]
    unmapped: tuple[str, ...]


def cut(decision: VersionDecision, commits: Sequence[CommitInfo], on: date) -> Cut | None:
    """The release that a version decision asks for; None where it asks for none."""
    if not decision.release:
        return None
    return Cut(
        version=decision.version,
        tag=tag_name(decision.version),
        changelog=entry(decision.version, on, commits),
        message=f"chore(release): {decision.version}",
    )


def involvement(
    project: str,
    records: Iterable[Record],
    commits: Sequence[CommitInfo],
    *,
    identity_of: Callable[[str], str | None],
    brought: Callable[[Change], Iterable[str]] | None = None,
) -> Involvement:
    """Who was involved in `commits` (those since the last production release) of a project.

    `records` are those of the project, at least `ChangePushed` and `MergeRequestMerged`; erased ones name their actor.
    `identity_of` maps an author's address. `brought` answers the commits that a push brought; without it a push counts
    when its head is among the commits. An author without a declared identity is reported, never ignored.
    """
    wanted = {commit.commit for commit in commits}
    involved: set[str] = set()
    for record in records:
        if record.project and record.project != project:
            continue
        data = record.data
        if isinstance(data, ChangePushed) and data.change.project == project:
            new = {data.change.commit, *(brought(data.change) if brought is not None else ())}
            if not new.isdisjoint(wanted):
                involved.add(data.change.pushed_by)
        elif isinstance(data, MergeRequestMerged) and data.commit in wanted:
            involved.add(data.merged_by)
        elif data is None and record.type in _ERASABLE:
            involved.add(record.actor)
    unmapped: set[str] = set()
    for name, email in {author for commit in commits for author in authors(commit)}:
        identity = identity_of(email)
        if identity is None:
            unmapped.add(f"{name} <{email}>")
        else:
            involved.add(identity)
    return Involvement(involved=tuple(sorted(involved)), unmapped=tuple(sorted(unmapped)))


_ERASABLE = frozenset({"aegis.change.pushed", "dev.cdevents.change.merged"})
