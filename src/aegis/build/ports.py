"""What building needs from outside. All synchronous, from any thread; only `NotFound`, `Conflict`, `ExternalError`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from aegis.build.debian.lock import LockedPackage
from aegis.build.debian.solve import Offered
from aegis.build.locks import Locked
from aegis.build.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFile:
    """A regular file: its path with `/`, relative to the tree's root, and whether it may be executed."""

    path: str
    executable: bool = False


class Tree(Protocol):
    """A folder of files, read only. Links that lead outside of it, and special files, are not part of it."""

    def files(self, under: str = "") -> tuple[TreeFile, ...]:
        """The files beneath a folder, sorted by path; empty where there is no such folder."""
        ...

    def folders(self, under: str = "") -> tuple[str, ...]:
        """The names of the folders directly beneath a folder, sorted."""
        ...

    def read(self, path: str) -> bytes:
        """A file's content; `NotFound`."""
        ...

    def exists(self, path: str) -> bool:
        """Whether there is a file of that path."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel that is here and verified. `digest` is its own, `locked` the one in the lock (an sdist's, if built here).

    `size` is that of the file in bytes, `path` where it lies.
    """

    name: str
    version: str
    filename: str
    digest: str
    size: int
    path: Path
    locked: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What is built, with what. `files` are the project's, or one `archive` of them by that name; `kinds` `sdist`, `wheel` or both.

    `python` is a version or an interpreter's path. `locked` are versions and hashes that hold for what it is built with, where it is
    built with these. The project's own code sees `environment`, and the network only where `network` says so.
    """

    files: Mapping[str, bytes]
    python: str
    kinds: tuple[str, ...]
    archive: str = ""
    environment: Mapping[str, str]
    locked: tuple[Locked, ...] = ()
    network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Built files by their paths, none where it does not build; what the backend said; names and versions of what it was built with."""

    files: Mapping[str, bytes]
    said: str
    made_with: Mapping[str, str]


class Backends(Protocol):
    """Projects' own build backends: foreign code, which gets nothing but the project and what it is built with."""

    def build(self, sources: Sources) -> Built:
        """Build. `ExternalError` (`build-requires`) when what it is built with cannot be had."""
        ...


class Wheels(Protocol):
    """Locked packages as wheels, each verified against its hash before anything reads it."""

    def fetch(
        self,
        packages: tuple[Locked, ...],
        target: Target,
        *,
        from_source: tuple[str, ...],
        others: tuple[Locked, ...] = (),
    ) -> tuple[Wheel, ...]:
        """One wheel per package, in the given order. Only packages in `from_source` may be built from an sdist.

        `others` are what else is locked, which sdists are built with.

        `ExternalError` when one cannot be had (`wheels-unreachable`), or is not what the lock says (`wheels`).
        """
        ...


class Bytecode(Protocol):
    """Compiles modules for an image's Python, the same bytes on every machine with the same Python."""

    def build(self, target: Target) -> str:
        """What the bytecode is for, as `cpython-311/3.11.7`; empty where no such Python is here: then there is none."""
        ...

    def of_wheels(self, wheels: tuple[Wheel, ...], target: Target, prefix: str) -> Mapping[str, Mapping[str, bytes]]:
        """By the wheel's digest: paths of its modules to pyc files. `prefix` is where they will lie (`/app/lib`)."""
        ...

    def of_sources(self, sources: Mapping[str, bytes], target: Target) -> Mapping[str, bytes]:
        """Absolute paths of modules in the image with their sources: to pyc files, without those that do not compile."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A compressed layer: digest and bytes as stored, `diff_id` as unpacked, and what it is for."""

    digest: str
    diff_id: str
    size: int
    media_type: str
    comment: str


class LayerCache(Protocol):
    """Layers by a key that names everything that went into them. Losing it costs time only."""

    def find(self, key: str) -> Layer | None:
        """The layer that was kept under the key, when it is still whole."""
        ...

    def keep(self, key: str, write: Callable[[BinaryIO], Layer]) -> Layer:
        """Let `write` produce the layer into a file and keep it; whole or not at all."""
        ...

    def path(self, layer: Layer) -> Path:
        """The file of a layer that `find` or `keep` returned."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RawManifest:
    """A manifest or index as it was pulled."""

    digest: str
    media_type: str
    body: bytes


class ImageSource(Protocol):
    """Where images are read from: an OCI layout or a registry."""

    def manifest(self, reference: str) -> RawManifest:
        """By tag or digest; verified when by digest. `NotFound`."""
        ...

    def blob(self, digest: str) -> Iterator[bytes]:
        """A blob in chunks, verified at its end."""
        ...


class ImageOutput(Protocol):
    """An OCI layout that is being written."""

    def put(self, data: bytes) -> str:
        """Keep content; its digest."""
        ...

    def put_file(self, digest: str, path: Path) -> None:
        """Take a file that is known to have that digest."""
        ...

    def put_stream(self, digest: str, chunks: Iterator[bytes]) -> None:
        """Keep a stream that must have that digest; does nothing when it is there. `Conflict` otherwise."""
        ...

    def finish(self, manifest: RawManifest, tags: tuple[str, ...]) -> None:
        """Make the manifest, under its tags, the layout's one image."""
        ...


class DebianArchive(Protocol):
    """Where Debian packages come from: a mirror, or the machine's own apt."""

    def offered(self, architecture: str) -> Iterator[Offered]:
        """Every package for the architecture (and `all`), in any order; verified by the archive's signature.

        `ExternalError` when the archive is not there, or is not what its signature says.
        """
        ...

    def fetch(self, packages: tuple[LockedPackage, ...]) -> Iterator[bytes]:
        """The packages' files in the given order, each verified against its digest.

        `ExternalError` where one is gone (`base-mirror`) or another (`deb-digest`).
        """
        ...
