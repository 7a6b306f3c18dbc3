"""Remote runners as they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineView:
    """A machine that works under a remote runner's token, as it last told of itself."""

    system_id: str
    contacted_at: datetime
    version: str = ""
    platform: str = ""
    architecture: str = ""
    executor: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerView:
    """A remote runner. `status` is `online`, `offline`, `stale` or `never_contacted`, by its machines' last word."""

    id: str
    number: int
    description: str
    tags: tuple[str, ...]
    run_untagged: bool
    protected: bool
    paused: bool
    locked: bool
    projects: tuple[str, ...]
    maximum_timeout: int | None
    isolated: bool
    note: str
    registered_by: str
    status: str
    contacted_at: datetime | None = None
    machines: tuple[MachineView, ...] = ()
