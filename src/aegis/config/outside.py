"""What `aegis.yaml` says of the outside: registries, what pipelines include, where traces go. Strict models, as in `declaration`."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from aegis.config.shapes import Seconds, SourceModel, Strict, known
from aegis.core.ids import is_name

_CREDENTIAL = re.compile(r"\$AEGIS_REGISTRY_[A-Z0-9_]+|secret://registries/[A-Za-z0-9][A-Za-z0-9_/-]*#[A-Za-z0-9_]+")
_HOSTED = re.compile(r"[\w.-]+(/[\w.-]+)+")
_HEADER_VALUE = re.compile(r"\$AEGIS_TRACES_[A-Z0-9_]+|secret://observe/[A-Za-z0-9][A-Za-z0-9_/-]*#[A-Za-z0-9_]+")
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


def _credential(value: str) -> str:
    """A reference to a credential that is meant for registries: nobody gets at other secrets by declaring one."""
    if not _CREDENTIAL.fullmatch(value):
        raise ValueError("name it as $AEGIS_REGISTRY_… (of the server's environment) or secret://registries/PATH#FIELD")
    return value


Credential = Annotated[str, AfterValidator(_credential)]


class PackageIndexModel(SourceModel):
    """A package index: what it falls through to, which names are its own, what it mirrors."""

    then: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    mirror: str | None = None
    fresh: Seconds = 600.0

    @model_validator(mode="after")
    def _source(self) -> PackageIndexModel:
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
        if bool(self.user) != bool(self.password):
            raise ValueError("a login has a `user:` and a `password:`")
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


class IncludesModel(Strict):
    """What pipelines may include from other hosts; without a word here nothing."""

    hosts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    gitlab: str | None = None

    @model_validator(mode="after")
    def _places(self) -> IncludesModel:
        wrong = next((one for one in self.hosts if "/" in one or ":" in one), None)
        if wrong is not None:
            raise ValueError(f"{wrong!r} is no name of a host, such as gitlab.example.org or *.example.org")
        wrong = next((one for one in self.private if not re.fullmatch(r"[^/:]+:\d{1,5}", one)), None)
        if wrong is not None:
            raise ValueError(f"{wrong!r} is not host:port, such as gitlab.lan:443")
        if self.gitlab is not None:
            parts = urlsplit(self.gitlab)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            near = f"{parts.hostname}:{port}" in self.private
            SourceModel(private=near).check(self.gitlab)
        return self


class TracesModel(SourceModel):
    """The collector that gets the traces of finished runs, by OTLP over HTTP."""

    endpoint: str
    headers: dict[str, str] = {}

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a header")
            if not _HEADER_VALUE.fullmatch(value):
                raise ValueError(
                    f"{name}: name its value as $AEGIS_TRACES_… (of the server's environment) or secret://observe/PATH#FIELD"
                )
        return headers

    @model_validator(mode="after")
    def _source(self) -> TracesModel:
        self.check(self.endpoint)
        return self


class ObserveModel(Strict):
    """Who else is told what is observed; without a word here nobody."""

    traces: TracesModel | None = None
