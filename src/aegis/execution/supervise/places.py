"""The directories of jobs: whose they are, and how they are removed whatever a job made of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from aegis.execution.ports import Place


def give(paths: Sequence[Path], owner: tuple[int, int]) -> None:
    """Let everything below `paths` belong to `owner`; links themselves, never what they point to.

    What belongs to it already is left alone: in a shared tree a change of owner would copy the file.
    """
    for path in paths:
        give_one(str(path), owner)
        for folder, directories, files in os.walk(path):
            for name in (*directories, *files):
                give_one(os.path.join(folder, name), owner)  # noqa: PTH118 - thousands of files


def give_one(path: str, owner: tuple[int, int]) -> None:
    """The same for one file or directory, whatever is below it."""
    found = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - as above
    if (found.st_uid, found.st_gid) != owner:
        os.chown(path, *owner, follow_symlinks=False)


def empty(folder: Path) -> None:
    """Take everything out of a directory."""
    for one in folder.iterdir():
        if one.is_dir() and not one.is_symlink():
            remove(one)
        else:
            one.unlink()


def remove(root: Path) -> None:
    """Remove a job's place, also what the job made unwritable."""

    def again(function: Callable[[str], object], path: str, _: object) -> None:
        parent = Path(path).parent
        with contextlib.suppress(OSError):
            for one in (parent, Path(path)):
                if not one.is_symlink():
                    one.chmod(stat.S_IRWXU)
            function(path)

    with contextlib.suppress(RecursionError):
        shutil.rmtree(root, onerror=again)
    if root.is_dir() and not root.is_symlink():
        _remove_flat(root)


def _remove_flat(root: Path) -> None:
    """Remove a tree of any depth: each directory is moved up to the root before it is emptied, so no path becomes long."""
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(top, stat.S_IRWXU)
        moved = 0
        while names := os.listdir(top):  # noqa: PTH208 - by its descriptor: the path may be too long
            for name in names:
                if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
                    os.unlink(name, dir_fd=top)
                    continue
                os.chmod(name, stat.S_IRWXU, dir_fd=top)
                moved = _emptied(top, name, moved)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    root.rmdir()


def _emptied(top: int, name: str, moved: int) -> int:
    """Take everything out of one directory: files are gone, directories lie in `top` under a free number beyond `moved`."""
    inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
    try:
        for one in os.listdir(inside):  # noqa: PTH208 - as above
            if not stat.S_ISDIR(os.stat(one, dir_fd=inside, follow_symlinks=False).st_mode):
                os.unlink(one, dir_fd=inside)
                continue
            os.chmod(one, stat.S_IRWXU, dir_fd=inside)
            moved += 1
            while _there(top, f"{moved}.gone"):
                moved += 1
            os.rename(one, f"{moved}.gone", src_dir_fd=inside, dst_dir_fd=top)
    finally:
        os.close(inside)
    return moved


def _there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def make(place: Place, files: Mapping[str, str]) -> None:
    """The directories of a job, and the files that its variables name."""
    for path in (place.root, place.work, place.tmp, place.home, place.files):
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    for name, value in files.items():
        file = place.files / name
        file.write_text(value, encoding="utf-8", errors="surrogateescape")
        file.chmod(0o600)


def tool_cache(root: Path, place: Place, name: str, owner: tuple[int, int] | None) -> dict[str, Path]:
    """The tools' cache of a project and trust, shown to the job as `~/.cache`; what of it has to be mounted."""
    folder = root / name
    folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if owner is not None and folder.stat().st_uid != owner[0]:
        give((folder,), owner)
    cache = place.home / ".cache"
    if place.inner_home == str(place.home):
        if not cache.is_symlink():
            cache.symlink_to(folder)
        return {}
    cache.mkdir(exist_ok=True)
    return {f"{place.inner_home}/.cache": folder}


def own(place: Place, owner: tuple[int, int] | None, cache: tuple[Path, str] | None, *, work: bool) -> dict[str, Path]:
    """Give a place to whom the job is, with or without its `work` tree; what of the tools' cache has to be mounted."""
    writable = tool_cache(cache[0], place, cache[1], owner) if cache is not None else {}
    if owner is not None:
        give((place.home, place.files, *((place.work,) if work else ())), owner)
        # What is shown below it has left the way to it there, which is not the job's.
        give_one(str(place.tmp), owner)
    return writable
