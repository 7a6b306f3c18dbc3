"""What an operator can set about execution: small frozen values, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from aegis.core.values import dataclass
from aegis.execution.ports import JobLimits
from aegis.execution.trace import DEFAULT_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorOptions:
    """Times in seconds. `remote_lease_seconds` is how long a remote runner may be silent, which says a word every 30.

    `require_isolation` refuses runners that do not isolate; `keep` finished runs stay in memory.
    """

    lease_seconds: float = 60.0
    remote_lease_seconds: float = 120.0
    require_isolation: bool = False
    actor: str = "aegis"
    keep: int = 200

    def silence(self, *, resumable: bool) -> float:
        """How long a runner may be silent, in seconds."""
        return self.remote_lease_seconds if resumable else self.lease_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorOptions:
    """How the built-in runner works.

    `directory` holds the jobs' places and is emptied when it starts. `tool_paths` come first in the jobs' PATH and are,
    with `read_only`, visible in them without being writable. `tool_cache` is a directory with one folder per project,
    which its jobs see as `~/.cache`. `passthrough` are the only variables of the machine that reach a job (proxy and CA
    settings). `image` is that of jobs that name none. `host_tools` lets a job with `image:` run with the tools of this machine, which its log then says first.
    Without `reuse` what was proven is worked again and compared; `machine` tells apart what a job without an image runs with.
    Where nobody `publishes`, as in a local run, the log of a job with `release` says that nothing is released.
    """

    directory: Path
    name: str = "builtin"
    concurrency: int = 4
    tags: tuple[str, ...] | None = None
    tool_paths: tuple[Path, ...] = ()
    read_only: tuple[Path, ...] = ()
    tool_cache: Path | None = None
    passthrough: Mapping[str, str] = field(default_factory=dict)
    host_tools: bool = False
    reuse: bool = True
    machine: str = ""
    image: str = ""
    publishes: bool = True
    limits: JobLimits = field(default_factory=JobLimits)
    trace_limit: int = DEFAULT_LIMIT
    artifact_limit: int = 4 * 1024 * 1024 * 1024
    after_script_seconds: float = 300.0
    poll_seconds: float = 0.3
    flush_seconds: float = 0.1
    keep_places: bool = False
