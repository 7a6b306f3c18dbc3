"""Explains the last local run of this working tree, from what `aegis run` left under `.aegis/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from aegis.adapters import files_worktree
from aegis.core import codec
from aegis.core.errors import NotFound
from aegis.core.types import JobRun
from aegis.execution.explain import causes_of

_TAIL: Final = 65536


def last_local_run() -> list[dict[str, Any]]:
    """The likely causes of its failed jobs, most likely first, as plain values; `NotFound` where nothing has run here."""
    tree = files_worktree.find(Path())
    directory = (tree.root if tree is not None else Path()) / ".aegis" / "runs" / "latest"
    summary = directory / "run.json"
    if not summary.is_file():
        raise NotFound("no-local-run", "nothing has been run in this working tree", hint="aegis run")
    found: list[dict[str, Any]] = []
    for job in codec.decode(summary.read_bytes(), dict[str, Any])["jobs"]:
        made = codec.convert(job, JobRun)
        log = directory / f"{log_name(made.name)}.log"
        tail = log.read_bytes()[-_TAIL:] if log.is_file() else b""
        found += [{"job": made.name, **codec.plain(cause)} for cause in causes_of(made, tail)]
    return sorted(found, key=lambda cause: -cause["confidence"])


def log_name(name: str) -> str:
    """A job's name as a file's name."""
    return "".join(one if one.isalnum() or one in "-_." else "-" for one in name).lstrip(".") or "job"
