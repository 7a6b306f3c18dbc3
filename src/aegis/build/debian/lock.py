"""The lock of a base: exactly which Debian packages, by version and digest. Pure, `bytes -> BaseLock` and back.

It names no mirror: the same lock builds the same base from whichever one still has the files.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import Any, Final

from aegis.core.errors import UserError, Where

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PATH: Final = re.compile(r"(?:\./)?[A-Za-z0-9][A-Za-z0-9_.+~:/%-]*\.deb")
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPackage:
    """One package. `path` is relative to a mirror, `sha256` bare, `size` in bytes."""

    name: str
    version: str
    architecture: str
    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseLock:
    """What a base consists of: the packages asked for, those left out, and all that were taken, by name."""

    architecture: str
    wanted: tuple[str, ...]
    without: tuple[str, ...]
    packages: tuple[LockedPackage, ...]


def write_lock(lock: BaseLock) -> bytes:
    """The lock as TOML."""
    lines = [
        "# Written by `aegis image base lock`.", f"version = {_VERSION}",
        f"architecture = {json.dumps(lock.architecture)}", f"wanted = {json.dumps(list(lock.wanted))}",
        f"without = {json.dumps(list(lock.without))}",
    ]  # fmt: skip
    for one in lock.packages:
        lines += [
            "", "[[package]]", f"name = {json.dumps(one.name)}", f"version = {json.dumps(one.version)}",
            f"architecture = {json.dumps(one.architecture)}", f"path = {json.dumps(one.path)}",
            f"sha256 = {json.dumps(one.sha256)}", f"size = {one.size}",
        ]  # fmt: skip
    return ("\n".join(lines) + "\n").encode()


def read_lock(file: str, data: bytes) -> BaseLock:
    """The lock in `data`; `UserError` where it is none."""
    try:
        document = tomllib.loads(data.decode())
        if document["version"] != _VERSION:
            raise UserError("base-lock", f"the lock has version {document['version']}", where=Where(file))
        return BaseLock(
            architecture=str(document["architecture"]), wanted=tuple(document["wanted"]),
            without=tuple(document["without"]), packages=tuple(_package(file, one) for one in document["package"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        hint = "write it again: aegis image base lock"
        message = f"this is no lock of a base: {type(error).__name__} {error}"
        raise UserError("base-lock", message, hint=hint, where=Where(file)) from error


def _package(file: str, table: dict[str, Any]) -> LockedPackage:
    found = LockedPackage(
        name=str(table["name"]), version=str(table["version"]), architecture=str(table["architecture"]),
        path=str(table["path"]), sha256=str(table["sha256"]), size=int(table["size"]),
    )  # fmt: skip
    inside = _PATH.fullmatch(found.path) and ".." not in found.path.split("/")
    if _SHA256.fullmatch(found.sha256) is None or not inside or found.size <= 0:
        raise UserError("base-lock", f"the entry of {found.name} is not whole", where=Where(file))
    return found
