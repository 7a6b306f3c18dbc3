"""What a job leaves and what the next one gets: choosing files by GitLab's patterns, writing those of an archive.

How files are stored is decided by `parcel`; here are read the zip files of remote runners. A job is not trusted: nothing outside the
work tree is ever read for it or written by it, whatever links it made. No process of the job may be alive while these
run (the supervisor sees to that).
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final

from aegis.core.errors import UserError
from aegis.core.values import dataclass

_MAGIC: Final = frozenset("*?[{")
_NAMES_FAULT: Final = frozenset(
    {errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EEXIST, errno.EINVAL, errno.ELOOP}
)
"""Errors of writing that come from the names in an archive and not from the disk."""
_CHUNK: Final = 1024 * 1024
UNPACKED_LIMIT: Final = 16 * 1024 * 1024 * 1024
ENTRIES_LIMIT: Final = 2_000_000
"""How many files an archive may hold: each costs memory before the first is read."""
_ENTRY_SIZE: Final = 46
"""Bytes of the directory of a zip per entry, at the least (APPNOTE.TXT 4.3.12)."""
_LINK_SIZE: Final = 4096
_NAME_SIZE: Final = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The files that patterns chose, relative and sorted, and sentences for the log about what was not taken."""

    files: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def pattern(glob: str) -> re.Pattern[str]:
    """GitLab's (doublestar's) pattern as a regular expression over `/`-separated relative paths."""
    return re.compile(_translate(glob), re.DOTALL)


def _translate(glob: str) -> str:
    out: list[str] = []
    at = 0
    while at < len(glob):
        if glob.startswith("**/", at):
            out.append("(?:[^/]+/)*")
            at += 3
        elif glob.startswith("**", at):
            out.append(".*")
            at += 2
        elif glob[at] == "*":
            out.append("[^/]*")
            at += 1
        elif glob[at] == "?":
            out.append("[^/]")
            at += 1
        elif glob[at] == "[" and "]" in glob[at + 2 :]:
            end = glob.index("]", at + 2)
            body = glob[at + 1 : end].replace("\\", "\\\\")
            out.append(f"[^{body[1:]}]" if body[0] in "!^" else f"[{body}]")
            at = end + 1
        elif glob[at] == "{" and "}" in glob[at:]:
            end = glob.index("}", at)
            out.append("(?:" + "|".join(_translate(one) for one in glob[at + 1 : end].split(",")) + ")")
            at = end + 1
        else:
            out.append(re.escape(glob[at]))
            at += 1
    return "".join(out)


def choose(root: Path, globs: Sequence[str], *, exclude: Sequence[str] = (), extra: Iterable[str] = ()) -> Chosen:
    """The files under `root` that `globs` name, without those that `exclude` names; `extra` are added as they are.

    A pattern that names a directory takes all that is in it. A pattern that leads outside, and a link whose target
    lies outside, is refused with a warning; devices, sockets and pipes are left out with one.
    """
    base = Path(os.path.realpath(root))
    found: dict[str, None] = {}
    warnings: list[str] = []
    for glob in globs:
        clean = os.path.normpath(glob.strip().removeprefix("./")) if glob.strip() else ""
        if not clean or clean.startswith(("/", "..")):
            warnings.append(f"{glob}: refused, since it leads outside the work tree")
            continue
        before = len(found)
        for name in _matching(base, clean):
            found[name] = None
        if len(found) == before:
            warnings.append(f"{glob}: no matching files")
    found.update(dict.fromkeys(extra))
    out = [pattern(one.removeprefix("./")) for one in exclude]
    kept: list[str] = []
    for name in sorted(found):
        if any(one.fullmatch(name) for one in out):
            continue
        trouble = _trouble(base, name)
        if trouble:
            warnings.append(f"{shown(name)}: {trouble}")
        else:
            kept.append(name)
    return Chosen(files=tuple(kept), warnings=tuple(warnings))


def shown(name: str) -> str:
    """A file's name for people: what moves a cursor or is not UTF-8 is written out."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def one_name(wanted: str) -> str:
    """The name of an archive: one that stays in one line and one directory, wherever the archive is put."""
    name = "".join(one if one.isprintable() and one not in '/\\"' else "-" for one in wanted)
    return name[:_NAME_SIZE].strip(". ") or "artifacts"


def _matching(base: Path, glob: str) -> Iterator[str]:
    parts = glob.split("/")
    fixed = []
    for part in parts:
        if _MAGIC & set(part):
            break
        fixed.append(part)
    start = base.joinpath(*fixed)
    if len(fixed) == len(parts):
        if start.is_dir() and not start.is_symlink():
            yield from walk(base, start)
        elif start.is_symlink() or start.exists():
            yield glob
        return
    if not start.is_dir() or not _inside(base, start):
        return
    wanted = pattern(glob)
    directories: list[str] = []
    for name, directory in _entries(base, start):
        # A matching directory stands for everything in it; its files follow it in the walk.
        if wanted.fullmatch(name):
            if directory:
                directories.append(name + "/")
            else:
                yield name
        elif not directory and any(name.startswith(one) for one in directories):
            yield name


def walk(base: Path, start: Path) -> Iterator[str]:
    """Every file and link below `start`, relative to `base`; links are not followed."""
    if _inside(base, start):
        yield from (name for name, directory in _entries(base, start) if not directory)


def _entries(base: Path, start: Path) -> Iterator[tuple[str, bool]]:
    stack = [start]
    while stack:
        directory = stack.pop()
        below: list[Path] = []
        with _scanned(directory) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                relative = os.path.relpath(entry.path, base)
                if entry.is_dir(follow_symlinks=False):
                    yield relative, True
                    below.append(Path(entry.path))
                else:
                    yield relative, False
        stack.extend(reversed(below))


def _scanned(directory: Path) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
    try:
        return os.scandir(directory)
    except OSError as error:
        name = shown(str(directory))
        raise UserError(
            "tree-unreadable", f"{name[:100]}… cannot be looked through: {error.strerror}", hint="narrow the paths"
        ) from error


def _inside(base: Path, path: Path) -> bool:
    real = Path(os.path.realpath(path))
    return real == base or base in real.parents


def _trouble(base: Path, name: str) -> str:
    path = base / name
    try:
        name.encode()
    except UnicodeEncodeError:
        return "left out, since its name is not UTF-8"
    if not _inside(base, path.parent):
        return "refused, since a link on its way leads outside the work tree"
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if stat.S_ISLNK(mode):
        return "" if _inside(base, path) else "refused, since this link leads outside the work tree"
    return "" if stat.S_ISREG(mode) else "left out, since it is not a file"


def open_file(path: Path) -> BinaryIO:
    """A regular file for reading, never through a link at its end."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


