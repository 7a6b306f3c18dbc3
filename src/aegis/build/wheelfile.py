"""Reads a wheel into the files that pip would leave, and refuses the malicious ones; pure, over an open archive.

What is installed: the archive's files, scripts with a portable first line, console scripts, INSTALLER, bytecode where
it is given, and a RECORD of exactly that (PEP 376, PEP 427, the binary distribution format of the packaging guide).
Every file must be in the wheel's RECORD with a digest that holds; paths stay inside; what expands without measure is
refused before it is unpacked. Which wheel is taken is decided in `build.choose`.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import re
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, Final

from aegis.build.layers import Entry
from aegis.core.errors import ExternalError

_FLOOR: Final = 64 << 20  # bytes that any wheel may unpack to
_RATIO: Final = 150  # beyond the floor: unpacked bytes per packed byte; deflate reaches 1030 only for emptiness
_CEILING: Final = 8 << 30
_MEMBERS: Final = 100_000
_SHEBANG: Final = re.compile(rb"\A#!\s*python[w]?[^\n]*\n")
_UNSIGNED: Final = frozenset({"RECORD", "RECORD.jws", "RECORD.p7s"})
_SCRIPT: Final = """#!/usr/bin/env python3
import re
import sys
from {module} import {first}
if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    sys.exit({call}())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What a wheel leaves under `prefix`: its entries, its core metadata, and its unpacked size in bytes."""

    entries: tuple[Entry, ...]
    metadata: bytes
    size: int


@dataclass(slots=True)
class _Install:
    """A wheel that is being taken apart. `hashes` are RECORD's, `placed` maps installed paths to entries."""

    filename: str
    archive: zipfile.ZipFile
    info: str
    hashes: Mapping[str, str]
    placed: dict[str, Entry] = field(default_factory=dict)
    rows: dict[str, tuple[str, str]] = field(default_factory=dict)

    def refuse(self, what: str) -> ExternalError:
        return refused(self.filename, what)


def refused(filename: str, what: str) -> ExternalError:
    """The error for a wheel that must not be installed."""
    hint = "do not install it; report it to the index, and lock another version"
    return ExternalError("wheel-malformed", f"{filename} is not installed: {what}", hint=hint)


def read_wheel(filename: str, file: BinaryIO, *, prefix: str, bytecode: Mapping[str, bytes], tag: str) -> Installed:
    """The wheel's files under `prefix`. `bytecode` maps installed source paths (without prefix) to pyc files.

    Contents are read when an entry is, and verified then: `file` must stay open until the layer is written.
    """
    archive, infos = open_archive(filename, file)
    info = _info_folder(filename, infos)
    names = {one.filename for one in infos}
    for needed in ("RECORD", "WHEEL", "METADATA"):
        if f"{info}/{needed}" not in names:
            raise refused(filename, f"it has no {needed}")
    install = _Install(filename, archive, info, _recorded(filename, archive.read(f"{info}/RECORD")))
    _compare(install, names)
    for one in infos:
        if one.filename != f"{info}/RECORD":
            _place(install, one)
    _console_scripts(install)
    _add(install, f"{info}/INSTALLER", b"aegis\n")
    for source, pyc in sorted(bytecode.items()):
        if source in install.placed:
            folder, _, name = source.rpartition("/")
            path = f"{folder}/__pycache__/{name[:-3]}.{tag}.pyc".lstrip("/")
            install.placed[path] = Entry(path=path, read=partial(bytes, pyc))
            install.rows[path] = ("", "")
    _add(install, f"{info}/RECORD", _record(install))
    return Installed(
        entries=tuple(_under(prefix, one) for one in install.placed.values()),
        metadata=archive.read(f"{info}/METADATA"), size=sum(one.file_size for one in infos),
    )  # fmt: skip


def open_archive(filename: str, file: BinaryIO) -> tuple[zipfile.ZipFile, tuple[zipfile.ZipInfo, ...]]:
    """The archive and its files; `ExternalError` (`wheel-malformed`) for what must not be unpacked."""
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise refused(filename, f"it is no zip archive: {error}") from error
    infos = tuple(one for one in archive.infolist() if not one.filename.endswith("/"))
    if len(infos) > _MEMBERS:
        raise refused(filename, f"it holds {len(infos)} files")
    names = [one.filename for one in infos]
    if len(set(names)) != len(names):
        raise refused(filename, "it holds a file twice")
    for one in infos:
        if not is_inside(one.filename):
            raise refused(filename, f"the path {one.filename!r} leads out of the installation")
        if stat.S_ISLNK(one.external_attr >> 16):
            raise refused(filename, f"{one.filename} is a symbolic link")
        if one.flag_bits & 1:
            raise refused(filename, f"{one.filename} is encrypted")
    packed, unpacked = sum(one.compress_size for one in infos), sum(one.file_size for one in infos)
    if unpacked > min(_CEILING, max(_FLOOR, packed * _RATIO)):
        raise refused(filename, f"it would grow from {packed} to {unpacked} bytes")
    return archive, infos


def is_inside(path: str) -> bool:
    """Whether a path of an archive stays beneath where it is unpacked, on every system."""
    parts = path.split("/")
    return not (
        path.startswith("/") or "\\" in path or "\0" in path or ":" in parts[0]
        or any(part in {"", ".", ".."} for part in parts)
    )  # fmt: skip


# -- parts ------------------------------------------------------------------------------------------------


