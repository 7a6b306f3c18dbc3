"""Conventional commits: what a commit's message says about a release (conventionalcommits.org, 1.0.0)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aegis.core.ports import CommitInfo

_HEADER: Final = re.compile(r"(?P<kind>[A-Za-z]+)(?:\((?P<scope>[^()\r\n]+)\))?(?P<bang>!)?: +(?P<text>\S.*)")
_BREAKING: Final = re.compile(r"^BREAKING[ -]CHANGE(?:: | #)(.+)", re.MULTILINE)
_RELEASE_AS: Final = re.compile(r"^Release-As: *v?(\d+\.\d+\.\d+)\s*$", re.MULTILINE | re.IGNORECASE)
_REVERTS: Final = re.compile(r"\bThis reverts commit ([0-9a-f]{7,40})\b")
_CO_AUTHOR: Final = re.compile(r"^Co-authored-by: *(.*?) *<([^<>]+)> *$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventional:
    """A commit whose message follows the convention. `breaking` is what breaks, empty where nothing does."""

    commit: str
    kind: str
    scope: str
    text: str
    breaking: str = ""
    release_as: str | None = None


def conventional(commit: CommitInfo) -> Conventional | None:
    """What a commit declares; None where its message does not follow the convention."""
    first, _, rest = commit.message.partition("\n")
    found = _HEADER.fullmatch(first.strip())
    breaking = _BREAKING.search(rest)
    wanted = _RELEASE_AS.search(rest)
    if found is None:
        if wanted is None:
            return None
        return Conventional(commit=commit.commit, kind="chore", scope="", text=first.strip(), release_as=wanted[1])
    return Conventional(
        commit=commit.commit,
        kind=found["kind"].lower(),
        scope=(found["scope"] or "").strip(),
        text=found["text"].strip(),
        breaking=breaking[1].strip() if breaking else (found["text"].strip() if found["bang"] else ""),
        release_as=wanted[1] if wanted else None,
    )


def declared(commits: Iterable[CommitInfo]) -> tuple[Conventional, ...]:
    """What commits declare, in their order; a commit and its revert among them cancel each other."""
    listed = tuple(commits)
    gone: set[str] = set()
    for commit in listed:  # newest first, so that a revert of a revert brings the first back
        if commit.commit in gone:
            continue
        for short in _REVERTS.findall(commit.message):
            undone = next((one.commit for one in listed if one.commit.startswith(short)), None)
            if undone is not None:
                gone |= {commit.commit, undone}
    found = (conventional(commit) for commit in listed if commit.commit not in gone)
    return tuple(one for one in found if one is not None)


def authors(commit: CommitInfo) -> tuple[tuple[str, str], ...]:
    """Name and address of everybody who made a commit: its author and the `Co-authored-by` trailers."""
    return ((commit.author_name, commit.author_email), *_CO_AUTHOR.findall(commit.message))
