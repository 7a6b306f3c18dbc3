"""Whom an entry concerns. Pure: the declaration's groups are given, and asked when somebody looks.

Entries name their audience by role (`approvers:production`), not by today's members, so that a change of the
declaration counts at once and no ledger record has to be read again. Not here: how often and where somebody is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aegis.notify.entries import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The groups behind the roles. Environments map to groups of approvers; projects and services to their owners.

    `everyone` are the groups that see what nobody else is named for.
    """

    approvers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    emergency: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    projects: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    operators: tuple[str, ...] = ()
    everyone: tuple[str, ...] = ()

    def groups_of(self, role: str) -> tuple[str, ...]:
        """The groups behind one audience name; a role that the declaration gives nobody falls to `everyone`."""
        kind, _, name = role.partition(":")
        tables = {
            "approvers": self.approvers,
            "emergency": self.emergency,
            "project": self.projects,
            "service": self.services,
        }
        if kind == "group":
            return (name,)
        if kind == "operators":
            return self.operators or self.everyone
        return tables[kind].get(name, self.everyone) if kind in tables else ()


def concerns(entry: Entry, identity: str, groups: Iterable[str], routes: Routes) -> bool:
    """Whether the entry concerns that identity, a member of those groups."""
    if identity in entry.excluded:
        return False
    if f"identity:{identity}" in entry.audience:
        return True
    own = set(groups)
    return any(own.intersection(routes.groups_of(role)) for role in entry.audience)


def inbox_of(
    entries: Iterable[Entry], identity: str, groups: Iterable[str], routes: Routes, *, include_resolved: bool = False
) -> tuple[Entry, ...]:
    """What concerns somebody: what is asked of them first, then what went wrong, the latest first."""
    own = tuple(groups)
    found = [
        entry
        for entry in entries
        if (include_resolved or entry.resolved_at is None) and concerns(entry, identity, own, routes)
    ]
    found.sort(key=lambda one: one.last_at, reverse=True)
    found.sort(key=lambda one: (one.resolved_at is not None, one.kind not in ("approval", "review")))
    return tuple(found)
