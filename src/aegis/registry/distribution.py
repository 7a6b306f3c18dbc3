"""What a wheel or sdist says of itself: pure readers `seekable file -> PackageFacts`.

The metadata inside the file counts; what an upload form claims is only compared with it. A file that cannot be
read, has no metadata, or disagrees with its own name is refused, and so is one that would hurt who unpacks it: members
outside its own tree, a RECORD that is not what the wheel holds, contents that expand without measure.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from typing import IO, Final

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from aegis.core.errors import UserError

_METADATA_LIMIT: Final = 4 * 1024 * 1024
_MEMBERS_LIMIT: Final = 100_000
_EXPANDED_LIMIT: Final = 16 * 1024**3
_EXPANDED_FREELY: Final = 256 * 1024**2  # bytes up to which nobody asks how well something was compressed
_EXPANDED_RATIO: Final = 200
_PIECE: Final = 1024 * 1024
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_UNRECORDED: Final = ("RECORD", "RECORD.jws", "RECORD.p7s")

Read = Callable[[int, int], Iterator[bytes]]
"""Offset and length to chunks: a blob's content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFacts:
    """Normalised name, version in its normal form, and the core metadata as it stands in the file."""

    project: str
    version: str
    requires_python: str
    metadata: bytes
    is_wheel: bool


class Content(io.RawIOBase):
    """A seekable, read-only file over content that is read by ranges."""

    def __init__(self, read: Read, size: int) -> None:
        super().__init__()
        self._read = read
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, within what `io` allows."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: object) -> int:
        """Fill the buffer from the present position."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        wanted = min(len(view), max(0, self._size - self._at))
        filled = 0
        for chunk in self._read(self._at, wanted):
            view[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        self._at += filled
        return filled


def file_name_facts(filename: str) -> tuple[str, str, bool]:
    """Normalised name, version and whether it is a wheel, from a file's name; `UserError` for any other file."""
    try:
        if filename.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(filename)
            return str(name), str(version), True
        if filename.endswith((".tar.gz", ".zip")):
            sdist, version = parse_sdist_filename(filename)
            return str(sdist), str(version), False
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion) as error:
        raise _invalid(str(error)) from error
    raise _invalid(f"{filename[:120]!r} is neither a wheel nor an sdist")


def read_distribution(filename: str, content: IO[bytes]) -> PackageFacts:
    """The facts of a wheel or sdist; `UserError` (`package-invalid`) when they do not fit its name or one another."""
    name, version, is_wheel = file_name_facts(filename)
    if "/" in filename or "\\" in filename or filename.startswith("."):
        raise _invalid(f"{filename!r} is not a plain file name")
    packed = content.seek(0, io.SEEK_END)
    content.seek(0)
    try:
        if is_wheel or filename.endswith(".zip"):
            metadata = _from_zip(content, packed, "METADATA" if is_wheel else "PKG-INFO", name, version)
        else:
            metadata = _from_tar(content, packed)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise _invalid(f"{filename} cannot be read: {error}") from error
    headers = HeaderParser().parsestr(metadata.decode("utf-8", "replace"))
    said = canonicalize_name(headers.get("Name", ""))
    if said != name:
        raise _invalid(f"{filename} says inside that it is {said or 'nothing'}")
    try:
        inside = str(Version(headers.get("Version", "")))
    except InvalidVersion as error:
        raise _invalid(f"{filename}: {error}") from error
    if inside != version:
        raise _invalid(f"{filename} says inside that its version is {inside}")
    return PackageFacts(
        project=name, version=version, requires_python=(headers.get("Requires-Python") or "").strip(),
        metadata=metadata, is_wheel=is_wheel,
    )  # fmt: skip


def _from_zip(content: IO[bytes], packed: int, wanted: str, name: str, version: str) -> bytes:
    with zipfile.ZipFile(content) as archive:
        members = archive.infolist()
        _bounded(len(members), sum(one.file_size for one in members), packed)
        seen: set[str] = set()
        for member in members:
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _invalid(f"{member.filename[:120]!r} is a symbolic link")
            _inside(member.filename)
            if member.filename in seen:
                raise _invalid(f"{member.filename[:120]!r} is in it twice")
            seen.add(member.filename)
        found = next((one for one in members if _is_metadata(one.filename, wanted, name, version)), None)
        if found is None:
            raise _invalid(f"it has no {wanted}")
        if found.file_size > _METADATA_LIMIT:
            raise _invalid(f"its {wanted} is larger than {_METADATA_LIMIT} bytes")
        if wanted == "METADATA":
            _check_record(archive, members, found.filename.partition("/")[0])
        return archive.read(found)


