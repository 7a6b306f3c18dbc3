"""The registry of event types and the envelope that every event travels in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

from aegis.core.values import dataclass

E = TypeVar("E", bound=type)

REGISTRY: Final[dict[tuple[str, int], type]] = {}
NAMES: Final[dict[type, tuple[str, int]]] = {}


def event(name: str, version: int = 1) -> Callable[[E], E]:
    """Register the decorated class under `name` and `version`, which must be new."""

    def register(kind: E) -> E:
        if (name, version) in REGISTRY:
            msg = f"event {name} v{version} is registered twice"
            raise ValueError(msg)
        REGISTRY[name, version] = kind
        NAMES[kind] = (name, version)
        return kind

    return register


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event about to be appended. `subject` is what it happened to (`run/…`, `promotion/…`), `cause` an event id."""

    subject: str
    data: object
    actor: str
    project: str = ""
    service: str = ""
    environment: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An event as stored. `data` is None where retention or law has erased it; `header` are the hashed bytes."""

    seq: int
    id: str
    recorded_at: datetime
    recorded_by: str
    actor: str
    project: str
    service: str
    environment: str
    type: str
    version: int
    subject: str
    subject_version: int
    cause: str
    data_digest: str
    prev: str
    hash: str
    data: object | None
