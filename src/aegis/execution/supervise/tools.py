"""What the built-in runner works with: the ports that every job of it uses, put together once. No behaviour."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aegis.core.ports import Blobs, Clock, Masker
from aegis.core.types import Run
from aegis.execution.network import Network
from aegis.execution.options import SupervisorOptions
from aegis.execution.ports import CacheEntry, Executor, ImageRoots, Sandbox, Workspaces
from aegis.execution.runners import Assignment, JobSource
from aegis.execution.sealed import SealedNotes


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
    images: ImageRoots | None = None
    """Where `image:` comes from; None: jobs with images are refused."""
    on_failure: Callable[[Assignment, Sandbox, Mapping[str, str]], Awaitable[None]] | None = None
    """Called while the failed job's sandbox still exists: for a shell in it."""
    network: Callable[[Run], Network] = lambda _: Network()
    """The widest network that jobs of a run may have."""
