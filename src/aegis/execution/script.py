"""The shell script of a step, as GitLab's runner makes it: strict, each command shown before it runs.

Pure text. The output runs under bash, and under a POSIX `sh` where there is no bash (without `pipefail`, as there).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

_COLOUR: Final = "\x1b[32;1m"
_RESET: Final = "\x1b[0;m"
_PRELUDE: Final = (
    "set -e\n"
    'case "${BASH_VERSINFO-}" in ?*) set -o pipefail ;; '
    "*) (set -o pipefail) 2>/dev/null && set -o pipefail ;; esac\n"
    "set +o noclobber\n"
)
"""Only shells that are not known to have `pipefail` are asked, since that takes a process."""


def shown(command: str) -> str:
    """A command as the log shows it: one line, marked when there is more."""
    first, _, rest = command.strip("\n").partition("\n")
    more = " # collapsed multi-line command" if rest.strip() else ""
    return f"{_COLOUR}$ {first}{more}{_RESET}"


def render(commands: Sequence[str]) -> bytes:
    """One script of all commands: the first that fails ends it with its code.

    Every command sees `/dev/null` as its input (the runner gives it), so that none of them can read the script.
    """
    lines = [_PRELUDE]
    for command in commands:
        lines.append(f"printf '%s\\n' {shlex.quote(shown(command))}\n")
        lines.append(command.rstrip("\n") + "\n")
    return "".join(lines).encode("utf-8", "surrogateescape")
