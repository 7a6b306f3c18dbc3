"""`AdvisorySource` from a directory, an archive (tar with gzip, bzip2 or xz; zip), or a bundle that was fetched.

Archives are untrusted: sizes and counts are bounded, nothing is written to the disk, links are passed over. What goes
beyond a bound fails the whole source: a part of the advisories must not look like all of them.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from aegis.core.errors import ExternalError, NotFound

_ENDINGS: Final = (".yaml", ".yml", ".json")
_FILE_LIMIT: Final = 8 * 1024 * 1024
_TOTAL_LIMIT: Final = 512 * 1024 * 1024
_COUNT_LIMIT: Final = 1_000_000
_END_MARK: Final = 1024


class DirectoryAdvisories:
    """Advisories under a directory, or in the archive or single file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file; `NotFound` where nothing is at the path."""
        if self._path.is_dir():
            return self._directory()
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            raise NotFound(
                "advisories-missing",
                f"there are no advisories at {self._path}",
                hint="name a directory or archive in OSV form: --advisories PATH, or AEGIS_ADVISORIES",
            ) from None
        except OSError as error:
            raise ExternalError("advisories-unreadable", f"{self._path}: {error.strerror}") from error
        return BundledAdvisories(data, self._path.name).files()

    def _directory(self) -> Iterator[tuple[str, bytes]]:
        bounds = _Bounds()
        for folder, folders, names in os.walk(self._path):
            folders[:] = sorted(name for name in folders if name != ".git")
            for name in sorted(names):
                path = Path(folder, name)
                if not name.endswith(_ENDINGS) or path.is_symlink():
                    continue
                try:
                    bounds.take(str(path), path.stat().st_size)
                    data = path.read_bytes()
                except OSError as error:
                    raise ExternalError("advisories-unreadable", f"{path}: {error.strerror}") from error
                yield path.relative_to(self._path).as_posix(), data


class BundledAdvisories:
    """Advisories in the bytes of an archive, or of one JSON or YAML file."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file; `ExternalError` when the archive is broken or too large."""
        if self._data[:4] == b"PK\x03\x04":
            return self._zip()
        if self._name.endswith(_ENDINGS) or self._data.lstrip()[:1] == b"{":
            return iter(((self._name, self._data),))
        return self._tar()

    def _tar(self) -> Iterator[tuple[str, bytes]]:
        bounds = _Bounds()
        try:
            raw = self._unpacked()
            with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
                for member in archive:
                    bounds.take(member.name, member.size)
                    if member.isfile() and member.name.endswith(_ENDINGS):
                        content = archive.extractfile(member)
                        if content is not None:
                            yield member.name, content.read()
        except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
            raise self._broken(error) from error
        # Cut off between two members an archive still reads well; only its end mark says that it is whole.
        if raw[-_END_MARK:].strip(b"\0"):
            raise self._broken("its end is missing")

    def _unpacked(self) -> bytes:
        """The plain archive; the decompressors fail where the stream is cut off."""
        packed = io.BytesIO(self._data)
        opened: BinaryIO
        if self._data.startswith(b"\xfd7zXZ"):
            opened = cast("BinaryIO", lzma.LZMAFile(packed))  # noqa: SIM115 - closed below, whichever it is
        elif self._data.startswith(b"\x1f\x8b"):
            opened = cast("BinaryIO", gzip.GzipFile(fileobj=packed))
        elif self._data.startswith(b"BZh"):
            opened = cast("BinaryIO", bz2.BZ2File(packed))
        else:
            return self._data
        with opened:
            raw = opened.read(_TOTAL_LIMIT + 1)
        if len(raw) > _TOTAL_LIMIT:
            raise _too_large(self._name)
        return raw

    def _broken(self, why: object) -> ExternalError:
        return ExternalError(
            "advisories-archive",
            f"{self._name} is no archive that can be read whole: {why}",
            hint="give a tar archive (plain, gz, bz2, xz), a zip archive or a directory",
        )

    def _zip(self) -> Iterator[tuple[str, bytes]]:
        bounds = _Bounds()
        try:
            with zipfile.ZipFile(io.BytesIO(self._data)) as archive:
                for member in archive.infolist():
                    bounds.take(member.filename, member.file_size)
                    if not member.is_dir() and member.filename.endswith(_ENDINGS):
                        yield member.filename, archive.read(member)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise self._broken(error) from error


class _Bounds:
    """Counts what a source gives, and fails it beyond the limits."""

    def __init__(self) -> None:
        self._files = 0
        self._bytes = 0

    def take(self, name: str, size: int) -> None:
        self._files += 1
        self._bytes += size
        if size > _FILE_LIMIT or self._bytes > _TOTAL_LIMIT or self._files > _COUNT_LIMIT:
            raise _too_large(name)


def _too_large(name: str) -> ExternalError:
    return ExternalError(
        "advisories-too-large",
        f"the advisories go beyond their bounds at {name}",
        hint=f"{_FILE_LIMIT} bytes a file, {_TOTAL_LIMIT} bytes and {_COUNT_LIMIT} files in all are read",
    )
