"""Takes away what killed local runs left: mounts of work trees, places of jobs, snapshots. Their logs and results stay.

Whoever calls it is the one run that there is: it holds the ledger of the working tree.
"""

from __future__ import annotations

import os
from pathlib import Path

from aegis.adapters import workspace_overlay
from aegis.execution.supervise.places import remove

_PLACES = "jobs"
_SNAPSHOT = "tree"


def sweep(runs: Path) -> tuple[str, ...]:
    """Sweep below the folder of all runs; the ids of those where something was left."""
    found = []
    for run in os.scandir(runs) if runs.is_dir() else ():
        if run.is_symlink() or not run.is_dir():
            continue
        left = [place for place in (Path(run.path, _PLACES), Path(run.path, _SNAPSHOT)) if place.is_dir()]
        for place in left:
            for job in place.iterdir() if place.name == _PLACES else ():
                workspace_overlay.unmount(job / "work")
            remove(place)
        if left:
            found.append(run.name)
    return tuple(sorted(found))
