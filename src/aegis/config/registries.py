"""The part of `aegis.yaml` about registries: what is mirrored, and which images go by themselves."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from aegis.config.strict import Seconds, Strict, known
from aegis.core.ids import is_name

_CREDENTIAL = re.compile(r"\$AEGIS_REGISTRY_[A-Z0-9_]+|secret://registries/[A-Za-z0-9][A-Za-z0-9_/-]*#[A-Za-z0-9_]+")
_HOSTED = re.compile(r"[\w.-]+(/[\w.-]+)+")


def _credential(value: str) -> str:
    """A reference to a credential that is meant for registries: nobody gets at other secrets by declaring one."""
    if not _CREDENTIAL.fullmatch(value):
        raise ValueError("name it as $AEGIS_REGISTRY_… (of the server's environment) or secret://registries/PATH#FIELD")
    return value


Credential = Annotated[str, AfterValidator(_credential)]


class SourceModel(Strict):
    """Something outside that is mirrored. `hosts` are those it sends to for its content; `private`: it is in this network."""

    hosts: tuple[str, ...] = ()
    private: bool = False

    def places(self, url: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The hosts that may be reached for it, and those of them (with their port) that may be private."""
        parts = urlsplit(url)
        own = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return (() if self.private else (own,)) + self.hosts, (f"{own}:{port}",) if self.private else ()

    def check(self, url: str) -> None:
        """`ValueError` for what is no address, or is open to everybody on the way."""
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.query:
            raise ValueError(f"{url!r} is not an address such as https://registry.example.org")
        if parts.scheme == "http" and not self.private:
            raise ValueError(f"{url} is not protected on its way; use https, or `private: true` within your network")

    def check_login(self, user: str, password: str | None) -> None:
        """`ValueError` for half a login."""
        if bool(user) != bool(password):
            raise ValueError("a login has a `user:` and a `password:`")


class PackageIndexModel(SourceModel):
    """A package index: what it falls through to, which names are its own, what it mirrors."""

    then: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    mirror: str | None = None
    fresh: Seconds = 600.0
    user: str = ""
    password: Credential | None = None

    @model_validator(mode="after")
    def _source(self) -> PackageIndexModel:
        self.check_login(self.user, self.password)
        if self.password and self.mirror is None:
            raise ValueError("a login is for a `mirror:`; who reads this index is not declared here")
        if self.mirror is not None:
            self.check(self.mirror)
            if self.then:
                raise ValueError("a mirror falls through to nothing; put `then:` into the index that is asked first")
        return self


class ImageMirrorModel(SourceModel):
    """Another image registry, served under `mirror/<name>/`."""

    url: str
    fresh: Seconds = 300.0
    user: str = ""
    password: Credential | None = None

    @model_validator(mode="after")
    def _source(self) -> ImageMirrorModel:
        self.check(self.url)
        self.check_login(self.user, self.password)
        return self


class CleanUpModel(Strict):
    """Which images go by themselves."""

    repositories: str
    tags: str = "*"
    keep: int = Field(0, ge=0)
    older_than: Seconds = 0.0
    untagged: bool = True

    @model_validator(mode="after")
    def _bounded(self) -> CleanUpModel:
        if self.keep == 0 and self.older_than == 0:
            raise ValueError("a clean-up rule keeps something: say `keep:`, `older_than:`, or both")
        return self


class HostedModel(SourceModel):
    """The registries that GitLab hosts for one project."""

    url: str
    project: str
    token: Credential
    packages: bool = False

    @model_validator(mode="after")
    def _source(self) -> HostedModel:
        self.check(self.url)
        if not _HOSTED.fullmatch(self.project):
            raise ValueError(f"{self.project!r} is not the path of a project such as shop/orders")
        return self


class RegistriesModel(Strict):
    """Images and packages."""

    packages: dict[str, PackageIndexModel] = {}
    mirrors: dict[str, ImageMirrorModel] = {}
    cleanup: tuple[CleanUpModel, ...] = ()
    gitlab: tuple[HostedModel, ...] = ()
    every: Seconds = Field(86400.0, gt=0)
    scrub: Seconds = Field(30 * 86400.0, gt=0)

    @model_validator(mode="after")
    def _order(self) -> RegistriesModel:
        for name, index in self.packages.items():
            known(index.then, set(self.packages), f"registries.packages.{name}.then")
        wrong = next((name for name in (*self.packages, *self.mirrors) if not is_name(name)), None)
        if wrong is not None:
            raise ValueError(f"registries: {wrong!r}: use lower-case letters, digits and '-'")
        return self
