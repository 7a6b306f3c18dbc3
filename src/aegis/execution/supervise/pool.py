"""The places of jobs are used again, where a job has left nothing in its own.

To make and remove directories costs a short job more than its script does. A place is as good as a fresh one when each of its
directories is empty and has the owner, mode and attributes that it was given; any other is not handed out again. Removing them
is not done here.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aegis.execution.ports import Place

_NAMES: Final = frozenset({"work", "tmp", "files", "home", "root", ".overlay"})
_MODE: Final = 0o755
_SCRIPTS: Final = ".step-"
_FIRST: Final = ".step-1"
_CACHE: Final = ".cache"
_OWN_ATTRIBUTES: Final = frozenset({"security.selinux"})
_Way = dict[str, "_Way"]


class Places:
    """Hands out places below `folder`, which is this object's alone; places that come back clean are handed out again.

    Only jobs of the same project get them; `keep` of them wait at most. `owner` is whose the jobs' directories are, None for
    this process's user. Thread-safe.
    """

    def __init__(self, folder: Path, owner: tuple[int, int] | None, keep: int) -> None:
        self._folder = folder
        self._owner = owner or (os.geteuid(), os.getegid())
        self._keep = keep
        self._lock = threading.Lock()
        self._free: list[tuple[str, Path]] = []
        self._made = 0

    def take(self, project: str) -> Path:
        """A place that no job has: either absent or clean."""
        with self._lock:
            for index in range(len(self._free) - 1, -1, -1):
                if self._free[index][0] == project:
                    return self._free.pop(index)[1]
            self._made += 1
            return self._folder / str(self._made)

    def give_back(self, project: str, root: Path) -> Path | None:
        """The next job may have this clean place; one that is to be removed instead, if too many wait."""
        with self._lock:
            self._free.append((project, root))
            return self._free.pop(0)[1] if len(self._free) > self._keep else None

    def close(self) -> list[Path]:
        """The places that nobody has; they are not handed out any more."""
        with self._lock:
            free, self._free, self._keep = self._free, [], 0
        return [root for _, root in free]

    def clean(self, place: Place, shown: Sequence[Path]) -> bool:
        """Clear away the scripts of steps; whether nothing else is left of the job, its work tree apart.

        What was `shown` in the job's directories has left the way to it there, which no job can write to.
        """
        if sys.platform != "linux":
            return False
        try:
            if not _NAMES.issuperset(one.name for one in place.root.iterdir()):
                return False
            return (
                self._cleared(place.files)
                and self._untouched(place.home, {_CACHE: {}}, theirs=True)
                and self._untouched(place.tmp, _way(tuple(shown), place.inner_tmp))
            )
        except OSError:
            return False

    def _cleared(self, files: Path) -> bool:
        """Take the scripts away; the first one's file stays, empty, for the next job's."""
        for one in list(files.iterdir()):
            found = one.lstat()
            if not one.name.startswith(_SCRIPTS) or not stat.S_ISREG(found.st_mode):
                return False
            if one.name == _FIRST and found.st_nlink == 1 and found.st_uid == os.geteuid():
                os.truncate(one, 0)
            else:
                one.unlink()
        return self._plain(files, self._owner)

    def _untouched(self, path: Path, inside: _Way, *, theirs: bool = False) -> bool:
        """Whether a directory is as it was made, with nothing but the directories `inside`, which are ours or `theirs`."""
        own = self._owner if theirs else (os.geteuid(), os.getegid())
        return (
            self._plain(path, self._owner)
            and (not inside or own != self._owner or theirs)
            and all(one.name in inside and self._below(one, inside[one.name], own) for one in path.iterdir())
        )

    def _below(self, path: Path, inside: _Way, owner: tuple[int, int]) -> bool:
        return self._plain(path, owner) and all(
            one.name in inside and self._below(one, inside[one.name], owner) for one in path.iterdir()
        )

    @staticmethod
    def _plain(path: Path, owner: tuple[int, int]) -> bool:
        found = path.lstat()
        kind = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == _MODE
        bare = sys.platform != "linux" or _OWN_ATTRIBUTES.issuperset(os.listxattr(path, follow_symlinks=False))
        return kind and bare and (found.st_uid, found.st_gid) == owner


@functools.lru_cache(maxsize=100)
def _way(shown: tuple[Path, ...], folder: str) -> _Way:
    """The directories between a directory of the job and what is shown in it; the same for all jobs of a run, and only read."""
    way: _Way = {}
    for path in shown:
        if path.is_relative_to(folder):
            here = way
            for part in path.relative_to(folder).parts:
                here = here.setdefault(part, {})
    return way
