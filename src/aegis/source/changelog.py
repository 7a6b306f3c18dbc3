"""The CHANGELOG entry of a version, and where it goes in the file. Markdown; commit texts cannot break out of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Final

from aegis.core.ports import CommitInfo
from aegis.source.commits import Conventional, declared

_GROUPS: Final = (
    ("Features", ("feat",)),
    ("Fixes", ("fix", "security")),
    ("Performance", ("perf",)),
    ("Reverted", ("revert",)),
)
_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>|])")
_HEADING: Final = re.compile(r"^## ", re.MULTILINE)
_UNRELEASED: Final = re.compile(r"## \[?unreleased\]?", re.IGNORECASE)
_TITLE: Final = "# Changelog\n"


def entry(version: str, on: date, commits: Iterable[CommitInfo]) -> str:
    """The entry of a version, newest commit first within each group; kinds that release nothing are left out."""
    found = declared(commits)
    parts = [f"## {version} ({on.isoformat()})\n"]
    breaking = [_line(one, one.breaking) for one in found if one.breaking]
    if breaking:
        parts.append("### Breaking changes\n\n" + "\n".join(breaking) + "\n")
    for title, kinds in _GROUPS:
        lines = [_line(one, one.text) for one in found if one.kind in kinds]
        if lines:
            parts.append(f"### {title}\n\n" + "\n".join(lines) + "\n")
    if len(parts) == 1:
        parts.append("No change that users notice.\n")
    return "\n".join(parts)


def prepend(text: str, new: str) -> str:
    """A changelog with the new entry above the earlier ones (below its title, introduction and an "unreleased" section).

    Adding the same version again changes nothing.
    """
    heading = new.splitlines()[0]
    version = heading.removeprefix("## ").split(" ", 1)[0]
    if re.search(rf"^## \[?v?{re.escape(version)}\]?(?=[\s(]|$)", text, re.MULTILINE):
        return text
    if not text.strip():
        return f"{_TITLE}\n{new}"
    places = [found.start() for found in _HEADING.finditer(text) if not _UNRELEASED.match(text, found.start())]
    if not places:
        return text.rstrip("\n") + "\n\n" + new
    return text[: places[0]] + new.rstrip("\n") + "\n\n" + text[places[0] :]


def plain(text: str) -> str:
    """Text from outside as one line of Markdown that shows it literally."""
    return _SPECIAL.sub(r"\\\1", " ".join("".join(c if c.isprintable() else " " for c in text).split()))


def _line(commit: Conventional, text: str) -> str:
    scope = f"**{plain(commit.scope)}:** " if commit.scope else ""
    return f"- {scope}{plain(text)} ({commit.commit[:8]})"
