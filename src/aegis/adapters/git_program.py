"""How every adapter here starts `git`: a clean environment, no prompts, no configuration but the repository's own.

Decides nothing about repositories. A missing or hanging program is `ExternalError`; exit codes are the caller's to read.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aegis.core.errors import ExternalError

SECONDS: Final = 120.0


def program() -> str:
    """The path of the `git` that is installed; `ExternalError` where there is none."""
    for folder in os.get_exec_path():
        found = Path(folder, "git")
        if found.is_file() and os.access(found, os.X_OK):
            return str(found)
    raise ExternalError("git-missing", "git is not installed", hint="install git (for instance: apt-get install git)")


def environment(directory: Path, program_path: str) -> dict[str, str]:
    """The whole environment of a `git` process that works on the repository `directory`.

    Nothing of the machine's or the user's configuration counts, replacement objects do not lie about content,
    path arguments are literal, and the repository may belong to another user (it was named explicitly).
    """
    return {
        "PATH": os.pathsep.join((str(Path(program_path).parent), *os.defpath.split(os.pathsep))),
        "HOME": os.devnull,
        "LC_ALL": "C.UTF-8",
        "GIT_DIR": str(directory),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "false",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """What a `git` process left."""

    code: int
    out: bytes
    error: str


def run(
    arguments: Sequence[str],
    *,
    directory: Path,
    stdin: bytes | None = None,
    extra: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    git: str | None = None,
) -> Answer:
    """Run `git` on the repository `directory` and wait for it; at most `SECONDS`."""
    path = git or program()
    try:
        done = subprocess.run(
            [path, *arguments],
            input=stdin if stdin is not None else b"",
            capture_output=True,
            env={**environment(directory, path), **(extra or {})},
            cwd=cwd or directory,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ExternalError(
            "git-timeout", f"git {arguments[0]} did not end in {SECONDS:.0f} s", retryable=True
        ) from error
    except OSError as error:
        raise ExternalError("git-start", f"git could not be started in {directory.name}: {error.strerror}") from error
    return Answer(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace").strip())
