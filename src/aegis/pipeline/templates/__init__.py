"""The template library: components `aegis/<name>@<major>`, shipped as package data.

Each lies in `<name>/template.yml` for major 1 and `<name>/template.<major>.yml` for later ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aegis.pipeline.patterns import Rare

_ADDRESS: Final = Rare(r"aegis/([a-z0-9-]+)@(\d{1,3})")
_HERE: Final = Path(__file__).parent


def read(address: str) -> bytes | None:
    """The text of a component, given `aegis/<name>@<major>`; None when there is none."""
    file = location(address)
    return file.read_bytes() if file is not None else None


def location(address: str) -> Path | None:
    """Where the text of a component lies; None when there is none."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return None
    name, major = match.groups()
    file = _HERE / name / ("template.yml" if major == "1" else f"template.{int(major)}.yml")
    return file if file.is_file() else None


def addresses() -> tuple[str, ...]:
    """All components, sorted."""
    found = []
    for file in _HERE.glob("*/template*.yml"):
        parts = file.name.split(".")
        found.append(f"aegis/{file.parent.name}@{parts[1] if len(parts) == 3 else 1}")
    return tuple(sorted(found))
