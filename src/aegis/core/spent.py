"""What an attempt of a job spent: its parts in time, and what its steps used of the machine."""

from __future__ import annotations

from datetime import datetime

from aegis.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUsage:
    """What a job's steps used: processor seconds, the largest process's memory and bytes of storage read and written."""

    cpu_seconds: float = 0.0
    peak_memory: int = 0
    read_bytes: int = 0
    written_bytes: int = 0

    def __add__(self, other: JobUsage) -> JobUsage:
        return JobUsage(
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            peak_memory=max(self.peak_memory, other.peak_memory),
            read_bytes=self.read_bytes + other.read_bytes,
            written_bytes=self.written_bytes + other.written_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStep:
    """A part of a job by the name of its section (`get_sources`, `step_script`, …): when it began, seconds it took."""

    name: str
    started_at: datetime
    seconds: float
