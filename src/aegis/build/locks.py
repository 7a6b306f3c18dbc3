"""What an image needs of a lock on one target: pure, over what `core.locks` reads.

A lock says which packages the service needs at run time on one target, each with the hashes that are accepted.
Development groups and optional extras stay out. What is not pinned by a hash, or comes from a folder or a
repository, is named in the diagnostics and not installed: an image is built from verified files only. One file at an address,
or beside the lock, is as good as an index's where the lock has its hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from aegis.build.target import Target
from aegis.core.errors import Where
from aegis.core.locks import HASH, INDEX, LockDocument, LockEntry, Need, needs_of, read_document

_MAIN_GROUPS: Final = frozenset({"main", "default"})
_POINTING: Final = frozenset({"-r", "--requirement", "-e", "--editable", "-c", "--constraint"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One package: normalised name, version, accepted hashes (`sha256:…`, sorted).

    `address` is where its one file is, an address or a path from the lock's folder; empty: an index has it.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """Something in a lock that keeps a package out, with the mend. `fatal` when an image would lack it."""

    code: str
    message: str
    hint: str = ""
    where: Where | None = None
    fatal: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What a lock says for one target. Packages are sorted by name; `others` are locked as well, and not for this target's run."""

    format: str
    packages: tuple[Locked, ...]
    diagnostics: tuple[Diagnostic, ...] = ()
    others: tuple[Locked, ...] = ()

    def requirements(self) -> str:
        """The packages in pip's form with hashes: what is installed, and what names the layer."""
        lines = []
        for one in self.packages:
            hashes = "".join(f" --hash={value}" for value in one.hashes)
            lines.append(f"{one.name}=={one.version}{hashes}\n")
        return "".join(lines)

    def key(self) -> str:
        """A digest of the packages, the same for every lock format that pins the same."""
        return hashlib.sha256(self.requirements().encode()).hexdigest()


@dataclass(slots=True)
class _Found:
    """What a reader gathers."""

    file: str
    target: Target
    packages: dict[str, Locked] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def add(self, name: str, version: str, hashes: Iterable[str], line: int = 1, *, address: str = "") -> None:
        name = canonicalize_name(name)
        kept = tuple(sorted({one for one in hashes if HASH.fullmatch(one)}))
        if not version or not kept:
            lacking = "a hash" if version else "a version"
            hint = "write the lock with hashes, for example `uv pip compile --generate-hashes` or `aegis project lock`"
            self.refuse("lock-unpinned", f"{name} is locked without {lacking}", hint, line)
            return
        present = self.packages.get(name)
        if present is not None and present.version != version:
            self.refuse(
                "lock-forked", f"{name} is locked twice for this target: {present.version} and {version}", "", line
            )
            return
        if present is not None:
            kept = tuple(sorted({*kept, *present.hashes}))
        self.packages[name] = Locked(name=name, version=version, hashes=kept, address=address)

    def refuse(self, code: str, message: str, hint: str = "", line: int = 1, *, fatal: bool = True) -> None:
        where = Where(self.file, line)
        self.diagnostics.append(Diagnostic(code=code, message=message, hint=hint, where=where, fatal=fatal))

    def elsewhere(self, entry: LockEntry) -> None:
        """One file with its SHA-256 is taken from where the lock says; anything else that no index has is refused."""
        hashes = tuple(one for one in entry.hashes if one.startswith("sha256:"))
        version = entry.version or _version_in(entry.address)
        if entry.source != "vcs" and len(set(hashes)) == 1 and _is_file(entry.address) and version:
            self.add(entry.name, version, hashes, entry.line, address=entry.address)
            return
        lacking = ""
        if entry.source != "vcs" and _is_file(entry.address):
            lacking = ", and its name says no version" if hashes else ", and the lock has no SHA-256 of it"
        self.refuse(
            "lock-source", f"{entry.name} comes from {entry.place}, not from an index{lacking}",
            "lock it with its hash, as pylock.toml does (`uv export --format pylock.toml`)" if lacking and not hashes
            else "publish it to the package index and lock that version, or build a wheel of it and lock that file with its hash",
            entry.line,
        )  # fmt: skip


def _is_file(address: str) -> bool:
    return urlsplit(address).path.endswith((".whl", ".tar.gz", ".zip"))


def _version_in(address: str) -> str:
    """The version that a file's name says; empty where it says none."""
    name = unquote(urlsplit(address).path.rpartition("/")[2])
    try:
        return str((parse_wheel_filename(name) if name.endswith(".whl") else parse_sdist_filename(name))[1])
    except (InvalidWheelFilename, InvalidSdistFilename):
        return ""


