"""`python dying.py MODULE:NAME before|after N MARK -- ARGUMENTS`: the aegis command, killed at one exact place.

The N-th call of the named function (or method) kills the whole process with SIGKILL, before or after it did its work.
`MARK` is a file that is made then: with it there the command runs as always, so a second start comes through.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any


def arm(target: str, when: str, number: int, mark: Path) -> None:
    """Replace the function by one that dies."""
    module_name, _, path = target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    real = getattr(owner, name)
    calls = [0]

    def dying(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        due = calls[0] == number
        if due and when == "before":
            die(mark)
        answer = real(*arguments, **named)
        if due:
            die(mark)
        return answer

    setattr(owner, name, dying)


def die(mark: Path) -> None:
    """End this process as a power cut would."""
    mark.touch()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    point, moment, count, file = sys.argv[1:5]
    sys.argv = ["aegis", *sys.argv[6:]]
    from aegis.cli import main

    if not Path(file).exists():
        arm(point, moment, int(count), Path(file))
    main()