def _is_metadata(path: str, wanted: str, name: str, version: str) -> bool:
    parts = path.split("/")
    return parts[-1] == wanted and len(parts) == 2 and _belongs(parts[0], wanted, name, version)


def _check_record(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: str) -> None:
    """The wheel holds what its RECORD lists, byte for byte, and nothing else (binary distribution format)."""
    by_name = {one.filename: one for one in members if not one.is_dir()}
    record = by_name.get(f"{folder}/RECORD")
    if record is None or record.file_size > 64 * 1024 * 1024:
        raise _invalid("it has no RECORD that can be read")
    listed: dict[str, tuple[str, str]] = {}
    for row in csv.reader(io.StringIO(archive.read(record).decode("utf-8", "replace"))):
        if row:
            listed[row[0]] = (row[1], row[2]) if len(row) == 3 else ("", "")
    free = {f"{folder}/{one}" for one in _UNRECORDED}
    if missing := sorted(set(listed) - set(by_name) - free):
        raise _invalid(f"its RECORD lists {missing[0][:120]!r}, which is not in it")
    for path, member in by_name.items():
        if path in free:
            continue
        if path not in listed:
            raise _invalid(f"{path[:120]!r} is not in its RECORD")
        algorithm, _, said = listed[path][0].partition("=")
        if algorithm not in ("sha256", "sha384", "sha512"):
            raise _invalid(f"its RECORD has no proper hash of {path[:120]!r}")
        if _hash_of(archive, member, algorithm) != _unpadded(said):
            raise _invalid(f"{path[:120]!r} is not what its RECORD says")


def _hash_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo, algorithm: str) -> bytes:
    hashed = hashlib.new(algorithm)
    with archive.open(member) as file:
        while piece := file.read(_PIECE):
            hashed.update(piece)
    return hashed.digest()


def _unpadded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except (binascii.Error, ValueError):
        return b""


def _bounded(members: int, expanded: int, packed: int) -> None:
    if members > _MEMBERS_LIMIT:
        raise _invalid("the archive has too many members")
    if expanded > _EXPANDED_LIMIT or (expanded > _EXPANDED_FREELY and expanded > packed * _EXPANDED_RATIO):
        raise _invalid(f"its {packed} bytes would expand to {expanded}")


def _inside(path: str) -> None:
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or "\0" in path or ".." in parts or _DRIVE.match(path):
        raise _invalid(f"{path[:120]!r} would be written outside of where it is unpacked")


def _belongs(folder: str, wanted: str, name: str, version: str) -> bool:
    if wanted == "PKG-INFO":
        return True
    stem, _, suffix = folder.rpartition(".")
    found, _, said = stem.partition("-")
    if suffix != "dist-info" or canonicalize_name(found) != name:
        return False
    try:
        return str(Version(said)) == version
    except InvalidVersion:
        return False


def _from_tar(content: IO[bytes], packed: int) -> bytes:
    found: bytes | None = None
    expanded = 0
    with tarfile.open(fileobj=content, mode="r:gz") as archive:
        for count, member in enumerate(archive, 1):
            expanded += member.size
            _bounded(count, expanded, packed)
            _inside(member.name)
            if member.islnk() or member.issym():
                _inside_link(member)
            elif not (member.isfile() or member.isdir()):
                raise _invalid(f"{member.name[:120]!r} is neither a file nor a folder")
            parts = member.name.removeprefix("./").split("/")
            if found is None and len(parts) == 2 and parts[1] == "PKG-INFO" and member.isfile():
                if member.size > _METADATA_LIMIT:
                    raise _invalid(f"its PKG-INFO is larger than {_METADATA_LIMIT} bytes")
                file = archive.extractfile(member)
                found = file.read() if file else b""
    if found is None:
        raise _invalid("it has no PKG-INFO")
    return found


def _inside_link(member: tarfile.TarInfo) -> None:
    """Where a link leads stays within the first folder of the archive."""
    start = [] if member.islnk() else member.name.removeprefix("./").split("/")[:-1]
    depth = len(start)
    for part in member.linkname.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 1:
            raise _invalid(f"the link {member.name[:120]!r} leads outside of where it is unpacked")
    if member.linkname.startswith("/") or "\\" in member.linkname:
        raise _invalid(f"the link {member.name[:120]!r} leads outside of where it is unpacked")


def _invalid(message: str) -> UserError:
    return UserError("package-invalid", message, hint="build it again, for example with `aegis wheel build`")
