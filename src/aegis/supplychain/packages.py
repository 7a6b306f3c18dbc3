"""A package as a lock names it, and how package names and versions are compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from packaging.version import InvalidVersion, Version

_RUNS: Final = re.compile(r"[-_.]+")

INDEX: Final = "index"
"""The source of a package that an index serves; others (`vcs`, `url`, `path`) cannot be looked up by version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One locked package. `source` is `index`, `vcs`, `url` or `path`; `file` and `line` say where it is locked."""

    name: str
    version: str | None
    source: str = INDEX
    file: str = ""
    line: int = 1
    hashes: tuple[str, ...] = ()


def canonical(name: str) -> str:
    """The name as indexes compare it (PEP 503)."""
    return _RUNS.sub("-", name).lower()


def parsed(version: str | None) -> Version | None:
    """The version (PEP 440), or None where it is none."""
    try:
        return Version(version) if version else None
    except InvalidVersion:
        return None
