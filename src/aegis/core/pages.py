"""A project's pages as published: which directory of which job's archive is served, and for how long."""

from __future__ import annotations

from datetime import datetime

from aegis.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PagesDeployment:
    """`id` is the job's that left the files. `prefix` names a deployment beside the main one, which has none."""

    id: str
    project: str
    prefix: str
    archive: str
    """The digest of the job's archive."""
    root: str
    files: int
    run: str
    job: str
    ref: str
    commit: str
    created_at: datetime
    expires_at: datetime | None = None
