"""Reads lock files: pure, `bytes -> Lock`, for requirements, uv.lock, poetry.lock, pdm.lock and pylock.toml.

A lock says which packages the service needs at run time on one target, each with the hashes that are accepted.
Development groups and optional extras stay out. What is not pinned by a hash, or comes from a folder or a
repository, is named in the diagnostics and not installed: an image is built from verified files only.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from aegis.build.target import Target
from aegis.core.errors import UserError, Where

NAMES: Final = ("pylock.toml", "uv.lock", "poetry.lock", "pdm.lock", "requirements.lock", "requirements.txt")
_HASH: Final = re.compile(r"sha(?:256|384|512):[0-9a-f]{64,128}")
_MAIN_GROUPS: Final = frozenset({"main", "default"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One package: normalised name, version, accepted hashes (`sha256:…`, sorted)."""

    name: str
    version: str
    hashes: tuple[str, ...]


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
    """What a lock says for one target. Packages are sorted by name."""

    format: str
    packages: tuple[Locked, ...]
    diagnostics: tuple[Diagnostic, ...] = ()

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

    def add(self, name: str, version: str, hashes: Iterable[str], line: int = 1) -> None:
        name = canonicalize_name(name)
        kept = tuple(sorted({one for one in hashes if _HASH.fullmatch(one)}))
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
        self.packages[name] = Locked(name=name, version=version, hashes=kept)

    def refuse(self, code: str, message: str, hint: str = "", line: int = 1, *, fatal: bool = True) -> None:
        where = Where(self.file, line)
        self.diagnostics.append(Diagnostic(code=code, message=message, hint=hint, where=where, fatal=fatal))

    def elsewhere(self, name: str, kind: str) -> None:
        self.refuse(
            "lock-source",
            f"{name} comes from {kind}, not from an index",
            "publish it to the package index and lock that version",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """A package of a lock that holds a graph: what it needs (name, marker, extras), by extra ('' is always)."""

    name: str
    version: str
    hashes: tuple[str, ...]
    needs: Mapping[str, tuple[tuple[str, str, tuple[str, ...]], ...]]
    marker: str = ""
    source: str = ""


def read_lock(file: str, data: bytes, *, target: Target, roots: tuple[str, ...] = (), project: str = "") -> Lock:
    """The lock in `data`; its form follows from the file's name.

    `roots` are the project's direct dependencies (PEP 508), `project` its name: formats that record only a graph
    are walked from there. `UserError` when the file cannot be read at all.
    """
    base = file.rsplit("/", 1)[-1]
    found = _Found(file=file, target=target)
    readers: dict[str, tuple[str, Callable[[_Found, dict[str, Any], tuple[str, ...], str], None]]] = {
        "uv.lock": ("uv", _read_uv),
        "poetry.lock": ("poetry", _read_poetry),
        "pdm.lock": ("pdm", _read_pdm),
    }
    if base in readers or re.fullmatch(r"pylock(\.[^.]+)?\.toml", base):
        kind, reader = readers.get(base, ("pylock", _read_pylock))
        try:
            reader(found, _toml(file, data), roots, project)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            # A lock is written by a tool: one of another shape is broken as a whole, not in one place.
            message = f"the lock has not the shape of a {kind} lock: {type(error).__name__} {error}"
            raise UserError("lock-unreadable", message, hint="write the lock again", where=Where(file)) from error
    else:
        kind = "requirements"
        _read_requirements(found, data)
    packages = tuple(found.packages[name] for name in sorted(found.packages))
    return Lock(format=kind, packages=packages, diagnostics=tuple(found.diagnostics))


def _toml(file: str, data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError("lock-unreadable", f"the lock cannot be read: {error}", where=Where(file)) from error


# -- requirements -----------------------------------------------------------------------------------------


def _read_requirements(found: _Found, data: bytes) -> None:
    for number, line in _logical_lines(data.decode("utf-8", "replace")):
        words = line.split(" --hash")
        text, hashes = words[0].strip(), [word.lstrip("= ").strip() for word in words[1:]]
        if text.startswith("-"):
            option = text.split()[0].split("=")[0]
            if option in {"-r", "--requirement", "-e", "--editable", "-c", "--constraint"}:
                found.refuse("lock-option", f"`{option}` points out of the lock", "inline what it points at", number)
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            found.refuse("lock-line", f"not a requirement: {error}", "", number)
            continue
        if requirement.marker is not None and not found.target.applies(str(requirement.marker)):
            continue
        if requirement.url is not None:
            found.elsewhere(requirement.name, "an address")
            continue
        pins = [one.version for one in requirement.specifier if one.operator in {"==", "==="}]
        found.add(requirement.name, pins[0] if len(pins) == 1 and "*" not in pins[0] else "", hashes, number)


def _logical_lines(text: str) -> Iterable[tuple[int, str]]:
    held, start = "", 1
    for number, raw in enumerate(text.splitlines(), start=1):
        start = start if held else number
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        whole = re.sub(r"\s+", " ", held + line).strip()
        held = ""
        if whole:
            yield start, whole
    if held.strip():
        yield start, re.sub(r"\s+", " ", held).strip()


# -- graphs -----------------------------------------------------------------------------------------------


def _walk(
    found: _Found, nodes: Mapping[str, tuple[_Node, ...]], roots: Iterable[tuple[str, str, tuple[str, ...]]]
) -> None:
    """Add every package that is reached from `roots` on this target."""
    waiting = [(canonicalize_name(name), extras) for name, marker, extras in roots if found.target.applies(marker)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extras = waiting.pop()
        here = [node for node in nodes.get(name, ()) if found.target.applies(node.marker)]
        if not here:
            found.refuse("lock-incomplete", f"{name} is needed but not locked", "write the lock again")
        for node in here:
            for extra in ("", *extras):
                if (name, extra) in seen:
                    continue
                seen.add((name, extra))
                for needed, marker, more in node.needs.get(extra, ()):
                    if found.target.applies(marker, extras=extras):
                        waiting.append((canonicalize_name(needed), more))
            if node.source:
                found.elsewhere(node.name, node.source)
            else:
                found.add(node.name, node.version, node.hashes)


def _requirements(texts: Iterable[str]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    made = []
    for text in texts:
        try:
            one = Requirement(text)
        except InvalidRequirement:
            continue
        made.append((one.name, str(one.marker or ""), tuple(sorted(canonicalize_name(extra) for extra in one.extras))))
    return tuple(made)


def _grouped(nodes: Iterable[_Node]) -> dict[str, tuple[_Node, ...]]:
    made: dict[str, tuple[_Node, ...]] = {}
    for node in nodes:
        made[canonicalize_name(node.name)] = (*made.get(canonicalize_name(node.name), ()), node)
    return made


# -- uv ---------------------------------------------------------------------------------------------------

_UV_ELSEWHERE: Final = {"git": "a repository", "path": "a file", "directory": "a folder", "url": "an address"}


def _read_uv(found: _Found, data: dict[str, Any], roots: tuple[str, ...], project: str) -> None:
    nodes, start = [], None
    for package in data.get("package", ()):
        source = package.get("source", {})
        local = source.get("virtual") or source.get("editable")
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        needs = {"": _uv_needs(package.get("dependencies", ()))}
        needs |= {extra: _uv_needs(some) for extra, some in package.get("optional-dependencies", {}).items()}
        elsewhere = next((text for key, text in _UV_ELSEWHERE.items() if key in source), "")
        node = _Node(
            name=package["name"], version=package.get("version", ""), needs=needs,
            hashes=tuple(one.get("hash", "") for one in files),
            source="a folder" if local else elsewhere,
            marker=" or ".join(f"({one})" for one in package.get("resolution-markers", ())),
        )  # fmt: skip
        if local == "." and (not project or canonicalize_name(project) == canonicalize_name(node.name)):
            start = node
        else:
            nodes.append(node)
    _walk(found, _grouped(nodes), start.needs[""] if start is not None else _requirements(roots))


def _uv_needs(entries: Iterable[dict[str, Any]]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    return tuple((one["name"], one.get("marker", ""), tuple(one.get("extra", ()))) for one in entries)


# -- poetry -----------------------------------------------------------------------------------------------


def _read_poetry(found: _Found, data: dict[str, Any], roots: tuple[str, ...], project: str) -> None:  # noqa: ARG001 - one signature
    old_files = data.get("metadata", {}).get("files", {})
    nodes, grouped = [], False
    for package in data.get("package", ()):
        groups = package.get("groups") or ([package["category"]] if "category" in package else [])
        grouped = grouped or bool(groups)
        files = package.get("files") or old_files.get(package["name"], ())
        kind = package.get("source", {}).get("type", "")
        needs: dict[str, tuple[tuple[str, str, tuple[str, ...]], ...]] = {
            "": _poetry_needs(package.get("dependencies", {}))
        }
        for extra, some in package.get("extras", {}).items():
            needs[canonicalize_name(extra)] = _requirements(re.sub(r"\s*\(.*?\)", "", text) for text in some)
        node = _Node(
            name=package["name"], version=package.get("version", ""), needs=needs,
            hashes=tuple(one.get("hash", "") for one in files),
            source={"git": "a repository", "directory": "a folder", "file": "a file", "url": "an address"}.get(kind, ""),
        )  # fmt: skip
        nodes.append(node)
        if groups and _MAIN_GROUPS & set(groups) and not package.get("optional", False):
            marker = _poetry_marker(package.get("markers", ""))
            if not found.target.applies(marker):
                continue
            if node.source:
                found.elsewhere(node.name, node.source)
            else:
                found.add(node.name, node.version, node.hashes)
    if not grouped:
        _walk(found, _grouped(nodes), _requirements(roots))


def _poetry_marker(value: Any) -> str:
    if isinstance(value, dict):  # by group
        return str(value.get("main", ""))
    return str(value)


def _poetry_needs(table: Mapping[str, Any]) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    made = []
    for name, value in table.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                made.append((name, "", ()))
            elif not one.get("optional", False):
                made.append((name, one.get("markers", ""), tuple(one.get("extras", ()))))
    return tuple(made)


# -- pdm --------------------------------------------------------------------------------------------------


def _read_pdm(found: _Found, data: dict[str, Any], roots: tuple[str, ...], project: str) -> None:  # noqa: ARG001 - one signature
    old_files = data.get("metadata", {}).get("files", {})
    nodes, grouped = [], False
    for package in data.get("package", ()):
        groups = package.get("groups", [])
        grouped = grouped or bool(groups)
        files = package.get("files") or old_files.get(f"{package['name']} {package.get('version', '')}", ())
        source = next((text for key, text in _UV_ELSEWHERE.items() if key in package), "")
        node = _Node(
            name=package["name"], version=package.get("version", ""), hashes=tuple(one.get("hash", "") for one in files),
            needs={"": _requirements(package.get("dependencies", ()))}, marker=package.get("marker", ""), source=source,
        )  # fmt: skip
        nodes.append(node)
        if "default" in groups and found.target.applies(node.marker):
            if node.source:
                found.elsewhere(node.name, node.source)
            else:
                found.add(node.name, node.version, node.hashes)
    if not grouped:
        _walk(found, _grouped(nodes), _requirements(roots))


# -- pylock -----------------------------------------------------------------------------------------------

_PYLOCK_ELSEWHERE: Final = {"vcs": "a repository", "directory": "a folder", "archive": "an address"}


def _read_pylock(found: _Found, data: dict[str, Any], roots: tuple[str, ...], project: str) -> None:  # noqa: ARG001 - one signature
    for package in data.get("packages", ()):
        marker = package.get("marker", "")
        if "extras" in marker or "dependency_groups" in marker:
            # PEP 751: nothing optional was asked for, so what only an extra or a group needs stays out.
            marker = re.sub(r"""(['"])[^'"]*\1 not in (?:extras|dependency_groups)""", "python_version >= '3'", marker)
            marker = re.sub(r"""(['"])[^'"]*\1 in (?:extras|dependency_groups)""", "python_version < '3'", marker)
        if not found.target.applies(marker):
            continue
        elsewhere = next((text for key, text in _PYLOCK_ELSEWHERE.items() if key in package), "")
        if elsewhere:
            found.elsewhere(package["name"], elsewhere)
            continue
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        hashes = [f"{kind}:{value}" for one in files for kind, value in one.get("hashes", {}).items()]
        found.add(package["name"], package.get("version", ""), hashes)
