"""Composes the registries: the rules over their stores, and the one way out that mirrors have."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aegis.adapters.egress_http import EgressRules, HttpEgress
from aegis.adapters.registry_gitlab import GitLabRegistry
from aegis.adapters.registry_sqlite import SqliteImages, SqliteIndexes
from aegis.adapters.turns_memory import MemoryPins, MemoryTurns
from aegis.adapters.uploads_directory import DirectoryUploads
from aegis.core.errors import NotFound, UserError
from aegis.core.ports import Blobs, Clock, Egress
from aegis.registry.hosted import HostedRegistry
from aegis.registry.image_mirror import ImageMirror
from aegis.registry.oci import OciRegistry
from aegis.registry.options import HostedRule, RegistryOptions
from aegis.registry.package_mirror import PackageMirror
from aegis.registry.pypi import PackageIndexes
from aegis.secrets.ports import SecretStore
from aegis.secrets.references import is_reference, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where the registries keep things."""

    blobs: Blobs
    images: SqliteImages
    indexes: SqliteIndexes
    uploads: DirectoryUploads


def registries(
    stores: Stores, clock: Clock, options: Callable[[], RegistryOptions], value: Callable[[str], str]
) -> tuple[OciRegistry, PackageIndexes]:
    """Images and packages. `options` is asked each time, so that an adopted declaration counts at once.

    `value` has the values of declared credentials.
    """
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
            credential=value,
        ),
    )
    mirror = PackageMirror(
        egress=egress, store=stores.indexes, blobs=stores.blobs, clock=clock, turns=turns, credential=value
    )
    packages = PackageIndexes(
        blobs=stores.blobs, store=stores.indexes, clock=clock, options=options, mirror=mirror, pins=pins
    )
    return images, packages


def credential(reference: str, environ: Mapping[str, str], store: SecretStore) -> str:
    """The value of a declared credential: of the server's environment, or of its secrets; `UserError` where there is none."""
    value = ""
    if is_reference(reference):
        with contextlib.suppress(NotFound):
            value = store.get(parse(reference))
    else:
        value = environ.get(reference.removeprefix("$"), "")
    if not value:
        raise UserError(
            "registry-credential", f"there is no value for {reference}", hint="set it where the server starts"
        )
    return value


def hosted(
    options: Callable[[], RegistryOptions], value: Callable[[str], str]
) -> Callable[[HostedRule], HostedRegistry]:
    """The registries that GitLab hosts, reached as the declaration in force permits."""
    egress = _Egress(options)
    return lambda rule: GitLabRegistry(egress(), rule.url, rule.project, value(rule.token))


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
