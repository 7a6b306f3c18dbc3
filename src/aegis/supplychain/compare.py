"""Compares two images, or two releases, by what is known of them: packages, licences, layers, sizes, findings. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aegis.supplychain.sbom import Component


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One side: layers by digest with their sizes, packages, settings, and findings by id. Sizes are in bytes."""

    name: str
    digest: str = ""
    size: int = 0
    layers: Mapping[str, int] = field(default_factory=dict)
    packages: tuple[Component, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    findings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Something that is on both sides with different values."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What differs between `before` and `after`. Packages are `name version`.

    `shared` and `fetched` are bytes of layers: what a node that has the one needs not, and needs, to fetch for the other.
    """

    before: str
    after: str
    same: bool
    size_before: int
    size_after: int
    shared: int
    fetched: int
    layers_shared: int
    layers_new: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Changed, ...]
    licences_new: tuple[str, ...]
    licences_gone: tuple[str, ...]
    settings: tuple[Changed, ...]
    findings_new: tuple[str, ...]
    findings_fixed: tuple[str, ...]


def compare(before: Known, after: Known) -> Difference:
    """What changes from one to the other."""
    old, new = _versions(before.packages), _versions(after.packages)
    both = sorted(set(old) & set(new))
    old_licences, new_licences = _licences(before.packages), _licences(after.packages)
    shared = set(before.layers) & set(after.layers)
    return Difference(
        before=before.name, after=after.name, same=bool(before.digest) and before.digest == after.digest,
        size_before=before.size, size_after=after.size,
        shared=sum(after.layers[one] for one in shared),
        fetched=sum(size for digest, size in after.layers.items() if digest not in shared),
        layers_shared=len(shared), layers_new=len(set(after.layers) - shared),
        added=tuple(f"{name} {new[name]}" for name in sorted(set(new) - set(old))),
        removed=tuple(f"{name} {old[name]}" for name in sorted(set(old) - set(new))),
        changed=tuple(
            Changed(name=one, before=old[one], after=new[one]) for one in both if old[one] != new[one]
        ),
        licences_new=_only(new_licences, old_licences), licences_gone=_only(old_licences, new_licences),
        settings=_settings(before.settings, after.settings),
        findings_new=tuple(f"{one} {after.findings[one]}".strip() for one in _only(after.findings, before.findings)),
        findings_fixed=tuple(f"{one} {before.findings[one]}".strip() for one in _only(before.findings, after.findings)),
    )  # fmt: skip


def _versions(packages: Iterable[Component]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for one in packages:
        found.setdefault(one.reference.partition("@")[0].removeprefix("pkg:"), set()).add(one.version)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def _licences(packages: Iterable[Component]) -> set[str]:
    return {licence for one in packages for licence in one.licences}


def _only(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(one) - set(other)))


def _settings(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Changed, ...]:
    names = sorted(set(before) | set(after))
    return tuple(
        Changed(name=one, before=before.get(one, ""), after=after.get(one, ""))
        for one in names
        if before.get(one) != after.get(one)
    )
