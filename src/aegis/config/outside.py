"""What `aegis.yaml` says of the outside: what pipelines include, where traces go."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from aegis.config.registries import SourceModel
from aegis.config.strict import Strict

_HEADER_VALUE = re.compile(r"\$AEGIS_TRACES_[A-Z0-9_]+|secret://observe/[A-Za-z0-9][A-Za-z0-9_/-]*#[A-Za-z0-9_]+")
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


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
