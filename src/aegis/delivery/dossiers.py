"""What is shown of a release beyond its page: the dossier, and what its signatures are verified with. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from aegis.core.types import JobRun
from aegis.supplychain.compare import Difference
from aegis.supplychain.options import KeylessRule

if TYPE_CHECKING:
    from aegis.delivery.views.shown import Actor


ReleaseDifference = Difference
"""How two releases differ, as doors show it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageLine:
    """A package in an image."""

    name: str
    version: str
    purl: str
    licences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDossier:
    """What an image is: sizes in bytes, layers by digest, `trusted` is `yes` or why not, `attested` are predicates."""

    digest: str
    repository: str
    tags: tuple[str, ...]
    size: int
    layers: Mapping[str, int]
    packages: tuple[PackageLine, ...]
    trusted: str
    attested: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelDossier:
    """A released wheel: its digest, that of its bill of materials (CycloneDX), and what it needs."""

    filename: str
    digest: str
    sbom: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDossier:
    """A released wheel or sdist in one of the indexes that serve it. `yanked` is why installers do not choose it; `None`: they do."""

    filename: str
    digest: str
    size: int
    index: str
    yanked: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """Everything about a release that `ReleaseView` does not hold: commit, jobs, figures of its reports, the image."""

    release: str
    commit: str
    author: str
    authored_at: datetime
    message: str
    jobs: tuple[JobRun, ...]
    figures: Mapping[str, Mapping[str, str]]
    findings: tuple[str, ...]
    image: ImageDossier | None
    wheels: tuple[WheelDossier, ...] = ()
    files: tuple[FileDossier, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyView:
    """The public key (PEM) of what this server signs, its fingerprint, and the repositories that it signs images in.

    `keyless`: the Sigstore that signs images instead.
    """

    public_key: str
    fingerprint: str
    repositories: tuple[str, ...] = ()
    keyless: KeylessRule | None = None


class DossierQueries(Protocol):
    """The part of `Queries` that this page's values are read through."""

    def dossier(self, actor: Actor, release: str) -> Dossier:
        """Everything else about a release, named by its id or by the digest of one of its artifacts."""
        ...

    def comparison(self, actor: Actor, before: str, after: str) -> Difference:
        """How two releases differ, each named as for `dossier`."""
        ...

    def signing_key(self, actor: Actor) -> SigningKeyView:
        """What images of this server are verified with."""
        ...
