"""Reads a Debian package: pure, `bytes -> Package`. Nothing is run, paths stay inside, devices are refused.

Sources: deb(5), ar(5), deb-control(5). Where dpkg would unpack into `/bin`, `/lib` or `/sbin`, the files go beneath `/usr`, as
in every Debian since version 12.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from aegis.build.layers import Entry
from aegis.build.wheelfile import is_inside
from aegis.core.control import paragraphs
from aegis.core.errors import ExternalError

_LIMIT: Final = 2 << 30  # bytes that one package may unpack to
_ABOVE_USR: Final = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32"})
_MAGIC: Final = b"!<arch>\n"
_HEADER: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What a package holds: its control file, the digests that it states of its files, the entries it leaves.

    `newest` is the time (Unix seconds) of its youngest file.
    """

    name: str
    version: str
    control: bytes
    md5sums: bytes
    entries: tuple[Entry, ...]
    newest: int


def read_package(filename: str, data: bytes) -> Package:
    """The package; `ExternalError` (`deb-malformed`) for one that cannot be read whole, or must not be unpacked."""
    members = dict(_members(filename, data))
    control, contents = (_archive(filename, members, stem) for stem in ("control.tar", "data.tar"))
    held = {
        one.name.removeprefix("./"): _content(filename, control, one)
        for one in control.getmembers()
        if one.isfile() and one.name.removeprefix("./") in {"control", "md5sums"}
    }
    fields = next(paragraphs(held.get("control", b"").decode("utf-8", "replace")), {})
    if not fields.get("Package") or not fields.get("Version"):
        raise _refused(filename, "it has no control file")
    entries = tuple(_entries(filename, contents))
    newest = max((int(one.mtime) for one in contents.getmembers() if one.isfile()), default=0)
    return Package(
        name=fields["Package"], version=fields["Version"], control=held["control"], md5sums=held.get("md5sums", b""),
        entries=entries, newest=newest,
    )  # fmt: skip


def _refused(filename: str, what: str) -> ExternalError:
    hint = "do not use it; fetch it again from a mirror that you trust, or lock again"
    return ExternalError("deb-malformed", f"{filename} is not unpacked: {what}", hint=hint)


def _members(filename: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    if not data.startswith(_MAGIC):
        raise _refused(filename, "it is no Debian package")
    at = len(_MAGIC)
    while at + _HEADER <= len(data):
        header = data[at : at + _HEADER]
        size = header[48:58].strip()
        if header[58:] != b"`\n" or not size.isdigit():
            raise _refused(filename, "its archive is broken")
        start = at + _HEADER
        if start + int(size) > len(data):
            raise _refused(filename, "it is cut off")
        yield header[:16].strip().decode("ascii", "replace").rstrip("/"), data[start : start + int(size)]
        at = start + int(size) + int(size) % 2


def _archive(filename: str, members: dict[str, bytes], stem: str) -> tarfile.TarFile:
    name = next((one for one in members if one == stem or one.startswith(f"{stem}.")), "")
    if not name:
        raise _refused(filename, f"it has no {stem}")
    try:
        return tarfile.open(fileobj=io.BytesIO(_unpacked(name, members[name])), mode="r:")
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError, OSError) as error:
        raise _refused(filename, f"its {name} cannot be unpacked: {error}") from error


def _unpacked(name: str, data: bytes) -> bytes:
    """A member without its compression, at most `_LIMIT` bytes."""
    kind = name.rpartition(".")[2]
    if kind == "tar":
        return data
    if kind == "zst":
        import zstandard  # noqa: PLC0415 - Debian itself does not use it, its derivatives do

        with zstandard.ZstdDecompressor().stream_reader(data) as reader:
            made = reader.read(_LIMIT + 1)
    elif kind in {"xz", "lzma"}:
        made = lzma.LZMADecompressor(memlimit=512 << 20).decompress(data, _LIMIT + 1)
    elif kind == "gz":
        made = zlib.decompressobj(31).decompress(data, _LIMIT + 1)
    else:
        raise ValueError(f"{kind} is not known")
    if len(made) > _LIMIT:
        raise ValueError("it grows without measure")
    return made


def _entries(filename: str, contents: tarfile.TarFile) -> Iterator[Entry]:
    by_name = {_path(filename, one.name): one for one in contents.getmembers() if one.name.strip("./")}
    for path, member in by_name.items():
        if member.isdir():
            special = member.mode & 0o7777 if member.mode & 0o7777 != 0o755 else 0
            yield Entry(path=f"{path}/", mode=special & 0o1777)
        elif member.issym():
            yield Entry(path=path, link=member.linkname)
        elif member.isfile() or member.islnk():
            target = by_name.get(_path(filename, member.linkname)) if member.islnk() else member
            if target is None or not target.isfile():
                raise _refused(filename, f"{path} is a link to nothing in it")
            # Nobody becomes somebody else in a service's image: set-user-id bits are dropped.
            yield Entry(path=path, read=partial(_content, filename, contents, target), mode=target.mode & 0o777)
        else:
            raise _refused(filename, f"{path} is a device or a pipe")


def _path(filename: str, name: str) -> str:
    path = name.removeprefix("./").rstrip("/")
    if not is_inside(path) and not ("\\" in path and is_inside(path.replace("\\", "_"))):
        raise _refused(filename, f"the path {name!r} leads out of the image")
    return f"usr/{path}" if path.partition("/")[0] in _ABOVE_USR else path


def _content(filename: str, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        raise _refused(filename, f"{member.name} cannot be read")
    return file.read()
