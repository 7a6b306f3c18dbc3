"""What the local cluster must know after a restart, in one file that is replaced as a whole.

Decides: the shape. Processes are not in it: they end with the server and are started again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aegis.core import codec
from aegis.core.errors import ExternalError

_KEYS_KEPT: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """A version that should run: its Deployment, and the ports its replicas had."""

    body: Mapping[str, Any]
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """A Deployment: the version wished last, the one that owns the address, all that run, oldest first."""

    namespace: str
    name: str
    wanted: str
    active: str = ""
    versions: tuple[VersionRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A Job that has come to its end."""

    namespace: str
    name: str
    state: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything."""

    keys: tuple[str, ...] = ()
    live: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    services: tuple[ServiceRecord, ...] = ()
    jobs: tuple[JobRecord, ...] = ()


def load(path: Path) -> Record:
    """What was saved, or nothing. A file that cannot be read is an error: guessing would end what runs."""
    try:
        return codec.decode(path.read_bytes(), Record)
    except FileNotFoundError:
        return Record()
    except Exception as error:
        raise ExternalError(
            "cluster-state",
            f"{path.name} of the local cluster cannot be read: {error}",
            hint=f"restore or remove {path}",
        ) from error


def save(path: Path, record: Record) -> None:
    """Replace the file; durable when it returns."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(codec.encode(record))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def remembered(keys: tuple[str, ...], key: str) -> tuple[str, ...]:
    """`keys` with one more, the oldest forgotten."""
    return (*keys, key)[-_KEYS_KEPT:]
