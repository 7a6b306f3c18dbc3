"""Who is known: people and robots as the declaration names them, their groups, and which Git e-mail is whose.

Decides membership (groups may hold groups) and the mapping of Git authors. An e-mail that nobody has declared maps to
nobody: it is never guessed from a name, because four eyes are counted on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from aegis.core.errors import UserError

EVERYONE: Final = "everyone"
"""The group that holds every declared person and robot without being declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A person, or a robot that never approves. `groups` are all of them, those reached through others too."""

    id: str
    name: str
    emails: tuple[str, ...] = ()
    groups: frozenset[str] = frozenset()
    language: str = "en"
    robot: bool = False

    def within(self, names: Iterable[str]) -> bool:
        """Whether this identity is named there, itself or by one of its groups."""
        return any(name == self.id or name in self.groups for name in names)


class Directory:
    """The identities in force. `groups` maps a group to its members, which are identities or groups.

    `UserError` where an e-mail belongs to two, a member is unknown, a name is both, or groups hold each other.
    """

    def __init__(self, identities: Iterable[Identity], groups: Mapping[str, Iterable[str]]) -> None:
        known = {one.id: one for one in identities}
        members = {name: tuple(held) for name, held in groups.items()}
        _check(known, members)
        within = _reached(known, members)
        self._by_id = {
            name: replace(one, groups=frozenset(one.groups | within[name] | {EVERYONE})) for name, one in known.items()
        }
        self._by_email: dict[str, str] = {}
        for one in known.values():
            for email in one.emails:
                other = self._by_email.setdefault(_folded(email), one.id)
                if other != one.id:
                    raise UserError(
                        "email-twice",
                        f"{email} belongs to {other} and to {one.id}",
                        hint="give each e-mail address to one identity",
                    )

    def by_id(self, name: str) -> Identity | None:
        """The identity of this id, or None."""
        return self._by_id.get(name)

    def by_email(self, email: str) -> Identity | None:
        """Whose Git e-mail address this is, case aside; None where it is nobody's."""
        owner = self._by_email.get(_folded(email))
        return None if owner is None else self._by_id[owner]

    def authors(self, emails: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Git authors as (ids of those mapped, e-mails of those who are nobody), each once and sorted."""
        mapped: set[str] = set()
        unmapped: set[str] = set()
        for email in emails:
            one = self.by_email(email)
            if one is None:
                unmapped.add(email)
            else:
                mapped.add(one.id)
        return tuple(sorted(mapped)), tuple(sorted(unmapped))

    def members(self, names: Iterable[str]) -> tuple[Identity, ...]:
        """Everybody whom these ids and groups name, by id."""
        wanted = tuple(names)
        return tuple(one for _, one in sorted(self._by_id.items()) if one.within(wanted))


def _folded(email: str) -> str:
    return email.strip().casefold()


def _check(known: Mapping[str, Identity], members: Mapping[str, tuple[str, ...]]) -> None:
    for group, held in members.items():
        if group in known or group == EVERYONE:
            raise UserError("group-name", f"{group} cannot be a group's name: it means something else already")
        for name in held:
            if name not in known and name not in members and name != EVERYONE:
                raise UserError(
                    "unknown-member",
                    f"group {group} names {name}, who is not declared",
                    hint=f"declare {name} under identities, or take the name out of the group",
                )


def _reached(known: Mapping[str, Identity], members: Mapping[str, tuple[str, ...]]) -> dict[str, set[str]]:
    """Identity to the groups that hold it, directly or through others; `UserError` at a ring of groups."""
    within: dict[str, set[str]] = {name: set() for name in known}

    def walk(group: str, path: tuple[str, ...]) -> set[str]:
        if group in path:
            raise UserError("group-ring", f"groups hold each other: {' → '.join((*path[path.index(group) :], group))}")
        people: set[str] = set()
        for name in members[group]:
            if name in members:
                people |= walk(name, (*path, group))
            else:
                people |= set(known) if name == EVERYONE else {name}
        return people

    for group in members:
        for name in walk(group, ()):
            within[name].add(group)
    return within
