"""What a wheel or sdist says of itself: pure readers `seekable file -> PackageFacts`.

The metadata inside the file counts; what an upload form claims is only compared with it. A file that cannot be
read, has no metadata, or disagrees with its own name is refused.
"""

from __future__ import annotations

import io
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
    try:
        if is_wheel or filename.endswith(".zip"):
            metadata = _from_zip(content, "METADATA" if is_wheel else "PKG-INFO", name, version)
        else:
            metadata = _from_tar(content)
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


def _from_zip(content: IO[bytes], wanted: str, name: str, version: str) -> bytes:
    with zipfile.ZipFile(content) as archive:
        members = archive.infolist()
        if len(members) > _MEMBERS_LIMIT:
            raise _invalid("the archive has too many members")
        for member in members:
            parts = member.filename.split("/")
            if parts[-1] == wanted and len(parts) == 2 and _belongs(parts[0], wanted, name, version):
                if member.file_size > _METADATA_LIMIT:
                    raise _invalid(f"its {wanted} is larger than {_METADATA_LIMIT} bytes")
                return archive.read(member)
    raise _invalid(f"it has no {wanted}")


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


def _from_tar(content: IO[bytes]) -> bytes:
    with tarfile.open(fileobj=content, mode="r:gz") as archive:
        for count, member in enumerate(archive):
            if count > _MEMBERS_LIMIT:
                raise _invalid("the archive has too many members")
            parts = member.name.removeprefix("./").split("/")
            if len(parts) == 2 and parts[1] == "PKG-INFO" and member.isfile():
                if member.size > _METADATA_LIMIT:
                    raise _invalid(f"its PKG-INFO is larger than {_METADATA_LIMIT} bytes")
                file = archive.extractfile(member)
                return file.read() if file else b""
    raise _invalid("it has no PKG-INFO")


def _invalid(message: str) -> UserError:
    return UserError("package-invalid", message, hint="build it again, for example with `aegis wheel build`")
