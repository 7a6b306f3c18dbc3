"""Work trees that share one snapshot: an overlay mount each, where the system lets this process mount.

What a job changes lies in its own directory; the snapshot below is never written. Nothing is mounted for ordinary users and on
systems without overlays: `mount` answers False there, and whoever asked copies instead.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path
from typing import Final

_NODEV: Final = 4
_DETACH: Final = 2
_OPTIONS: Final = ("redirect_dir=on,metacopy=off,index=off,volatile", "redirect_dir=on,metacopy=off,index=off", "")
_FOLDER: Final = ".overlay"


def mount(lower: Path, target: Path, owner: tuple[int, int] | None) -> bool:
    """Show `lower` at the empty directory `target`, with changes kept beside it; whether that could be done."""
    if sys.platform != "linux" or os.geteuid() != 0 or any(sign in f"{lower}{target}" for sign in ",:\\"):
        return False
    upper, work = target.parent / _FOLDER / "upper", target.parent / _FOLDER / "work"
    for path in (upper, work):
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(parents=True)
    if owner is not None:
        os.chown(upper, *owner)
    upper.chmod(lower.stat().st_mode & 0o7777)
    libc = ctypes.CDLL(None, use_errno=True)
    for more in _OPTIONS:
        data = f"lowerdir={lower},upperdir={upper},workdir={work}{f',{more}' if more else ''}"
        done = libc.mount(b"overlay", os.fsencode(target), b"overlay", ctypes.c_ulong(_NODEV), os.fsencode(data))
        if done == 0:
            return True
    return False


def changes(target: Path) -> tuple[object, ...] | None:
    """What tells whether anything was changed at a mounted `target`; None when something is kept beside it already."""
    upper = target.parent / _FOLDER / "upper"
    try:
        found = upper.lstat()
        if any(upper.iterdir()):
            return None
        attributes = tuple(sorted(os.listxattr(upper))) if sys.platform == "linux" else ()
    except OSError:
        return None
    return (found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, attributes)


def unmount(target: Path) -> None:
    """Take it away again; nothing happens where nothing is mounted."""
    if sys.platform == "linux" and os.path.ismount(target):
        ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(target), _DETACH)
