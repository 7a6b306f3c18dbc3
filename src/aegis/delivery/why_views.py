"""What is shown of why a job waits or is slow. Plain values; see `views`, which hands them on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
