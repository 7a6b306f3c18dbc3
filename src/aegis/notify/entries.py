"""What an inbox entry is, and how it is opened, repeated and resolved. Pure.

One trouble is one entry: what says the same of the same occurrence again (a failed run, then its verdict) makes the
entry richer, another occurrence (the next failed run of the branch) counts it up, and neither makes a second one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

KINDS: Final = ("failure", "block", "approval", "review", "rollback", "news")
_WEIGHT: Final = {"info": 0, "low": 1, "medium": 2, "high": 3, "critical": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One failure or request. `title` is a message id with `params`.

    `audience` are those it concerns: `identity:<id>`, `group:<name>`, `approvers:<environment>`,
    `emergency:<environment>`, `project:<path>`, `service:<name>`, `operators`; `excluded` are identities whom it does
    not concern all the same (who may not approve their own change). `occurrence` names what last happened.
    """

    key: str
    kind: str
    title: str
    params: Mapping[str, str]
    severity: str
    first_at: datetime
    last_at: datetime
    occurrence: str
    count: int = 1
    resolved_at: datetime | None = None
    link: str = ""
    audience: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    hint: str = ""
    project: str = ""
    service: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something that happened and belongs into the entry `key`."""

    key: str
    kind: str
    title: str
    occurrence: str
    severity: str = "medium"
    params: Mapping[str, str] = field(default_factory=dict)
    link: str = ""
    audience: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    hint: str = ""
    project: str = ""
    service: str = ""
    environment: str = ""


def noted(before: Entry | None, news: News, at: datetime) -> Entry:
    """The entry after `news`: a new one, the same one richer, or the same one once more (and open again)."""
    fresh = Entry(
        key=news.key, kind=news.kind, title=news.title, params=dict(news.params), severity=news.severity,
        first_at=at, last_at=at, occurrence=news.occurrence, link=news.link, audience=news.audience,
        excluded=news.excluded, hint=news.hint, project=news.project, service=news.service,
        environment=news.environment,
    )  # fmt: skip
    if before is None:
        return fresh
    if before.occurrence != news.occurrence:
        # After it was resolved it is a new trouble that only has the old one's name.
        again = before.resolved_at is None
        first, count = (before.first_at, before.count + 1) if again else (at, 1)
        return replace(fresh, first_at=first, count=count)
    return replace(
        fresh,
        first_at=before.first_at,
        count=before.count,
        hint=news.hint or before.hint,
        link=news.link or before.link,
        severity=max(before.severity, news.severity, key=lambda one: _WEIGHT.get(one, 0)),
        audience=tuple(dict.fromkeys((*before.audience, *news.audience))),
    )


def resolved(entry: Entry, at: datetime) -> Entry:
    """The entry as settled; the first time counts."""
    return entry if entry.resolved_at else replace(entry, resolved_at=at, last_at=max(entry.last_at, at))
