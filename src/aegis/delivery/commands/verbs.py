"""The registry of verbs: each command under the one name by which every door asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

C = TypeVar("C", bound=type)


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: its command type, one line of help, and whether only the flow may use it."""

    name: str
    command: type
    help: str
    internal: bool = False


VERBS: Final[dict[str, Verb]] = {}
NAMES: Final[dict[type, str]] = {}


def verb(name: str, *, internal: bool = False) -> Callable[[C], C]:
    """Register the decorated command under `name`; its docstring is the help."""

    def register(kind: C) -> C:
        if name in VERBS:
            raise ValueError(f"verb {name} is registered twice")
        VERBS[name] = Verb(name, kind, (kind.__doc__ or "").strip().splitlines()[0], internal)
        NAMES[kind] = name
        return kind

    return register
