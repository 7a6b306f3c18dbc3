"""Which Debian packages a base consists of: the wanted ones with everything they depend on. Pure, and the same every time.

Of several versions the newest is taken; of several alternatives the first that is there. Packages that only maintainer scripts
need can be left out: no script is ever run, so what they would have installed is not needed either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aegis.build.debian.versions import Relation, compare, relations
from aegis.core.errors import UserError

WITHOUT: Final = (
    "adduser", "awk", "debconf", "dpkg", "init-system-helpers", "install-info", "media-types", "openssl", "perl-base",
)  # fmt: skip
"""What scripts alone need of the packages that bases are made of; `--with` brings one back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A package of an archive. `path` is where it lies there, `size` in bytes, `sha256` bare."""

    name: str
    version: str
    architecture: str
    path: str
    sha256: str
    size: int
    depends: str = ""
    provides: str = ""


def offered(fields: Mapping[str, str]) -> Offered | None:
    """The package of a paragraph of `Packages`; None where it lacks what is needed."""
    name, version, path, digest = (fields.get(key, "") for key in ("Package", "Version", "Filename", "SHA256"))
    if not (name and version and path and len(digest) == 64 and fields.get("Size", "").isdigit()):
        return None
    needed = ", ".join(one for one in (fields.get("Pre-Depends", ""), fields.get("Depends", "")) if one)
    return Offered(
        name=name, version=version, architecture=fields.get("Architecture", "all"), path=path, sha256=digest,
        size=int(fields["Size"]), depends=needed, provides=fields.get("Provides", ""),
    )  # fmt: skip


def solve(wanted: Iterable[str], archive: Iterable[Offered], *, without: frozenset[str]) -> tuple[Offered, ...]:
    """The packages, by name; `UserError` for one that is not there or cannot be satisfied."""
    best: dict[str, Offered] = {}
    for one in archive:
        known = best.get(one.name)
        if known is None or compare(one.version, known.version) > 0:
            best[one.name] = one
    providers: dict[str, list[tuple[str, str]]] = {}
    for one in best.values():
        for group in relations(one.provides):
            providers.setdefault(group[0].name, []).append((one.name, group[0].version))
    chosen: dict[str, Offered] = {}
    waiting: list[tuple[tuple[Relation, ...], str]] = [((Relation(name),), "the base") for name in wanted]
    while waiting:
        group, by = waiting.pop(0)
        name = _satisfied(group, chosen, best, providers, without)
        if name == "":
            continue
        if name is None:
            text = " | ".join(f"{one.name} {one.relation} {one.version}".strip() for one in group)
            raise UserError(
                "base-unsolved", f"{by} needs {text}, which the archive does not offer",
                hint="name another suite or component, or leave it out: --without NAME",
            )  # fmt: skip
        chosen[name] = best[name]
        waiting += [(needed, name) for needed in relations(best[name].depends)]
    return tuple(chosen[name] for name in sorted(chosen))


def _satisfied(
    group: tuple[Relation, ...], chosen: Mapping[str, Offered], best: Mapping[str, Offered],
    providers: Mapping[str, list[tuple[str, str]]], without: frozenset[str],
) -> str | None:  # fmt: skip
    """The package to take for a dependency; empty when nothing is to be taken, None when nothing satisfies it."""
    for one in group:
        if one.name in without or (one.name in chosen and one.allows(chosen[one.name].version)):
            return ""
        if any(name in chosen and _provides(one, version) for name, version in providers.get(one.name, ())):
            return ""
    for one in group:
        if one.name in best and one.allows(best[one.name].version) and one.name not in chosen:
            return one.name
        for name, version in sorted(providers.get(one.name, ())):
            if _provides(one, version) and name not in without:
                return name
    return None


def _provides(wanted: Relation, version: str) -> bool:
    return not wanted.relation or bool(version and wanted.allows(version))
