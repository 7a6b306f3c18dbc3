"""What every part of `aegis.yaml` is made of: strict models, durations, addresses of things outside, references by name."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w|y)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31557600.0}


def seconds(value: object) -> object:
    """Seconds of `90`, `"90s"`, `"1h 30m"`; other values are left for the model to refuse."""
    if not isinstance(value, str):
        return value
    parts = _DURATION.findall(value)
    if not parts or _DURATION.sub("", value).strip():
        raise ValueError(f"{value!r} is not a duration; write 90s, 15m, 24h, 90d or 1y")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=0)]


class Strict(BaseModel):
    """A part of the declaration: unknown keys are refused, values are never guessed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


def known(names: tuple[str, ...], declared: set[str], where: str) -> None:
    """`ValueError` for the first name that nothing declares."""
    missing = [name for name in names if name not in declared]
    if missing:
        choices = ", ".join(sorted(declared)) or "nothing yet"
        raise ValueError(f"{where}: {missing[0]!r} is not declared; declared are: {choices}")