def unpack(source: BinaryIO, root: Path, *, limit: int = UNPACKED_LIMIT) -> tuple[str, ...]:
    """Write an archive's files under `root`, over what is there; their names.

    `UserError` for a name or a link that leads outside, for more than `limit` bytes, and for whatever else cannot be
    unpacked: nothing of that entry is written, what came before it stays.
    """
    target = Target(root)
    written: list[str] = []
    left = limit
    try:
        _check_entries(source)
        with zipfile.ZipFile(source) as archive:
            for info in archive.infolist():
                left -= info.file_size
                if left < 0:
                    raise UserError("archive-too-large", f"the archive holds more than {limit} bytes")
                if info.is_dir():
                    continue
                mode = info.external_attr >> 16
                if stat.S_ISLNK(mode):
                    if info.file_size > _LINK_SIZE:
                        told = f"the link {shown(info.filename)} has a target of {info.file_size} bytes"
                        raise UserError("archive-broken", told)
                    target.link(info.filename, archive.read(info))
                else:
                    with archive.open(info) as packed:
                        target.file(
                            info.filename, iter(lambda: packed.read(_CHUNK), b""), executable=bool(mode & 0o111)
                        )
                written.append(info.filename)
    except zipfile.BadZipFile as error:
        raise UserError("archive-broken", f"not a zip archive: {error}") from error
    except (zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error) as error:
        # Encrypted, cut off, packed in a way nobody here knows, with names that are none.
        raise UserError("archive-broken", f"the archive cannot be unpacked: {error}") from error
    except OSError as error:
        if error.errno not in _NAMES_FAULT:
            raise
        name = shown(str(error.filename or ""))[-100:]
        raise UserError("archive-clashes", f"{name} cannot be written: {error.strerror}") from error
    return tuple(written)


def _check_entries(source: BinaryIO) -> None:
    """`UserError` for a directory of more entries than are allowed, before it is read into memory."""
    size = source.seek(0, os.SEEK_END)
    source.seek(max(0, size - 65557 - 76))
    tail = source.read()
    source.seek(0)
    at, long = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
    if at < 0 or len(tail) < at + 22:
        return
    held = int.from_bytes(tail[at + 12 : at + 16], "little")
    if held == 0xFFFFFFFF and 0 <= long <= len(tail) - 48:
        held = int.from_bytes(tail[long + 40 : long + 48], "little")
    if held > ENTRIES_LIMIT * 2 * _ENTRY_SIZE:
        raise UserError("archive-too-large", f"the archive's directory has {held} bytes: too many files")


class Target:
    """A work tree that an archive is written to. `UserError` for what leads outside; nothing of it is written then."""

    def __init__(self, root: Path) -> None:
        self._base = Path(os.path.realpath(root))
        self._written: list[Path] = []

    def undo(self) -> None:
        """Take away what was written."""
        for path in self._written:
            path.unlink(missing_ok=True)

    def file(self, name: str, pieces: Iterable[bytes | memoryview], *, executable: bool) -> None:
        """Write a file in the place of a file or link that is there."""
        path = self._free(name)
        permissions = 0o755 if executable else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, permissions), "wb") as file:
            for piece in pieces:
                file.write(piece)
        path.chmod(permissions)

    def link(self, name: str, content: bytes) -> None:
        """Make a symbolic link, whose target lies inside."""
        path = self._free(name)
        target = os.fsdecode(content)
        if not _inside(self._base, path.parent / target):
            raise UserError("archive-escapes", f"the link {name!r} leads outside the work tree")
        path.symlink_to(target)

    def _free(self, name: str) -> Path:
        clean = os.path.normpath(name)
        if clean.startswith(("/", "..")) or clean == ".":
            raise UserError("archive-escapes", f"{name!r} leads outside the work tree")
        path = self._base / clean
        if not _inside(self._base, path.parent):
            raise UserError("archive-escapes", f"{name!r} leads outside the work tree through a link")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.is_file():
            path.unlink()
        self._written.append(path)
        return path
