"""What all models of `aegis.yaml` stand on: no unknown keys, durations and sizes, names that must be declared."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated

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


_SIZES = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def size(value: object) -> object:
    """Bytes of `512MiB` or `4GiB`; other values are left for the model to refuse."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]iB)?", value) if isinstance(value, str) else None
    if isinstance(value, str) and found is None:
        raise ValueError(f"{value!r} is not a size; write 512MiB or 4GiB")
    return int(float(found[1]) * _SIZES[found[2] or ""]) if found else value


Size = Annotated[int, BeforeValidator(size), Field(ge=0)]


def known(names: tuple[str, ...], declared: Collection[str], where: str) -> None:
    """`ValueError` for the first name that is not declared."""
    missing = [name for name in names if name not in declared]
    if missing:
        choices = ", ".join(sorted(declared)) or "nothing yet"
        raise ValueError(f"{where}: {missing[0]!r} is not declared; declared are: {choices}")
