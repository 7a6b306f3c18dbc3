"""Writes the golden record of every registered event that has none yet; what is there is never changed.

    python tools/golden_ledger.py

A golden line is what was once written: it must be read forever. Run this after adding an event.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aegis.core import codec
from aegis.core.events import REGISTRY

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "ledger" / "events.jsonl"
AT = datetime(2026, 1, 5, 9, 0, 0, 123456, tzinfo=UTC)


def sample(kind: Any, name: str) -> Any:
    """A value of a type, with every optional part filled, so that nothing of a shape goes unwritten."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return sample(next(one for one in arguments if one is not type(None)), name)
    if origin is tuple:
        return tuple(sample(one, name) for one in arguments if one is not Ellipsis)
    if origin in (Mapping, dict):
        return {"key": sample(arguments[1], name)}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(**{one.name: sample(hints[one.name], one.name) for one in dataclasses.fields(kind)})
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    plain: dict[Any, Any] = {str: f"{name} 한", int: 7, float: 0.25, bool: True, datetime: AT}
    return plain[kind]


def main() -> None:
    """Append the lines that are missing."""
    lines = GOLDEN.read_text(encoding="utf-8").splitlines() if GOLDEN.exists() else []
    known = {(one["type"], one["version"]) for one in map(json.loads, lines)}
    for (name, version), kind in REGISTRY.items():
        if (name, version) not in known:
            data = codec.encode(sample(kind, "value")).decode()
            lines.append(json.dumps({"type": name, "version": version, "data": data}, ensure_ascii=False))
            print(f"added {name} v{version}")
    GOLDEN.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
