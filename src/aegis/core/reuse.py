"""Where the result of a job comes from. What it means is decided by `execution.reuse` and by the gates."""

from __future__ import annotations

from aegis.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReuse:
    """A job that asks for reuse: its fingerprint, and where its result comes from.

    `run` and `job` (ids) are those that were proven, empty where it was worked itself; `same_tree` says that their whole work tree was the
    same, not only what the job declares to read. `verified` is `same`, or how a job that was worked again differs from what was proven.
    """

    fingerprint: str
    run: str = ""
    job: str = ""
    commit: str = ""
    same_tree: bool = False
    verified: str = ""
