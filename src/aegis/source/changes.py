"""From refs that moved to `Change`s: what came, by whom, and which paths it touches.

Decides the base that a new branch is compared with. Does not decide what follows from a change.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from datetime import datetime

from aegis.core.errors import NotFound
from aegis.core.ports import CommitInfo, Repository
from aegis.core.types import Change
from aegis.source.branches import RefUpdate

__all__ = ["RefUpdate", "brought", "changes_of"]


def changes_of(
    repository: Repository,
    updates: Iterable[RefUpdate],
    *,
    project: str,
    identity: str,
    at: datetime,
    new_id: Callable[[], str],
    default_branch: str = "main",
) -> tuple[Change, ...]:
    """A change for each branch or tag that was created or moved, in the order of the push; deletions are none.

    `changed` are the paths that differ from the ref's old commit; for a new ref, from where it left the default
    branch; and all paths where there is nothing to compare with.
    """
    found = []
    for update in updates:
        if update.new is None or (update.branch is None and update.tag is None):
            continue
        try:
            commit = repository.resolve(update.new)
        except NotFound:  # a tag of something that is no commit builds nothing
            continue
        head = repository.log(commit, limit=1)[0]
        found.append(
            Change(
                id=new_id(),
                project=project,
                ref=update.ref,
                commit=commit,
                before=update.old,
                author_name=head.author_name,
                author_email=head.author_email,
                pushed_by=identity,
                message=head.message.rstrip("\n"),
                changed=_changed(repository, update, commit, default_branch),
                at=at,
                source="tag" if update.tag is not None else "push",
            )
        )
    return tuple(found)


def brought(repository: Repository, change: Change, *, limit: int = 10_000) -> tuple[CommitInfo, ...]:
    """The commits that a change brought, newest first; all of its history where its old commit is unknown."""
    if change.before is not None:
        with contextlib.suppress(NotFound):  # the old commit is gone after a rewrite: everything counts as brought
            return repository.log(change.commit, since=change.before, limit=limit)
    return repository.log(change.commit, limit=limit)


def _changed(repository: Repository, update: RefUpdate, commit: str, default_branch: str) -> tuple[str, ...]:
    base = update.old
    if base is None:
        default = repository.refs(f"refs/heads/{default_branch}").get(f"refs/heads/{default_branch}")
        base = repository.merge_base(default, commit) if default not in {None, commit} and default else None
    try:
        return repository.changed(base, commit)
    except NotFound:
        return repository.changed(None, commit)
