"""Reads lock files: pure, `bytes -> LockDocument`, for requirements, uv.lock, poetry.lock, pdm.lock and pylock.toml.

Everything that a lock says, and nothing decided: what an image needs of it on one target is `build.locks`' business, what a
scan looks up `supplychain.locks`'. Formats: PEP 751 (pylock.toml), pip's requirements files, and what uv, Poetry and PDM write.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from aegis.core.errors import UserError, Where

NAMES: Final = ("pylock.toml", "uv.lock", "poetry.lock", "pdm.lock", "requirements.lock", "requirements.txt")
"""Lock files in the order in which a project's own is looked for."""

HASH: Final = re.compile(r"sha(?:256|384|512):[0-9a-f]{64,128}")
INDEX: Final = "index"
_PLACES: Final = {
    "git": ("vcs", "a repository"), "vcs": ("vcs", "a repository"), "hg": ("vcs", "a repository"),
    "url": ("url", "an address"), "archive": ("url", "an address"), "path": ("path", "a file"), "file": ("path", "a file"),
    "directory": ("path", "a folder"), "editable": ("path", "a folder"), "virtual": ("path", "a folder"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Need:
    """What a package needs: a name, on which marker, with which extras of it."""

    name: str
    marker: str = ""
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LockEntry:
    """A package as a lock names it. `version` is empty where it has none.

    `source` is `index`, `vcs`, `url` or `path`, and `place` says the same to people; `address` is where its one file is, an
    address or a path from the lock's folder, where it has one. `own` is the project itself. `needs` are by extra ('' is always); `groups` the groups it is locked for, where the format has them.
    """

    name: str
    version: str
    source: str = INDEX
    place: str = ""
    address: str = ""
    own: bool = False
    line: int = 1
    hashes: tuple[str, ...] = ()
    marker: str = ""
    groups: tuple[str, ...] = ()
    optional: bool = False
    needs: Mapping[str, tuple[Need, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A line of a requirements file that names no package: an `option` that points elsewhere, or text that is none."""

    text: str
    line: int
    option: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockDocument:
    """What a lock says, in its order. `kind` is `uv`, `poetry`, `pdm`, `pylock` or `requirements`."""

    kind: str
    entries: tuple[LockEntry, ...]
    unread: tuple[Unread, ...] = ()


def read_document(file: str, data: bytes) -> LockDocument:
    """The lock in `data`; its form follows from the file's name. `UserError` (`lock-unreadable`) when it is none."""
    base = file.rsplit("/", 1)[-1]
    kind = base.removesuffix(".lock") if base in {"uv.lock", "poetry.lock", "pdm.lock"} else ""
    kind = kind or ("pylock" if base.endswith(".toml") else "")
    if not kind:
        return _requirements(data.decode("utf-8", "replace"))
    try:
        text = data.decode()
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError("lock-unreadable", f"the lock cannot be read: {error}", where=Where(file)) from error
    try:
        return LockDocument(kind=kind, entries=tuple(_tables(kind, document, _lines(text))))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        # A lock is written by a tool: one of another shape is broken as a whole, not in one place.
        message = f"the lock has not the shape of a {kind} lock: {type(error).__name__} {error}"
        raise UserError("lock-unreadable", message, hint="write the lock again", where=Where(file)) from error


# -- tables -----------------------------------------------------------------------------------------------


def _tables(kind: str, document: Mapping[str, Any], lines: Mapping[str, int]) -> Iterator[LockEntry]:
    packages = document.get("packages" if "packages" in document else "package", [])
    if not isinstance(packages, list):
        raise TypeError("its packages are no list")
    files = document.get("metadata", {}).get("files", {})
    for package in packages:
        if not isinstance(package["name"], str):
            raise TypeError("a package has no name")
        source, place, own = _source(package)
        groups = package.get("groups") or ([package["category"]] if "category" in package else [])
        yield LockEntry(
            name=package["name"], version=str(package.get("version") or ""), source=source, place=place, own=own,
            address=_address(package) if source in {"url", "path"} else "",
            line=lines.get(package["name"], 1), hashes=_hashes(kind, package, files), marker=_marker(kind, package),
            groups=tuple(groups), optional=bool(package.get("optional", False)), needs=_needs(kind, package),
        )  # fmt: skip


def _source(package: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Where a package comes from, the same for people, and whether it is the project itself."""
    stated = package.get("source")
    table: Mapping[str, Any] = stated if isinstance(stated, dict) else {}
    own = any(table.get(kind) == "." for kind in ("editable", "virtual", "directory"))
    if isinstance(table.get("type"), str):
        return (*_PLACES.get(table["type"], (INDEX, "")), own)
    found = next((_PLACES[key] for key in (*table, *package) if key in _PLACES), (INDEX, ""))
    return (*found, own)


def _address(package: Mapping[str, Any]) -> str:
    """Where the one file of a package is that comes from no index; empty for a folder."""
    tables = [one for one in (package.get("source"), package.get("archive")) if isinstance(one, dict)]
    if any(one.get("type") == "directory" for one in tables):
        return ""
    known = (one.get(key) for one in (*tables, package) for key in ("url", "path"))
    return str(next((one for one in known if one), ""))


def _hashes(kind: str, package: Mapping[str, Any], files: Mapping[str, Any]) -> tuple[str, ...]:
    if kind in {"poetry", "pdm"}:
        key = package["name"] if kind == "poetry" else f"{package['name']} {package.get('version', '')}"
        listed = package.get("files") or files.get(key, ())
    else:
        listed = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        listed += [package["archive"]] if "archive" in package else []
    if kind == "pylock":
        found = {f"{name}:{value}" for one in listed for name, value in one.get("hashes", {}).items()}
    else:
        found = {str(one.get("hash", "")) for one in listed}
    return tuple(sorted(one for one in found if HASH.fullmatch(one)))


def _marker(kind: str, package: Mapping[str, Any]) -> str:
    if kind == "uv":
        return " or ".join(f"({one})" for one in package.get("resolution-markers", ()))
    value = package.get("markers" if kind == "poetry" else "marker", "")
    return str(value.get("main", "") if isinstance(value, dict) else value)


def _needs(kind: str, package: Mapping[str, Any]) -> dict[str, tuple[Need, ...]]:
    if kind == "uv":
        found = {"": _uv_needs(package.get("dependencies", ()))}
        return found | {extra: _uv_needs(some) for extra, some in package.get("optional-dependencies", {}).items()}
    if kind == "poetry":
        found = {"": _poetry_needs(package.get("dependencies", {}))}
        for extra, some in package.get("extras", {}).items():
            found[canonicalize_name(extra)] = needs_of(re.sub(r"\s*\(.*?\)", "", text) for text in some)
        return found
    return {"": needs_of(package.get("dependencies", ()))} if kind == "pdm" else {}


def _uv_needs(entries: Iterable[Mapping[str, Any]]) -> tuple[Need, ...]:
    return tuple(Need(one["name"], one.get("marker", ""), tuple(one.get("extra", ()))) for one in entries)


def _poetry_needs(table: Mapping[str, Any]) -> tuple[Need, ...]:
    made = []
    for name, value in table.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                made.append(Need(name))
            elif not one.get("optional", False):
                made.append(Need(name, one.get("markers", ""), tuple(one.get("extras", ()))))
    return tuple(made)


def needs_of(texts: Iterable[str]) -> tuple[Need, ...]:
    """Requirements (PEP 508) as needs; what cannot be read is left out."""
    made = []
    for text in texts:
        try:
            one = Requirement(text)
        except InvalidRequirement:
            continue
        extras = tuple(sorted(canonicalize_name(extra) for extra in one.extras))
        made.append(Need(one.name, str(one.marker or ""), extras))
    return tuple(made)


def _lines(text: str) -> dict[str, int]:
    """The line that names each package."""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = re.fullmatch(r'\s*name\s*=\s*"([^"]+)"\s*', line)
        if match:
            found.setdefault(match[1], number)
    return found


# -- requirements -----------------------------------------------------------------------------------------


def _requirements(text: str) -> LockDocument:
    """Pip's form, with or without hashes."""
    entries: list[LockEntry] = []
    unread: list[Unread] = []
    for number, line in _logical(text):
        wanted = re.split(r"\s+--(?:hash|config-settings|global-option)\b", line)[0].strip()
        if wanted.startswith("-"):
            unread.append(Unread(text=wanted, line=number, option=wanted.split(None, 1)[0].partition("=")[0]))
            continue
        try:
            entries.append(_requirement(Requirement(wanted), number, tuple(HASH.findall(line))))
        except InvalidRequirement:
            unread.append(Unread(text=wanted, line=number))
    return LockDocument(kind="requirements", entries=tuple(entries), unread=tuple(unread))


def _requirement(one: Requirement, number: int, hashes: tuple[str, ...]) -> LockEntry:
    marker = str(one.marker or "")
    if one.url is not None:
        if re.match(r"(?:git|hg|svn|bzr)\+", one.url):
            return LockEntry(name=one.name, version="", source="vcs", place="a repository", line=number, marker=marker)
        address, _, fragment = one.url.partition("#")
        said = HASH.fullmatch(fragment.replace("sha256=", "sha256:", 1))
        return LockEntry(
            name=one.name, version="", source="url", place="an address", address=address, line=number, marker=marker,
            hashes=(said[0],) if said and not hashes else hashes,
        )  # fmt: skip
    pins = [each.version for each in one.specifier if each.operator in {"==", "==="} and "*" not in each.version]
    version = pins[0] if len(pins) == 1 else ""
    return LockEntry(name=one.name, version=version, line=number, hashes=hashes, marker=marker)


def _logical(text: str) -> list[tuple[int, str]]:
    """Lines without comments, continued ones joined, with the number of the first."""
    joined: list[tuple[int, str]] = []
    held, start = "", 1
    for number, raw in enumerate(text.splitlines(), start=1):
        start = start if held else number
        line = re.sub(r"(?:^|\s)#.*$", "", raw).rstrip()
        if line.endswith("\\"):
            held += f"{line[:-1]} "
            continue
        if whole := re.sub(r"\s+", " ", held + line).strip():
            joined.append((start, whole))
        held = ""
    return [*joined, (start, re.sub(r"\s+", " ", held).strip())] if held.strip() else joined
