"""Unpacks the layers of an image into a directory, as the OCI image specification lays them over one another.

No name and no link of an archive leads outside: every parent is resolved below the root, links as they will mean inside. What
belongs to the machine stays behind: owners, set-user-id bits, extended attributes. Device nodes are refused except below
`/dev`, which every job gets anew. Bounded in bytes, entries and sizes of names.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Self, cast

from aegis.core.errors import ExternalError

MOST_BYTES: Final = 8 * 1024**3
MOST_ENTRIES: Final = 500_000
_MOST_HEADER: Final = 1 << 20
_LINKS: Final = 40
_CHUNK: Final = 1 << 20
_MARK: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_NAMES: Final = frozenset({tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK})


class _Member(tarfile.TarInfo):
    """An entry whose extended header cannot fill the memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """See `TarInfo`."""
        made = super().frombuf(buf, encoding, errors)
        if made.type in _NAMES and made.size > _MOST_HEADER:
            raise _unsafe("an entry", f"has a name or header of {made.size} bytes")
        return made


class Tree:
    """The directory that layers are unpacked into, one after another. Nobody else writes there meanwhile."""

    def __init__(self, root: Path, owner: tuple[int, int] | None = None) -> None:
        self._root = str(root)
        self._owner = owner
        self._bytes = 0
        self._entries = 0
        self._brought: set[str] = set()
        self._known: dict[str, str] = {}

    def add(self, layer: BinaryIO, media_type: str) -> None:
        """Lay a layer over what is there. `ExternalError` for what is unsafe, damaged or beyond all measure."""
        self._brought = set()
        try:
            with tarfile.open(fileobj=inflated(layer, media_type), mode="r|", tarinfo=_Member) as archive:
                for member in archive:
                    self._measure(member)
                    self._one(archive, member)
        except (tarfile.TarError, EOFError, ValueError, OverflowError, zlib.error) as error:
            raise ExternalError("image-broken", f"a layer cannot be read: {error}", hint="push it anew") from error

    def _measure(self, member: tarfile.TarInfo) -> None:
        self._bytes += max(member.size, 0)
        self._entries += 1
        if self._bytes > MOST_BYTES or self._entries > MOST_ENTRIES:
            raise ExternalError(
                "image-too-large", f"the image unpacks to more than {MOST_BYTES >> 30} GiB or {MOST_ENTRIES} entries"
            )

    def _one(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = _parts(member.name)
        if not parts:
            return
        folder = self._folder(parts[:-1], member.name)
        if parts[-1].startswith(_MARK):
            self._remove_lower(folder, parts[-1])
            return
        if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            if parts[0] == "dev":
                return
            raise _unsafe(member.name, "is a device or a pipe")
        path = f"{folder}/{parts[-1]}"
        self._make(archive, member, path)
        self._give(path)
        while path not in self._brought and len(path) > len(self._root):
            self._brought.add(path)
            path = path.rpartition("/")[0]

    def _make(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        found = _mode(path)
        if member.isdir():
            if found is None or not stat.S_ISDIR(found):
                self._clear(path, found)
                os.mkdir(path, 0o700)  # noqa: PTH102 - thousands of them
            os.chmod(path, (member.mode & 0o755) | 0o700)  # noqa: PTH101 - as above
            return
        source = self._source(member) if member.islnk() else ""
        if source == path:
            return
        self._clear(path, found)
        if member.issym():
            os.symlink(member.linkname, path)  # noqa: PTH211 - as above
        elif member.islnk():
            os.link(source, path, follow_symlinks=False)
        else:
            self._write(archive.extractfile(member), path, member)

    def _source(self, member: tarfile.TarInfo) -> str:
        """What a hard link names: a file of this image, never a directory, never anything outside."""
        parts = _parts(member.linkname)
        path = f"{self._folder(parts[:-1], member.name)}/{parts[-1]}" if parts else self._root
        found = _mode(path)
        if found is None or not (stat.S_ISREG(found) or stat.S_ISLNK(found)):
            raise _unsafe(member.name, f"is a link to {member.linkname[:200]!r}, which is no file of the image")
        return path

    def _write(self, content: IO[bytes] | None, path: str, member: tarfile.TarInfo) -> None:
        if content is None:
            raise _unsafe(member.name, "has no content")
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
            os.fchmod(file.fileno(), (member.mode & 0o755) | 0o600)
            file.flush()
            # Byte-compiled Python is only used where the source's time is the one it was made from.
            os.utime(file.fileno(), (max(member.mtime, 0), max(member.mtime, 0)))

    def _give(self, path: str) -> None:
        if self._owner is not None:
            os.chown(path, *self._owner, follow_symlinks=False)

    def _remove_lower(self, folder: str, mark: str) -> None:
        """`.wh.NAME` takes NAME of lower layers away, `.wh..wh..opq` all of them in its directory."""
        if mark == _OPAQUE:
            self._prune(folder)
            return
        name = mark.removeprefix(_MARK)
        if name in {"", ".", ".."} or "/" in name:
            raise _unsafe(mark, "removes nothing that has a name")
        self._clear_lower(f"{folder}/{name}")

    def _prune(self, folder: str) -> None:
        for name in os.listdir(folder):  # noqa: PTH208 - as above
            self._clear_lower(f"{folder}/{name}")

    def _clear_lower(self, path: str) -> None:
        """Take away what lower layers have there; what this layer brought stays."""
        found = _mode(path)
        if path not in self._brought:
            self._clear(path, found)
        elif found is not None and stat.S_ISDIR(found):
            self._prune(path)

    def _clear(self, path: str, found: int | None) -> None:
        if found is None:
            return
        self._known.clear()
        if stat.S_ISDIR(found):
            shutil.rmtree(path)
        else:
            os.unlink(path)  # noqa: PTH108 - as above

    def _folder(self, parts: list[str], name: str) -> str:
        """The directory that `parts` lead to inside the root, made where it is missing; links are followed as inside."""
        key = "/".join(parts)
        if key in self._known:
            return self._known[key]
        here, left, hops = self._root, list(parts), 0
        while left:
            part = left.pop(0)
            if part == "..":
                here = here if here == self._root else here.rpartition("/")[0]
                continue
            path = f"{here}/{part}"
            found = _mode(path)
            if found is not None and stat.S_ISLNK(found):
                hops += 1
                if hops > _LINKS:
                    raise _unsafe(name, "lies behind links that lead in a circle")
                target = os.readlink(path)  # noqa: PTH115 - as above
                here = self._root if target.startswith("/") else here
                left = [one for one in target.split("/") if one not in {"", "."}] + left
                continue
            if found is None:
                os.mkdir(path, 0o755)  # noqa: PTH102 - as above
                self._give(path)
            elif not stat.S_ISDIR(found):
                raise _unsafe(name, "lies below something that is no directory")
            here = path
        self._known[key] = here
        return here


def inside(root: Path, path: str) -> Path | None:
    """The file that an absolute path of the image means, links followed as inside; None where there is none."""
    here, left, hops = str(root), [one for one in path.split("/") if one], 0
    while left:
        part = left.pop(0)
        if part in {".", ".."}:
            here = here if part == "." or here == str(root) else here.rpartition("/")[0]
            continue
        found = _mode(f"{here}/{part}")
        if found is None:
            return None
        if not stat.S_ISLNK(found):
            here = f"{here}/{part}"
            continue
        hops += 1
        if hops > _LINKS:
            return None
        target = os.readlink(f"{here}/{part}")  # noqa: PTH115 - plain strings, as above
        here = str(root) if target.startswith("/") else here
        left = [one for one in target.split("/") if one] + left
    return Path(here)


def _mode(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _parts(name: str) -> list[str]:
    parts = [one for one in name.split("/") if one not in {"", "."}]
    if ".." in parts or "\0" in name:
        raise _unsafe(name, "leads out of the image")
    return parts


def inflated(layer: BinaryIO, media_type: str) -> IO[bytes]:
    """A layer as a plain archive."""
    if media_type.endswith("zstd"):
        import zstandard  # noqa: PLC0415 - layers are rarely packed so

        return cast("IO[bytes]", zstandard.ZstdDecompressor().stream_reader(layer, read_across_frames=True))
    if media_type.endswith("gzip"):
        from isal import igzip  # noqa: PLC0415 - start-up is a feature

        opened: Any = igzip.IGzipFile
        return cast("IO[bytes]", opened(fileobj=layer, mode="rb"))
    return layer


def _unsafe(name: str, why: str) -> ExternalError:
    return ExternalError("image-unsafe", f"{name[:200]} {why}: the image is refused", hint="build it anew without that")
