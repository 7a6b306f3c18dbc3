"""An interactive shell for a person, in the place of a job that failed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Final

from aegis.execution.ports import Place

_ONE: Final = threading.Lock()


def shell_in(name: str, place: Place, variables: Mapping[str, str]) -> None:
    """Open a shell on the terminal in the work tree of job `name`, and wait for its end. One at a time.

    The paths that the job saw are replaced by where they lie outside. Nothing isolates this shell: it is the person's.
    """
    inner = sorted(
        ((place.inner_work, place.work), (place.inner_home, place.home), (place.inner_files, place.files)),
        key=lambda pair: -len(pair[0]),
    )
    environment = dict(variables)
    for key, value in environment.items():
        for path, outside in inner:
            value = value.replace(path, str(outside))  # noqa: PLW2901 - each replacement on top of the last
        environment[key] = value
    environment |= {"TERM": os.environ.get("TERM", "dumb"), "TMPDIR": str(place.tmp), "PWD": str(place.work)}
    with _ONE:
        sys.stderr.write(f"\njob {name} failed; this shell is in its work tree. Leave with `exit`.\n")
        sys.stderr.flush()
        subprocess.run(["bash", "--norc", "-i"], cwd=place.work, env=environment, check=False)
