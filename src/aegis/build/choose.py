"""Chooses the file of each locked package that is installed on a target: pure, by platform tags (PEP 425, 600).

Only files whose digest the lock accepts are considered, so that whoever serves them decides nothing. Of several
wheels that fit, the most specific one is taken, then the highest build number: the same on every machine.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from aegis.build.locks import Locked
from aegis.build.target import Target
from aegis.core.errors import ExternalError

_GLIBC = 28  # manylinux_2_28: Debian 11, RHEL 8 and later


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file that an index or a lock offers. `digest` is `sha256:…`, `size` in bytes (0: not said).

    `direct`: the lock itself says where it is, and no index had a part in it.
    """

    project: str
    filename: str
    url: str
    digest: str
    size: int = 0
    direct: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The file of a locked package. `source` says that it is an sdist, to be built for the target."""

    name: str
    version: str
    filename: str
    url: str
    digest: str
    size: int = 0
    source: bool = False
    direct: bool = False


@functools.cache
def ranks(target: Target) -> Mapping[Tag, int]:
    """The tags that the target takes, best first."""
    major, minor = (int(part) for part in target.python.split("."))
    platforms = [f"manylinux_2_{version}_{target.machine}" for version in range(_GLIBC, 4, -1)]
    platforms.insert(platforms.index(f"manylinux_2_17_{target.machine}") + 1, f"manylinux2014_{target.machine}")
    if target.architecture == "amd64":
        platforms += [f"manylinux2010_{target.machine}", f"manylinux1_{target.machine}"]
    platforms.append(f"linux_{target.machine}")
    found = [*cpython_tags((major, minor), platforms=platforms)]
    found += compatible_tags((major, minor), interpreter=f"cp{major}{minor}", platforms=platforms)
    return {tag: rank for rank, tag in reversed(list(enumerate(found)))}


def choose(
    packages: Iterable[Locked], candidates: Iterable[Candidate], target: Target, *, from_source: tuple[str, ...]
) -> tuple[Chosen, ...]:
    """One file per package, in the lock's order. `ExternalError` (`wheels`) naming the first that cannot be had."""
    offered: dict[str, list[Candidate]] = {}
    for one in candidates:
        offered.setdefault(one.project, []).append(one)
    return tuple(_one(package, offered.get(package.name, []), target, from_source) for package in packages)


def _one(package: Locked, offered: list[Candidate], target: Target, from_source: tuple[str, ...]) -> Chosen:
    accepted = [one for one in offered if one.digest in package.hashes]
    name = f"{package.name} {package.version}"
    if offered and not accepted:
        raise ExternalError(
            "wheels", f"none of the {len(offered)} files offered for {name} has a digest that the lock accepts",
            hint="write the lock again; if you did not change it, somebody else's files are served under this name",
        )  # fmt: skip
    if package.name in from_source:
        built = next((one for one in accepted if one.filename.endswith((".tar.gz", ".zip"))), None)
        if built is not None:
            return _chosen(package, built, source=True)
    fitting = sorted(
        (rank, one.filename, one) for one in accepted if (rank := _rank(one.filename, target)) is not None
    )  # fmt: skip
    if fitting:
        return _chosen(package, fitting[0][2])
    what = "only other platforms' wheels or an sdist" if accepted else "no file"
    raise ExternalError(
        "wheels", f"for {name} there is {what}: none fits Python {target.python} on linux/{target.architecture}",
        hint="write the lock again; a package without a wheel needs [tool.aegis] build-from-source",
    )  # fmt: skip


def _chosen(package: Locked, one: Candidate, *, source: bool = False) -> Chosen:
    return Chosen(
        name=package.name, version=package.version, filename=one.filename, url=one.url, digest=one.digest,
        size=one.size, source=source, direct=one.direct,
    )  # fmt: skip


def _rank(filename: str, target: Target) -> tuple[int, int] | None:
    if not filename.endswith(".whl"):
        return None
    try:
        _, _, build, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    known = ranks(target)
    best = min((known[tag] for tag in tags if tag in known), default=None)
    return None if best is None else (best, -(build[0] if build else -1))
