# Thousands of files: hence plain `os`.
# ruff: noqa: PTH102, PTH108, PTH112, PTH114, PTH115, PTH208, PTH211
"""A copy of a working tree's tracked files that stays from one run to the next and is brought up to date.

Making and removing thousands of files costs more than everything else of a short run; comparing what is known of them costs next
to nothing. A file counts as unchanged when type, size, times and inode of the original and of the copy are those that were
noted when it was copied; whatever happened within two seconds of its copying is not believed. After a restart of the machine
nothing is believed. One run at a time has the copy: another one that comes meanwhile makes its own.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from aegis.execution.supervise.places import remove

_FORM: Final = 1
_RACY_NS: Final = 2_000_000_000
_BLOCK: Final = 1 << 20
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_GIT: Final = ".git"

_Seen = tuple[int, ...]
"""Mode, size, modification and change time in nanoseconds, inode, device."""


class KeptTree:
    """The copy in `folder`, which is made when it is not there. `owner` gets the files of the copy.

    Call `take` first: without its True nothing else may be called. `close` gives the copy back.
    """

    def __init__(self, folder: Path, owner: tuple[int, int] | None) -> None:
        self.path = folder / "files"
        self._folder = folder
        self._notes = folder / "notes"
        self._owner = owner
        self._lock = -1

    def take(self) -> bool:
        """Whether the copy is this process's now, until `close`."""
        if sys.platform == "win32" or not _BOOT.exists():
            return False
        import fcntl  # noqa: PLC0415 - not on Windows

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def close(self) -> None:
        """Let another run have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def update(self, tree: Path, names: Sequence[str]) -> int:
        """Make the copy what `names` are in `tree` now; how many files that is. Missing names are left out."""
        key = [_FORM, _BOOT.read_text(encoding="ascii"), os.fsencode(tree), self._owner]
        noted = self._noted(key)
        # Whoever is killed from here on leaves a copy that nobody believes.
        self._notes.unlink(missing_ok=True)
        if noted is None:
            if self.path.exists():
                remove(self.path)
            self.path.mkdir(mode=0o755)
            noted = {}
        files = self._renewed(os.fspath(tree), names, noted)
        self._write(key, files)
        return len(files)

    def _renewed(self, tree: str, names: Sequence[str], noted: dict[str, tuple[_Seen, _Seen]]) -> dict[str, Any]:
        copy, made = os.fspath(self.path), set[str]()
        files: dict[str, tuple[_Seen, _Seen]] = {}
        for name in dict.fromkeys(names):
            source = f"{tree}/{name}"
            found = seen(source)
            if found is None or not (stat.S_ISREG(found[0]) or stat.S_ISLNK(found[0])):
                continue
            known = noted.get(name)
            if known is not None and known[0] == found and not _racy(known[0], known[1]):
                files[name] = known
                continue
            target = f"{copy}/{name}"
            parent = name.rpartition("/")[0]
            if parent not in made:
                self._parents(parent)
                made.add(parent)
            if known is not None or os.path.lexists(target):
                _clear(target)
            copy_file(source, target, self._owner)
            files[name] = (found, seen(target) or found)
        self._drop(noted.keys() - files.keys())
        return files

    def _parents(self, parent: str) -> None:
        """The directories of a file, each of them the owner's; a file that is in the way goes."""
        path = os.fspath(self.path)
        for part in parent.split("/") if parent else ():
            path += f"/{part}"
            found = seen(path)
            if found is not None and stat.S_ISDIR(found[0]):
                continue
            if found is not None:
                os.unlink(path)
            os.mkdir(path, 0o755)
            if self._owner is not None:
                os.chown(path, *self._owner)

    def _drop(self, names: Iterable[str]) -> None:
        """Remove what is tracked no longer, and the directories that are empty then."""
        for name in names:
            target = self.path / name
            with contextlib.suppress(OSError):
                # Not where the name has become a directory.
                target.unlink()
            for parent in target.parents:
                if parent == self.path:
                    break
                try:
                    parent.rmdir()
                except OSError:
                    break

    def _folders(self) -> dict[str, _Seen]:
        """What is known of the copy's directories: a name that comes or goes changes the one it is in."""
        root = os.fspath(self.path)
        found: dict[str, _Seen] = {}
        for folder, directories, _ in os.walk(root):
            if folder == root and _GIT in directories:
                directories.remove(_GIT)
            known = seen(folder)
            if known is not None:
                found[folder[len(root) :]] = known
        # What Git keeps is looked after by itself, and changes the topmost directory's times.
        found.pop("", None)
        return found

    def _noted(self, key: list[Any]) -> dict[str, tuple[_Seen, _Seen]] | None:
        """What was noted at the last run, if the copy is still what it was then."""
        try:
            said, files, folders, top = marshal.loads(self._notes.read_bytes())  # noqa: S302 - written below, 0600
        except (OSError, ValueError, EOFError, TypeError):
            return None
        if said != key or top != sorted(set(os.listdir(self.path)) - {_GIT}) or folders != self._folders():
            return None
        copy = os.fspath(self.path)
        known: dict[str, tuple[_Seen, _Seen]] = files
        return known if all(seen(f"{copy}/{name}") == one[1] for name, one in known.items()) else None

    def _write(self, key: list[Any], files: dict[str, Any]) -> None:
        top = sorted(set(os.listdir(self.path)) - {_GIT})
        data = marshal.dumps([key, files, self._folders(), top])
        fresh = self._folder / "notes.new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
        fresh.replace(self._notes)


def seen(path: str) -> _Seen | None:
    """What tells a file from a changed one; None where there is none."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def _racy(original: _Seen, copy: _Seen) -> bool:
    """Whether the original was changed so shortly before it was copied that a later change may have the same times."""
    return original[3] > copy[3] - _RACY_NS


def _clear(target: str) -> None:
    """Make place for a file."""
    if os.path.isdir(target) and not os.path.islink(target):
        shutil.rmtree(target)
        return
    os.unlink(target)


def copy_file(source: str, target: str, owner: tuple[int, int] | None) -> None:
    """Copy a file or link to where none is, with its permissions and modification time, for `owner`."""
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        if owner is not None:
            os.chown(target, *owner, follow_symlinks=False)
        return
    read = os.open(source, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    try:
        found = os.fstat(read)
        write = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            while data := os.read(read, _BLOCK):
                view = memoryview(data)
                while view:
                    view = view[os.write(write, view) :]
            if owner is not None:
                os.fchown(write, *owner)
            os.fchmod(write, stat.S_IMODE(found.st_mode))
            os.utime(write, ns=(found.st_atime_ns, found.st_mtime_ns))
        finally:
            os.close(write)
    finally:
        os.close(read)
