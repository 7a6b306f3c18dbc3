"""Which packages lie in an image's layers: Python's metadata and Debian's package database, read from the tars themselves.

Pure, over streams. A layer is read once, whatever lies above it; `packages` joins layers as an overlay does, so that
what a later layer removed or replaced is not counted. Sources: core metadata, dpkg's `status` and `status.d`, DEP-5 copyright
files, os-release, the whiteouts of the OCI image specification.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Any, BinaryIO, Final, cast
from urllib.parse import quote

from aegis.core.control import os_release, paragraphs
from aegis.core.errors import ExternalError
from aegis.supplychain.sbom import Component, component_of

_BUFFER: Final = 1 << 20
_LIMIT: Final = 16 << 20  # of one metadata file
_PYTHON: Final = re.compile(r"(?:^|/)[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO)$")
_EGG_FILE: Final = re.compile(r"(?:^|/)[^/]+\.egg-info$")
_STATUS: Final = re.compile(r"^var/lib/dpkg/(?:status|status\.d/[^/]+)$")
_COPYRIGHT: Final = re.compile(r"^usr/share/doc/([^/]+)/copyright$")
_RELEASES: Final = ("usr/lib/os-release", "etc/os-release")
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerContents:
    """What one layer says. `found` maps paths of metadata to packages, `removed` are paths hidden from below it.

    `licences` maps Debian packages to what their copyright files name, `release` are os-release's fields.
    """

    found: Mapping[str, tuple[Component, ...]] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    licences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    release: Mapping[str, str] = field(default_factory=dict)


def read_layer(chunks: Iterator[bytes], media_type: str) -> LayerContents:
    """What lies in a layer, whose stored bytes come in `chunks`; `ExternalError` where it cannot be read to its end."""
    stream = cast("BinaryIO", io.BufferedReader(_Chunks(chunks), _BUFFER))
    found: dict[str, tuple[Component, ...]] = {}
    licences: dict[str, tuple[str, ...]] = {}
    release: dict[str, str] = {}
    removed: list[str] = []
    try:
        with tarfile.open(fileobj=_unpacked(stream, media_type), mode="r|") as archive:
            for member in archive:
                path = member.name.removeprefix("./").lstrip("/")
                folder, _, name = path.rpartition("/")
                if name == _OPAQUE:
                    removed.append(f"{folder}/")
                elif name.startswith(_WHITEOUT):
                    removed.append(f"{folder}/{name.removeprefix(_WHITEOUT)}".lstrip("/"))
                elif member.isfile() and _is_interesting(path):
                    held = archive.extractfile(member)
                    _note(path, held.read(_LIMIT) if held is not None else b"", found, licences, release)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise ExternalError("layer-broken", f"a layer of the image cannot be read: {error}") from error
    return LayerContents(found=found, removed=tuple(removed), licences=licences, release=release)


def packages(layers: Iterable[LayerContents]) -> tuple[Component, ...]:
    """The packages of an image, sorted by their package URL. `layers` come lowest first."""
    found: dict[str, tuple[Component, ...]] = {}
    licences: dict[str, tuple[str, ...]] = {}
    release: dict[str, str] = {}
    for layer in layers:
        for gone in layer.removed:
            under = gone if gone.endswith("/") else f"{gone}/"
            found = {path: some for path, some in found.items() if path != gone and not path.startswith(under)}
        found |= layer.found
        licences |= layer.licences
        release |= layer.release
    every = {one.reference: one for some in found.values() for one in _named(some, licences, release)}
    return tuple(every[key] for key in sorted(every))


def debian_url(name: str, version: str, architecture: str, release: Mapping[str, str]) -> str:
    """The package URL of a Debian package (purl-spec, type deb)."""
    vendor, number = release.get("ID", "debian"), release.get("VERSION_ID", "")
    distribution = f"&distro={quote(f'{vendor}-{number}')}" if number else ""
    return f"pkg:deb/{vendor}/{quote(name)}@{quote(version, safe='.-~:')}?arch={architecture}{distribution}"


# -- parts ------------------------------------------------------------------------------------------------


def _unpacked(stream: BinaryIO, media_type: str) -> IO[bytes]:
    if media_type.endswith("zstd"):
        import zstandard  # noqa: PLC0415 - layers are rarely packed so

        return cast("IO[bytes]", zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True))
    if media_type.endswith("gzip"):
        from isal import igzip  # noqa: PLC0415 - start-up is a feature

        opened: Any = igzip.IGzipFile
        return cast("IO[bytes]", opened(fileobj=stream, mode="rb"))
    return stream


def _is_interesting(path: str) -> bool:
    return bool(
        path in _RELEASES or _PYTHON.search(path) or _EGG_FILE.search(path) or _COPYRIGHT.match(path)
        or (_STATUS.match(path) and not path.endswith(".md5sums"))
    )  # fmt: skip


def _note(
    path: str, data: bytes, found: dict[str, tuple[Component, ...]], licences: dict[str, tuple[str, ...]],
    release: dict[str, str],
) -> None:  # fmt: skip
    if path in _RELEASES:
        release |= os_release(data)
    elif match := _COPYRIGHT.match(path):
        licences[match[1]] = copyright_licences(data)
    elif _STATUS.match(path):
        found[path] = tuple(_debian(data))
    else:
        one = component_of(data)
        found[path] = (one,) if one is not None else ()


def copyright_licences(data: bytes) -> tuple[str, ...]:
    """The short names in a machine-readable copyright file (DEP-5); none in others: nothing is guessed."""
    text = data.decode("utf-8", "replace")
    if "copyright-format" not in text.partition("\n\n")[0]:
        return ()
    names = {one["License"].splitlines()[0].strip() for one in paragraphs(text) if one.get("License", "").strip()}
    return tuple(sorted(name for name in names if name))


def _debian(data: bytes) -> Iterator[Component]:
    for one in paragraphs(data.decode("utf-8", "replace")):
        if not one.get("Package") or not one.get("Version"):
            continue
        state = one.get("Status", "install ok installed").split()
        if state[-1:] != ["installed"]:
            continue
        yield Component(
            name=one["Package"], version=one["Version"], description=one.get("Description", "").splitlines()[:1][0]
            if one.get("Description") else "", purl=f"deb:{one.get('Architecture', 'all')}",
        )  # fmt: skip


def _named(
    some: tuple[Component, ...], licences: Mapping[str, tuple[str, ...]], release: Mapping[str, str]
) -> Iterator[Component]:
    for one in some:
        if one.purl.startswith("deb:"):
            purl = debian_url(one.name, one.version, one.purl.removeprefix("deb:"), release)
            yield replace(one, purl=purl, licences=licences.get(one.name, ()))
        else:
            yield one


class _Chunks(io.RawIOBase):
    """Chunks as a file that is read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill what fits of the next chunk."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
