"""What is shown of why a job waits or is slow. Plain values; see `views`, which hands them on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aegis.core.spent import JobUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyReason:
    """One reason why a job waits or is slow; `evidence` quotes the facts it rests on."""

    code: str
    message: str
    hint: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyView:
    """Why a job is there (`rule`), and why it waits or is slow: the weightiest reason first, none where neither is so."""

    job: str
    state: str
    rule: str = ""
    reasons: tuple[WhyReason, ...] = ()
    usual_seconds: float | None = None
    queued_at: datetime | None = None
    queue_seconds: float | None = None
    run_seconds: float | None = None
    fault: str = ""
    """`error` where the surroundings failed, `failure` where the code did, else empty."""
    usage: JobUsage | None = None
    reused: str = ""
    """`RUN/JOB` whose result this is; empty for a job that was worked."""
    """What its steps used; None where its runner does not measure."""
