"""Empty repositories and commits without a repository, for tests."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from aegis.core.ports import CommitInfo


def bare(path: Path) -> Path:
    """An empty bare repository at `path`."""
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)], check=True)
    return path


def commits(*messages: str) -> tuple[CommitInfo, ...]:
    """Commits with these messages, newest first; their ids begin with their number, from 00000001."""
    return tuple(
        CommitInfo(
            commit=f"{number:08x}{'0' * 32}",
            parents=(),
            author_name="Ada",
            author_email="ada@example.test",
            authored_at=datetime(2026, 1, 1, tzinfo=UTC),
            committer_name="Ada",
            committer_email="ada@example.test",
            message=message,
        )
        for number, message in enumerate(messages, start=1)
    )
