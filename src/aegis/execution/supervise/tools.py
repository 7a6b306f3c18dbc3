"""What a job is worked with, and what it has by now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from pathlib import Path

from aegis.core.ports import Blobs, Clock, Masker
from aegis.core.spent import JobUsage
from aegis.core.types import Run, StoredFile
from aegis.core.values import dataclass
from aegis.execution.network import Network
from aegis.execution.options import SupervisorOptions
from aegis.execution.ports import CacheEntry, Executor, ImageRoot, ImageRoots, Sandbox, ServiceRequest, Workspaces
from aegis.execution.reuse import Proven
from aegis.execution.runners import Assignment, JobSource
from aegis.execution.sealed import SealedNotes
from aegis.execution.supervise.timings import Timings


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What every job is worked with. `masker` makes a masker for named secrets; it knows which it cannot mask."""

    source: JobSource
    executor: Executor
    workspaces: Workspaces
    blobs: Blobs
    caches: SealedNotes[CacheEntry]
    clock: Clock
    masker: Callable[[Mapping[str, str]], tuple[Masker, tuple[str, ...]]]
    options: SupervisorOptions
    results: SealedNotes[Proven] | None = None
    """What jobs have proven; None: nothing is reused."""
    timings: Timings | None = None
    """How long tests took; None: no job is told."""
    images: ImageRoots | None = None
    """Where `image:` comes from; None: jobs with images are refused."""
    on_failure: Callable[[Assignment, Sandbox, Mapping[str, str]], Awaitable[None]] | None = None
    """Called while the failed job's sandbox still exists: for a shell in it."""
    network: Callable[[Run], Network] = lambda _: Network()
    """The widest network that jobs of a run may have."""


@dataclass(slots=True)
class Course:
    """What the job has by now."""

    stop: str = ""
    """`cancel`, `timeout`, `abort`, `shutdown`: why its script is to end; empty while it is not."""
    sandbox: Sandbox | None = None
    image: ImageRoot | None = None
    services: tuple[ServiceRequest, ...] = ()
    starved: str = ""
    """What is said where a process of it was ended for want of memory."""
    placed: bool = False
    shown: tuple[Path, ...] = ()
    running: bool = False
    begun: bool = False
    """Whether the script was started: without it there is nothing to clean up by `after_script`."""
    files: tuple[StoredFile, ...] = ()
    usage: JobUsage | None = None
    stopping: set[asyncio.Task[None]] = field(default_factory=set)
