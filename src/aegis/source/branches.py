"""Which refs a push may move: protection of branches and tags, decided before anything moves.

Pure: knows the commands of a push, who pushes and the declared protections. Whether an update rewrites history needs
the objects; `fast_forward_only` names the refs for which the Git host has to refuse that itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

HEADS: Final = "refs/heads/"
TAGS: Final = "refs/tags/"
EVERYBODY: Final = "*"
"""As a group: everybody who may push to the project at all."""

_WRITABLE: Final = (HEADS, TAGS, "refs/notes/")
_BAD_NAME: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/$|\.$|/\.|/-|\.lock(?:/|$)")
_COMMIT_LIKE: Final = re.compile(r"refs/(?:heads|tags)/[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefUpdate:
    """A ref that moves or moved. `old` is None where it is created, `new` None where it is deleted."""

    ref: str
    old: str | None
    new: str | None

    @property
    def branch(self) -> str | None:
        """The branch's name, None for another kind of ref."""
        return self.ref.removeprefix(HEADS) if self.ref.startswith(HEADS) else None

    @property
    def tag(self) -> str | None:
        """The tag's name, None for another kind of ref."""
        return self.ref.removeprefix(TAGS) if self.ref.startswith(TAGS) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedBranch:
    """Branches that match `pattern` (`*` stands for any text) move only through who is named.

    `push` and `merge` are groups or single identities; empty means nobody. `force` lets those who may push rewrite history. Where several
    rules match a branch, each of them has to allow it.
    """

    pattern: str
    push: tuple[str, ...] = ()
    merge: tuple[str, ...] = ()
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedTag:
    """Tags that match `pattern` are created by `create` only, and never moved or deleted by a push."""

    pattern: str
    create: tuple[str, ...] = ()


Protection = ProtectedBranch | ProtectedTag


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why one ref of a push is refused; `message` and `hint` are shown by `git push`."""

    ref: str
    code: str
    message: str
    hint: str = ""


def matches(pattern: str, name: str) -> bool:
    """Whether a branch or tag name fits a pattern in which only `*` is special."""
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), name) is not None


def branch_rules(branch: str, protections: Iterable[Protection]) -> tuple[ProtectedBranch, ...]:
    """The rules that protect a branch."""
    return tuple(one for one in protections if isinstance(one, ProtectedBranch) and matches(one.pattern, branch))


def may_merge(branch: str, groups: Iterable[str], protections: Iterable[Protection]) -> bool:
    """Whether somebody of these groups may merge into a branch; an unprotected branch is free."""
    return all(_names(rule.merge, groups) for rule in branch_rules(branch, protections))


def judge_push(
    updates: Sequence[RefUpdate], *, identity: str, groups: Iterable[str], protections: Sequence[Protection]
) -> tuple[Refusal, ...]:
    """What in a push is refused, one refusal for each ref; empty when everything may pass."""
    mine = frozenset(groups) | {identity}
    found = [_judge(update, identity, mine, protections) for update in updates]
    doubled = (
        {one.ref for one in updates if sum(other.ref == one.ref for other in updates) > 1} if updates[1:] else set()
    )
    found += [
        Refusal(ref=ref, code="ref-twice", message=f"{ref} is named twice in one push") for ref in sorted(doubled)
    ]
    return tuple(refusal for refusal in found if refusal is not None)


def fast_forward_only(updates: Iterable[RefUpdate], protections: Sequence[Protection]) -> tuple[str, ...]:
    """The refs of a push that the Git host must refuse to move to a commit that does not contain the old one."""
    return tuple(
        update.ref
        for update in updates
        if update.old and update.new and update.branch is not None
        if any(not rule.force for rule in branch_rules(update.branch, protections))
    )


def _names(allowed: tuple[str, ...], groups: Iterable[str]) -> bool:
    return EVERYBODY in allowed or not frozenset(allowed).isdisjoint(groups)


def _judge(
    update: RefUpdate, identity: str, groups: frozenset[str], protections: Sequence[Protection]
) -> Refusal | None:
    if not update.ref.startswith(_WRITABLE):
        return Refusal(
            ref=update.ref,
            code="ref-reserved",
            message=f"{_shown(update.ref)} is not a branch or tag",
            hint="push to refs/heads/<branch> or refs/tags/<tag>",
        )
    if _BAD_NAME.search(update.ref) or _COMMIT_LIKE.fullmatch(update.ref):
        return Refusal(
            ref=update.ref, code="ref-name", message=f"{_shown(update.ref)} is not a name for a branch or tag"
        )
    if update.branch is not None:
        return _judge_branch(update, update.branch, identity, groups, protections)
    if update.tag is not None:
        return _judge_tag(update, update.tag, groups, protections)
    return None


def _judge_branch(
    update: RefUpdate, branch: str, identity: str, groups: frozenset[str], protections: Sequence[Protection]
) -> Refusal | None:
    rules = branch_rules(branch, protections)
    if not rules:
        return None
    if update.new is None:
        return Refusal(ref=update.ref, code="branch-protected", message=f"{branch} is protected and cannot be deleted")
    # A branch that is not there yet has nothing to protect: who may merge into it may begin it.
    allowed = all(_names(rule.push, groups) or (update.old is None and _names(rule.merge, groups)) for rule in rules)
    if allowed:
        return None
    return Refusal(
        ref=update.ref,
        code="branch-protected",
        message=f"{branch} is protected: {identity} may not push to it, open a merge request",
        hint=f"git push -o merge_request.create -o merge_request.target={branch} origin HEAD:my-change",
    )


def _judge_tag(
    update: RefUpdate, tag: str, groups: frozenset[str], protections: Sequence[Protection]
) -> Refusal | None:
    rules = [one for one in protections if isinstance(one, ProtectedTag) and matches(one.pattern, tag)]
    if not rules:
        return None
    if update.old is not None:
        return Refusal(ref=update.ref, code="tag-protected", message=f"tag {tag} is protected and stays where it is")
    if all(_names(rule.create, groups) for rule in rules):
        return None
    return Refusal(
        ref=update.ref,
        code="tag-protected",
        message=f"tag {tag} is protected: Aegis sets it when it cuts a release",
        hint="merge to the branch that releases; see `aegis release --help`",
    )


def _shown(ref: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in ref[:200])
