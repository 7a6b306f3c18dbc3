"""Typed settings from the environment.

A service subclasses `ServiceSettings`; the variable of field `payments_url` is `PAYMENTS_URL`. Everything is read
once, at the start, and a mistake stops the service with a sentence that names the variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError


class SettingsError(RuntimeError):
    """The environment does not fit; the message names each variable."""


class ServiceSettings(BaseModel):
    """What every service knows about itself."""

    model_config = ConfigDict(frozen=True)

    aegis_release: str = "unreleased"
    aegis_commit: str = "unknown"
    log_level: str = "INFO"

    @classmethod
    def load(cls, environment: Mapping[str, str]) -> Self:
        """The settings that `environment` (usually `os.environ`) holds; empty values count as absent."""
        given = {name: environment[name.upper()] for name in cls.model_fields if environment.get(name.upper())}
        try:
            return cls(**given)
        except ValidationError as error:
            problems = (f"{str(one['loc'][0]).upper()}: {one['msg']}" for one in error.errors() if one["loc"])
            raise SettingsError("; ".join(problems)) from None