def read_lock(file: str, data: bytes, *, target: Target, roots: tuple[str, ...] = (), project: str = "") -> Lock:
    """The lock in `data`; its form follows from the file's name.

    `roots` are the project's direct dependencies (PEP 508), `project` its name: formats that record only a graph
    are walked from there. `UserError` when the file cannot be read at all.
    """
    document = read_document(file, data)
    found = _Found(file=file, target=target)
    if document.kind == "uv":
        _select_uv(found, document, roots, project)
    elif document.kind in {"poetry", "pdm"}:
        _select_groups(found, document, roots)
    elif document.kind == "pylock":
        for entry in document.entries:
            if target.applies(_nothing_optional(entry.marker)):
                _take(found, entry)
    else:
        _select_requirements(found, document)
    packages = tuple(found.packages[name] for name in sorted(found.packages))
    others = tuple(one for one in _pinned(document) if one.name not in found.packages)
    return Lock(format=document.kind, packages=packages, diagnostics=tuple(found.diagnostics), others=others)


def everything(file: str, data: bytes) -> tuple[Locked, ...]:
    """All that a lock pins by hash, for whatever it is needed; what is pinned twice at different versions is left out."""
    return _pinned(read_document(file, data))


def _pinned(document: LockDocument) -> tuple[Locked, ...]:
    versions: dict[str, dict[str, set[str]]] = {}
    for entry in document.entries:
        hashes = {one for one in entry.hashes if HASH.fullmatch(one)}
        if entry.source == INDEX and entry.version and hashes:
            versions.setdefault(canonicalize_name(entry.name), {}).setdefault(entry.version, set()).update(hashes)
    return tuple(
        Locked(name=name, version=version, hashes=tuple(sorted(hashes)))
        for name, known in sorted(versions.items()) if len(known) == 1
        for version, hashes in known.items()
    )  # fmt: skip


def _take(found: _Found, entry: LockEntry) -> None:
    if entry.source != INDEX:
        found.elsewhere(entry)
    else:
        found.add(entry.name, entry.version, entry.hashes, entry.line)


def _select_requirements(found: _Found, document: LockDocument) -> None:
    for one in document.unread:
        if not one.option:
            found.refuse("lock-line", f"not a requirement: {one.text}", "", one.line)
        elif one.option in _POINTING:
            found.refuse("lock-option", f"`{one.option}` points out of the lock", "inline what it points at", one.line)
    for entry in document.entries:
        if found.target.applies(entry.marker):
            _take(found, entry)


def _select_uv(found: _Found, document: LockDocument, roots: tuple[str, ...], project: str) -> None:
    start, others = None, []
    for entry in document.entries:
        if entry.own and (not project or canonicalize_name(project) == canonicalize_name(entry.name)):
            start = entry
        else:
            others.append(entry)
    _walk(found, others, start.needs[""] if start is not None else needs_of(roots))


def _select_groups(found: _Found, document: LockDocument, roots: tuple[str, ...]) -> None:
    """Poetry and PDM say which groups a package is for; older locks hold only a graph."""
    if not any(entry.groups for entry in document.entries):
        _walk(found, document.entries, needs_of(roots))
        return
    for entry in document.entries:
        wanted = _MAIN_GROUPS & set(entry.groups) and not (entry.optional and document.kind == "poetry")
        if wanted and found.target.applies(entry.marker):
            _take(found, entry)


def _nothing_optional(marker: str) -> str:
    """PEP 751: nothing optional was asked for, so what only an extra or a group needs stays out."""
    if "extras" not in marker and "dependency_groups" not in marker:
        return marker
    marker = re.sub(r"""(['"])[^'"]*\1 not in (?:extras|dependency_groups)""", "python_version >= '3'", marker)
    return re.sub(r"""(['"])[^'"]*\1 in (?:extras|dependency_groups)""", "python_version < '3'", marker)


def _walk(found: _Found, entries: Iterable[LockEntry], roots: Iterable[Need]) -> None:
    """Add every package that is reached from `roots` on this target."""
    by_name: dict[str, list[LockEntry]] = {}
    for entry in entries:
        by_name.setdefault(canonicalize_name(entry.name), []).append(entry)
    waiting = [(canonicalize_name(one.name), one.extras) for one in roots if found.target.applies(one.marker)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extras = waiting.pop()
        here = [entry for entry in by_name.get(name, ()) if found.target.applies(entry.marker)]
        if not here:
            found.refuse("lock-incomplete", f"{name} is needed but not locked", "write the lock again")
        for entry in here:
            for extra in ("", *extras):
                if (name, extra) in seen:
                    continue
                seen.add((name, extra))
                waiting += [
                    (canonicalize_name(need.name), need.extras)
                    for need in entry.needs.get(extra, ())
                    if found.target.applies(need.marker, extras=extras)
                ]
            _take(found, entry)
