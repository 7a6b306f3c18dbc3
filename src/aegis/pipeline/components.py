"""Which component an address means, and which version of it. Pure.

`host/group/project/name@version`: the version is a full semantic version, a part of one (`1`, `1.2`), `~latest`, a branch, a
tag or a commit. Parts and `~latest` choose among the project's releases, the highest first and pre-releases never.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from aegis.pipeline.patterns import Rare

LATEST: Final = "~latest"
_PART: Final = Rare(r"(\d{1,9})(?:\.(\d{1,9}))?")
_RELEASE: Final = Rare(r"v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:\+[0-9A-Za-z.-]+)?")


class Component(NamedTuple):
    """An address taken apart."""

    host: str
    project: str
    name: str
    version: str


def read(address: str) -> Component | None:
    """The parts of an address; None where it is not one."""
    path, at, version = address.partition("@")
    parts = path.split("/")
    if not at or not version or len(parts) < 3 or not all(parts) or ".." in parts:
        return None
    return Component(host=parts[0], project="/".join(parts[1:-1]), name=parts[-1], version=version)


def needs_releases(version: str) -> bool:
    """Whether a version chooses among releases instead of naming a tag, branch or commit."""
    return version == LATEST or _PART.fullmatch(version) is not None


def chosen(version: str, releases: tuple[str, ...]) -> str | None:
    """The release's tag that a partial version or `~latest` stands for; None where no release fits."""
    wanted = _PART.fullmatch(version)
    best: tuple[tuple[int, int, int], str] | None = None
    for tag in releases:
        found = _RELEASE.fullmatch(tag)
        if found is None:
            continue
        number = (int(found[1]), int(found[2]), int(found[3]))
        if wanted is not None and number[0] != int(wanted[1]):
            continue
        if wanted is not None and wanted[2] is not None and number[1] != int(wanted[2]):
            continue
        if best is None or number > best[0]:
            best = (number, tag)
    return best[1] if best is not None else None


def paths(name: str) -> tuple[str, str]:
    """Where a component's file may lie in its project."""
    return f"templates/{name}.yml", f"templates/{name}/template.yml"