def _info_folder(filename: str, infos: tuple[zipfile.ZipInfo, ...]) -> str:
    stems = {
        folder for one in infos if (folder := one.filename.partition("/")[0]).endswith(".dist-info")
    }  # fmt: skip
    if len(stems) != 1:
        raise refused(filename, f"it has {len(stems)} .dist-info folders instead of one")
    found = stems.pop()
    wanted = filename.split("-")[:2]
    said = found.removesuffix(".dist-info").split("-")[:2]
    if _normal(wanted[0]) != _normal(said[0]):
        raise refused(filename, f"it holds {found}, which is another project")
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _recorded(filename: str, data: bytes) -> dict[str, str]:
    """Paths of RECORD with their digests (`sha256=…`)."""
    try:
        rows = [row for row in csv.reader(io.StringIO(data.decode())) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise refused(filename, f"its RECORD cannot be read: {error}") from error
    return {row[0]: row[1] if len(row) > 1 else "" for row in rows}


def _compare(install: _Install, names: set[str]) -> None:
    free = {f"{install.info}/{name}" for name in _UNSIGNED}
    unlisted = sorted(names - set(install.hashes) - free)
    if unlisted:
        raise install.refuse(f"{unlisted[0]} is not in its RECORD")
    absent = sorted(name for name in set(install.hashes) - names - free if not name.endswith("/"))
    if absent:
        raise install.refuse(f"its RECORD names {absent[0]}, which is not there")
    unhashed = sorted(
        name for name in names - free if not install.hashes[name].startswith(("sha256=", "sha384=", "sha512="))
    )
    if unhashed:
        raise install.refuse(f"its RECORD has no sha256 digest of {unhashed[0]}")


def _place(install: _Install, one: zipfile.ZipInfo) -> None:
    """Where a file of the archive goes (the `.data` folders of the format are spread), and how it is read."""
    read = _verified(install, one)
    path, executable = one.filename, bool((one.external_attr >> 16) & 0o111)
    data_folder = install.info.removesuffix(".dist-info") + ".data/"
    if path.startswith(data_folder):
        kind, _, rest = path.removeprefix(data_folder).partition("/")
        if not rest or kind not in {"purelib", "platlib", "scripts", "data", "headers"}:
            raise install.refuse(f"{path} is of no kind that the format knows")
        if kind == "scripts":
            _add(install, f"bin/{rest}", _SHEBANG.sub(b"#!/usr/bin/env python3\n", read()), executable=True)
            return
        path = f"include/{rest}" if kind == "headers" else rest
    if path in install.placed:
        raise install.refuse(f"two of its files would be {path}")
    install.placed[path] = Entry(path=path, read=read, executable=executable)
    install.rows[path] = (install.hashes[one.filename], str(one.file_size))


def _verified(install: _Install, one: zipfile.ZipInfo) -> Callable[[], bytes]:
    wanted = install.hashes.get(one.filename, "")
    if one.filename.rpartition("/")[2] in _UNSIGNED and not wanted:
        wanted = ""

    def read() -> bytes:
        try:
            data = install.archive.read(one)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
            raise install.refuse(f"{one.filename} cannot be unpacked: {error}") from error
        kind = wanted.partition("=")[0]
        if wanted and wanted != encoded(data, kind):
            raise install.refuse(f"{one.filename} is not what its RECORD says")
        return data

    return read


def encoded(data: bytes, kind: str = "sha256") -> str:
    """A digest as RECORD writes it."""
    raw = hashlib.new(kind, data).digest()
    return f"{kind}={base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"


def _add(install: _Install, path: str, data: bytes, *, executable: bool = False) -> None:
    install.placed[path] = Entry(path=path, read=partial(bytes, data), executable=executable)
    install.rows[path] = (encoded(data), str(len(data)))


class _CaseKept(configparser.RawConfigParser):
    """Names of scripts keep their case."""

    def optionxform(self, optionstr: str) -> str:
        """The name as it is written."""
        return optionstr


def _console_scripts(install: _Install) -> None:
    name = f"{install.info}/entry_points.txt"
    if name not in install.placed:
        return
    found = _CaseKept(delimiters=("=",), strict=False, comment_prefixes=("#", ";"))
    try:
        found.read_string(install.placed[name].read().decode())
    except (configparser.Error, UnicodeDecodeError) as error:
        raise install.refuse(f"its entry_points.txt cannot be read: {error}") from error
    for section in ("console_scripts", "gui_scripts"):
        for script, target in found.items(section) if found.has_section(section) else ():
            module, _, attribute = target.partition("[")[0].strip().partition(":")
            words = [*module.strip().split("."), *attribute.strip().split(".")]
            if "/" in script or script in {"", ".", ".."} or not all(word.isidentifier() for word in words):
                raise install.refuse(f"its script {script!r} = {target!r} is not one")
            text = _SCRIPT.format(module=module.strip(), first=attribute.split(".")[0].strip(), call=attribute.strip())
            _add(install, f"bin/{script}", text.encode(), executable=True)


def _record(install: _Install) -> bytes:
    out = io.StringIO()
    rows = [(path, *row) for path, row in install.rows.items()]
    csv.writer(out, lineterminator="\n").writerows(sorted([*rows, (f"{install.info}/RECORD", "", "")]))
    return out.getvalue().encode()


def _under(prefix: str, entry: Entry) -> Entry:
    return Entry(path=f"{prefix}/{entry.path}", read=entry.read, executable=entry.executable)


def python_sources(infos: tuple[zipfile.ZipInfo, ...]) -> Iterator[str]:
    """The modules of an archive that get bytecode."""
    yield from (one.filename for one in infos if one.filename.endswith(".py"))
