"""Advisories in OSV form: reading them, and which versions of a package they concern.

Follows the evaluation algorithm of the OSV schema (https://ossf.github.io/osv-schema/) for the ecosystem PyPI with
versions compared by PEP 440. Ranges of Git commits say nothing about a released version and are passed over; an advisory
that has only those cannot be judged, and says so instead of passing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import msgspec
from packaging.version import Version

from aegis.core.types import Severity
from aegis.supplychain.packages import canonical, parsed
from aegis.supplychain.severity import rate

_NAME: Final = re.compile(rb"""["']?\bname["']?\s*:\s*([^\s,}]+)""")
_MODIFIED: Final = re.compile(rb"""["']?\bmodified["']?\s*:\s*["']?(\d{4}-\d\d-\d\dT[0-9:.]{5,}Z?)""")
_ODD: Final = (b"*", b"&", b"!", b"|", b">", b"[", b"{")
_LOWEST: Final = Version("0.dev0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Events of one range in the order of the file: (`introduced` | `fixed` | `last_affected`, version)."""

    events: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """What an advisory says of one package. `only_git` when it names neither versions nor ranges of versions."""

    package: str
    ranges: tuple[Range, ...] = ()
    versions: frozenset[str] = frozenset()
    only_git: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """One advisory. `rating` says how the severity came about."""

    id: str
    aliases: tuple[str, ...] = ()
    summary: str = ""
    details: str = ""
    affected: tuple[Affected, ...] = ()
    severity: Severity = Severity.UNKNOWN
    rating: str = ""
    modified: datetime | None = None
    withdrawn: bool = False
    references: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All its identifiers: CVE first, since people know that, then its own, then the others."""
        every = dict.fromkeys((self.id, *self.aliases))
        return tuple(sorted(every, key=lambda name: not name.startswith("CVE-")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """An advisory that concerns an installed version. `fixed` are the versions that mend it, smallest first."""

    advisory: Advisory
    fixed: tuple[str, ...] = ()
    undecided: bool = False


class AdvisoryStore:
    """All advisories of a source, read when a package asks for them.

    Building it looks for package names in the bytes (5 MB take a fraction of a second); only advisories that may
    concern a wanted package are parsed. What cannot be told from the bytes is parsed for every package.
    """

    def __init__(self, files: Iterable[tuple[str, bytes]]) -> None:
        self._files: list[tuple[str, bytes]] = []
        self._by_package: dict[str, list[int]] = {}
        self._always: list[int] = []
        self._parsed: dict[int, Advisory | None] = {}
        self.unreadable: dict[str, str] = {}
        """Files that look like advisories and could not be read, with the reason."""
        newest = b""
        for name, data in files:
            if b"affected" not in data:
                continue
            self._index(name, data)
            newest = max(newest, *_MODIFIED.findall(data), b"")
        self.newest = _instant(newest.decode())
        """When the youngest advisory was last changed: how old the data is."""

    def __len__(self) -> int:
        return len(self._files)

    def of(self, package: str) -> tuple[Advisory, ...]:
        """The advisories that name this package and are not withdrawn."""
        wanted = canonical(package)
        found = (self._read(index) for index in (*self._by_package.get(wanted, ()), *self._always))
        return tuple(
            advisory
            for advisory in found
            if advisory and not advisory.withdrawn and any(one.package == wanted for one in advisory.affected)
        )

    def matches(self, package: str, version: Version, spelled: str = "") -> tuple[Match, ...]:
        """The advisories that concern this version, as they stand in the store."""
        found = (match(advisory, package, version, spelled) for advisory in self.of(package))
        return tuple(one for one in found if one is not None)

    def _index(self, name: str, data: bytes) -> None:
        index = len(self._files)
        self._files.append((name, data))
        names = {found.strip(b"\"'") for found in _NAME.findall(data)}
        if not names or any(found.startswith(_ODD) or b"\\" in found or not found.isascii() for found in names):
            self._always.append(index)
            return
        for package in {canonical(found.decode()) for found in names}:
            self._by_package.setdefault(package, []).append(index)

    def _read(self, index: int) -> Advisory | None:
        if index not in self._parsed:
            name, data = self._files[index]
            advisory, problem = read_advisory(data)
            self._parsed[index] = advisory
            if problem:
                self.unreadable[name] = problem
        return self._parsed[index]


def read_advisory(data: bytes) -> tuple[Advisory | None, str]:
    """The advisory in JSON or YAML, or None with what is wrong. Every scalar is text: `1.10` stays `1.10`."""
    try:
        stripped = data.removeprefix(b"\xef\xbb\xbf").lstrip()
        document = msgspec.json.decode(stripped) if stripped[:1] == b"{" else _yaml(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return None, f"not readable: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    if not isinstance(document, dict) or not isinstance(document.get("id"), str):
        return None, "an advisory is a mapping with an id"
    try:
        return _Reader(document).advisory, ""
    except (TypeError, AttributeError, KeyError) as error:
        return None, f"not of OSV's form: {error}"


def _yaml(data: bytes) -> Any:
    """A YAML document whose scalars are all text; `ValueError` when it is none."""
    import yaml  # noqa: PLC0415 - start-up is a feature: the search for secrets has no advisories

    try:
        return yaml.load(data, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # noqa: S506 - the base loader makes text only
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def match(advisory: Advisory, package: str, version: Version, spelled: str = "") -> Match | None:
    """The advisory as it concerns this version of the package, or None where it does not."""
    name = canonical(package)
    mine = [one for one in advisory.affected if one.package == name]
    fixed: set[Version] = set()
    hit = False
    for one in mine:
        listed = any(_same(text, version, spelled) for text in one.versions)
        inside = [fix for entry in one.ranges if (fix := _within(entry, version)) is not None]
        hit = hit or listed or bool(inside)
        fixed.update(candidate for fixes in inside for candidate in fixes)
        if listed and not inside:
            fixed.update(_fixes_after(one.ranges, version))
    if hit:
        return Match(advisory=advisory, fixed=tuple(str(one) for one in sorted(fixed)))
    if mine and all(one.only_git for one in mine):
        return Match(advisory=advisory, undecided=True)
    return None


def _same(text: str, version: Version, spelled: str) -> bool:
    return text == spelled or parsed(text) == version


def _within(entry: Range, version: Version) -> list[Version] | None:
    """None where the version is outside; else the smallest fixed version at or after it, if there is one.

    A bound that is no version widens the range: it begins at the beginning, and a fix that cannot be read mends nothing.
    """
    order = {"fixed": 0, "introduced": 1, "last_affected": 2}
    events: list[tuple[Version, int, str]] = []
    for kind, text in entry.events:
        at = None if text == "0" else parsed(text)
        if kind == "introduced":
            events.append((at or _LOWEST, order[kind], kind))
        elif kind in order and at is not None:
            events.append((at, order[kind], kind))
    inside = False
    for at, _, kind in sorted(events):
        if kind == "last_affected":
            inside = inside and version <= at
        elif version >= at:
            inside = kind == "introduced"
    return _fixes_after((entry,), version) if inside else None


def _fixes_after(ranges: tuple[Range, ...], version: Version) -> list[Version]:
    """Of each range the smallest fixed version that is not below the installed one."""
    chosen: list[Version] = []
    for entry in ranges:
        fixes = [at for kind, text in entry.events if kind == "fixed" and (at := parsed(text)) and at >= version]
        if fixes:
            chosen.append(min(fixes))
    return chosen


class _Reader:
    """Reads one document; whatever has not OSV's form raises TypeError, AttributeError or KeyError."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    @cached_property
    def advisory(self) -> Advisory:
        document = self._document
        severity, rating = rate(self._vectors(), self._words())
        return Advisory(
            id=document["id"],
            aliases=tuple(str(one) for one in document.get("aliases") or ()),
            summary=str(document.get("summary") or ""),
            details=str(document.get("details") or ""),
            affected=tuple(
                _affected(one)
                for one in document.get("affected") or ()
                if str(one["package"]["ecosystem"]).lower() == "pypi"
            ),
            severity=severity,
            rating=rating,
            modified=_instant(str(document.get("modified") or "")),
            withdrawn=bool(document.get("withdrawn")),
            references=tuple(str(one["url"]) for one in document.get("references") or () if one.get("url")),
        )

    def _vectors(self) -> tuple[str, ...]:
        """Vectors of the advisory as a whole and of its packages."""
        places = [self._document, *(self._document.get("affected") or ())]
        return tuple(str(one.get("score") or "") for place in places for one in place.get("severity") or ())

    def _words(self) -> tuple[str, ...]:
        places = [self._document, *(self._document.get("affected") or ())]
        kinds = ("database_specific", "ecosystem_specific")
        found = ((place.get(kind) or {}).get("severity") for place in places for kind in kinds)
        return tuple(word for word in found if isinstance(word, str))


def _affected(entry: dict[str, Any]) -> Affected:
    ranges = entry.get("ranges") or ()
    usable = [one for one in ranges if str(one["type"]).upper() in {"ECOSYSTEM", "SEMVER"}]
    versions = frozenset(str(one) for one in entry.get("versions") or ())
    return Affected(
        package=canonical(str(entry["package"]["name"])),
        ranges=tuple(
            Range(events=tuple((str(kind), str(at)) for event in one["events"] for kind, at in event.items()))
            for one in usable
        ),
        versions=versions,
        only_git=bool(ranges) and not usable and not versions,
    )


def _instant(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
