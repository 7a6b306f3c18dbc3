"""Every package that a lock names, whatever platform, group or extra it is for: pure, `bytes -> packages`.

What an image needs on one target is another question, answered where images are built; here nothing may be left out, and
what has no version or does not come from an index is listed as such, so that the scan says it could not look it up.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement

from aegis.core.errors import UserError, Where
from aegis.supplychain.packages import INDEX, Package

NAMES: Final = ("pylock.toml", "uv.lock", "poetry.lock", "pdm.lock", "requirements.lock", "requirements.txt")
"""Lock files in the order in which a project's own is looked for."""

_HASH: Final = re.compile(r"sha(?:256|384|512):[0-9a-f]{64,128}")
_SOURCES: Final = {"git": "vcs", "vcs": "vcs", "hg": "vcs", "url": "url", "archive": "url", "path": "path"}
_SOURCES_LOCAL: Final = {"directory": "path", "editable": "path", "virtual": "path", "file": "path"}


def packages_of(file: str, data: bytes) -> tuple[Package, ...]:
    """The packages of a lock in its order; the form follows from the file's name. `UserError` when it is unreadable."""
    base = file.rsplit("/", 1)[-1]
    if base.endswith(".toml") or base in {"uv.lock", "poetry.lock", "pdm.lock"}:
        return _toml(file, data)
    return _requirements(file, data)


def _toml(file: str, data: bytes) -> tuple[Package, ...]:
    """uv.lock, poetry.lock, pdm.lock (`[[package]]`) and pylock.toml (`[[packages]]`, PEP 751)."""
    try:
        text = data.decode()
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError("lock-unreadable", f"the lock cannot be read: {error}", where=Where(file)) from error
    entries = document.get("packages" if "packages" in document else "package", [])
    if not isinstance(entries, list):
        raise UserError("lock-unreadable", "the lock has no list of packages", where=Where(file))
    lines = _lines(text)
    found: list[Package] = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise UserError("lock-unreadable", "the lock has a package without a name", where=Where(file))
        source = _source(entry)
        if source is not None:
            found.append(
                Package(
                    name=entry["name"],
                    version=str(entry["version"]) if entry.get("version") else None,
                    source=source,
                    file=file,
                    line=lines.get(entry["name"], 1),
                    hashes=tuple(sorted(set(_HASH.findall(repr(entry))))),
                )
            )
    return tuple(found)


def _source(entry: dict[str, Any]) -> str | None:
    """Where a package comes from; None for the project itself."""
    stated = entry.get("source")
    place: dict[str, Any] = stated if isinstance(stated, dict) else {}
    if any(place.get(kind) == "." for kind in ("editable", "virtual", "directory")):
        return None
    kinds = _SOURCES | _SOURCES_LOCAL
    if isinstance(place.get("type"), str):
        return kinds.get(place["type"], INDEX)
    return next((kinds[key] for key in (*place, *entry) if key in kinds), INDEX)


def _lines(text: str) -> dict[str, int]:
    """The line that names each package."""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = re.fullmatch(r'\s*name\s*=\s*"([^"]+)"\s*', line)
        if match:
            found.setdefault(match[1], number)
    return found


def _requirements(file: str, data: bytes) -> tuple[Package, ...]:
    """Pip's form (requirements.txt with or without hashes); what points out of the file cannot be looked up."""
    found: list[Package] = []
    for number, line in _logical(data.decode("utf-8", "replace")):
        text = re.split(r"\s+--(?:hash|config-settings|global-option)\b", line)[0].strip()
        option = text.split(None, 1)[0].partition("=")[0]
        if option in {"-e", "--editable", "-r", "--requirement"}:
            name = text.partition(" ")[2].strip() or text.partition("=")[2] or text
            found.append(Package(name=name, version=None, source="path", file=file, line=number))
        elif not text.startswith("-"):
            found.append(_requirement(file, number, text, tuple(_HASH.findall(line))))
    return tuple(found)


def _requirement(file: str, number: int, text: str, hashes: tuple[str, ...]) -> Package:
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        vcs = re.match(r"(?:git|hg|svn|bzr)\+", text) is not None
        kind = "vcs" if vcs else "url" if "://" in text else "path"
        return Package(name=text.rsplit("#egg=", 1)[-1], version=None, source=kind, file=file, line=number)
    if wanted.url is not None:
        kind = "vcs" if re.match(r"(?:git|hg|svn|bzr)\+", wanted.url) else "url"
        return Package(name=wanted.name, version=None, source=kind, file=file, line=number)
    pins = [one.version for one in wanted.specifier if one.operator in {"==", "==="} and "*" not in one.version]
    version = pins[0] if len(pins) == 1 else None
    return Package(name=wanted.name, version=version, file=file, line=number, hashes=hashes)


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
        if whole := (held + line).strip():
            joined.append((start, whole))
        held = ""
    return [*joined, (start, held.strip())] if held.strip() else joined
