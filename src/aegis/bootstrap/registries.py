"""Composes the registries: the rules over their stores, and the one way out that mirrors have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aegis.adapters.egress_http import EgressRules, HttpEgress
from aegis.adapters.registry_sqlite import SqliteImages, SqliteIndexes
from aegis.adapters.turns_memory import MemoryPins, MemoryTurns
from aegis.adapters.uploads_directory import DirectoryUploads
from aegis.core.ports import Blobs, Clock, Egress
from aegis.registry.image_mirror import ImageMirror
from aegis.registry.oci import OciRegistry
from aegis.registry.options import RegistryOptions
from aegis.registry.package_mirror import PackageMirror
from aegis.registry.pypi import PackageIndexes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where the registries keep things."""

    blobs: Blobs
    images: SqliteImages
    indexes: SqliteIndexes
    uploads: DirectoryUploads


def registries(
    stores: Stores, clock: Clock, options: Callable[[], RegistryOptions]
) -> tuple[OciRegistry, PackageIndexes]:
    """Images and packages. `options` is asked each time, so that an adopted declaration counts at once."""
    egress, pins, turns = _Egress(options), MemoryPins(), MemoryTurns()
    images = OciRegistry(
        blobs=stores.blobs,
        images=stores.images,
        uploads=stores.uploads,
        pins=pins,
        mirror=ImageMirror(
            egress=egress,
            images=stores.images,
            blobs=stores.blobs,
            clock=clock,
            rules=lambda: options().mirrors,
            turns=turns,
        ),
    )
    mirror = PackageMirror(egress=egress, store=stores.indexes, blobs=stores.blobs, clock=clock, turns=turns)
    packages = PackageIndexes(
        blobs=stores.blobs, store=stores.indexes, clock=clock, options=options, mirror=mirror, pins=pins
    )
    return images, packages


class _Egress:
    """The way out to the hosts that mirrors declare, made anew when they change."""

    def __init__(self, options: Callable[[], RegistryOptions]) -> None:
        self._options = options
        self._made: tuple[EgressRules, HttpEgress] | None = None

    def __call__(self) -> Egress:
        options = self._options()
        rules = EgressRules(allowed=options.hosts, private=frozenset(options.private))
        made = self._made
        if made is None or made[0] != rules:
            made = self._made = (rules, HttpEgress(rules))
        return made[1]
