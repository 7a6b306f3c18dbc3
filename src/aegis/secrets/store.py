"""What a store of secrets holds, as a value: entries, their versions, and what each operation makes of them.

Pure: an adapter reads the document, applies one function, and writes it back. Values are never part of a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from aegis.core.errors import NotFound
from aegis.secrets.ports import SecretInfo
from aegis.secrets.references import SCHEME, Reference, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One value. `number` counts from 1."""

    number: int
    value: str
    at: datetime

    def __repr__(self) -> str:
        return f"Version(number={self.number}, at={self.at})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A secret's versions that can be read, oldest first; the last one is current."""

    versions: tuple[Version, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """All secrets of a store, by the text of their reference. `form` is the version of this shape."""

    form: int = 1
    entries: Mapping[str, Entry] = field(default_factory=dict)


def get(document: Document, reference: Reference, version: int | None = None) -> str:
    """The current value or that of a version; `NotFound` names the reference only."""
    entry = document.entries.get(str(reference))
    if entry is None:
        raise _absent(reference)
    if version is None:
        return entry.versions[-1].value
    found = next((one for one in entry.versions if one.number == version), None)
    if found is None:
        raise NotFound("secret-version", f"{reference} has no version {version} any more")
    return found.value


def put(document: Document, reference: Reference, value: str, now: datetime) -> tuple[Document, int]:
    """The document with this value as the only one, and its version."""
    entry = document.entries.get(str(reference))
    if entry is None:
        return _with(document, reference, Entry(versions=(Version(number=1, value=value, at=now),), created_at=now)), 1
    last = entry.versions[-1]
    if last.value == value and len(entry.versions) == 1:
        return document, last.number
    fresh = last if last.value == value else Version(number=last.number + 1, value=value, at=now)
    return _with(document, reference, replace(entry, versions=(fresh,))), fresh.number


def rotate(document: Document, reference: Reference, value: str, now: datetime) -> tuple[Document, int]:
    """The document with this value beside the former current one, and its version."""
    entry = document.entries.get(str(reference))
    if entry is None:
        raise _absent(reference)
    last = entry.versions[-1]
    if last.value == value:
        return document, last.number
    fresh = Version(number=last.number + 1, value=value, at=now)
    return _with(document, reference, replace(entry, versions=(last, fresh))), fresh.number


def retire(document: Document, reference: Reference) -> Document:
    """The document with the current version alone."""
    entry = document.entries.get(str(reference))
    if entry is None or len(entry.versions) == 1:
        return document
    return _with(document, reference, replace(entry, versions=entry.versions[-1:]))


def delete(document: Document, reference: Reference) -> Document:
    """The document without the secret."""
    return replace(
        document, entries={name: entry for name, entry in document.entries.items() if name != str(reference)}
    )


def listed(document: Document, prefix: str = "") -> tuple[SecretInfo, ...]:
    """What is kept under a path prefix, ordered."""
    found = [
        SecretInfo(
            reference=parse(name),
            version=entry.versions[-1].number,
            versions=tuple(one.number for one in entry.versions),
            created_at=entry.created_at,
            rotated_at=entry.versions[-1].at,
        )
        for name, entry in document.entries.items()
        if name.removeprefix(SCHEME).startswith(prefix)
    ]
    return tuple(sorted(found, key=lambda info: info.reference))


def _with(document: Document, reference: Reference, entry: Entry) -> Document:
    return replace(document, entries={**document.entries, str(reference): entry})


def _absent(reference: Reference) -> NotFound:
    return NotFound(
        "secret-missing",
        f"there is no secret {reference}",
        hint="put it into the secret store that the declaration names",
    )
