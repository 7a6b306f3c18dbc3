"""Images as directories: layers verified, unpacked once per digest, never outside of their root.

Decides: what of an image's configuration becomes a command line, and how paths of the image become paths here. Images
without an operating system (label `io.aegis.base=none`) run with the interpreter given; a path of the image, such as
`/app/src`, is replaced by the place where it was unpacked, in the command, the environment and the working directory.
An image with an operating system of its own needs a container engine and is refused.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from aegis.adapters import supervised
from aegis.adapters.cluster_local.model import Program
from aegis.core.errors import ExternalError
from aegis.gitops.ports import ImageLayer, PulledImage

_SYSTEM: Final = frozenset({"bin", "lib", "lib64", "usr", "sbin", "etc"})
_MOST_BYTES: Final = 4 * 2**30
_MOST_MEMBERS: Final = 300_000
_PYTHON: Final = re.compile(r"python(3(\.\d+)?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """An image on disk."""

    root: Path
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str

    def __str__(self) -> str:
        return str(self.root)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A program ready to be started here."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str


class Images:
    """The unpacked images below `directory`. `pull` fetches one by repository and digest.

    Layers are unpacked and byte-compiled once per digest and joined by hard links, so that a release whose
    dependencies have not changed is there at once. Nothing that runs may write there: what development runs must
    not be able to change what production loads.
    """

    def __init__(self, directory: Path, pull: Callable[[str, str], PulledImage], *, python: str) -> None:
        self._images = directory / "images"
        self._layers = directory / "layers"
        self._pull = pull
        self._python = python
        self._lock = threading.Lock()
        for place in (self._images, self._layers):
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(0o755)

    def get(self, repository: str, digest: str) -> Unpacked:
        """The image, fetched and unpacked where that has not been done; `ExternalError` when it cannot be trusted."""
        place = self._images / digest.replace(":", "-")
        with self._lock:
            if not place.is_dir():
                self._fetch(repository, digest, place)
        config = json.loads((place / "config.json").read_bytes())
        return _described(place / "root", config)

    def _fetch(self, repository: str, digest: str, place: Path) -> None:
        image = self._pull(repository, digest)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self._images))
        try:
            root = fresh / "root"
            root.mkdir()
            for layer in image.layers:
                _join(self._layer(layer), root)
            (fresh / "config.json").write_bytes(image.config)
            _open_to_read(fresh)
            fresh.rename(place)
        except (OSError, tarfile.TarError, EOFError) as error:
            raise ExternalError(
                "image-unpack", f"{repository}@{digest}: {error}", hint="build the image anew"
            ) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _layer(self, layer: ImageLayer) -> Path:
        place = self._layers / layer.digest.replace(":", "-")
        if not place.is_dir():
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self._layers))
            try:
                (fresh / "root").mkdir()
                _unpack(layer, fresh / "root", fresh)
                self._compile(fresh / "root")
                fresh.rename(place)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
        return place / "root"

    def _compile(self, root: Path) -> None:
        """Byte-compile once; a file that does not compile is left for the program to stumble over."""
        child = supervised.spawn(
            [self._python, "-I", "-m", "compileall", "-q", "-j", "2", str(root)],
            env={},
            cwd="/",
            output=subprocess.DEVNULL,
        )
        child.wait(120.0)
        child.end(grace=0)


def _join(layer: Path, root: Path) -> None:
    """Lay one layer over what is there: first what it takes away, then what it brings."""
    for mark in sorted(layer.rglob(".wh.*")):
        _whiteout(root, mark.relative_to(layer))
    shutil.copytree(
        layer, root, symlinks=True, dirs_exist_ok=True, copy_function=_link, ignore=shutil.ignore_patterns(".wh.*")
    )


def _link(source: str, target: str) -> None:
    place = Path(target)
    place.unlink(missing_ok=True)
    os.link(source, place, follow_symlinks=False)


def _unpack(layer: ImageLayer, root: Path, scratch: Path) -> None:
    """Write, verify, then unpack: nothing is unpacked whose digest does not match."""
    check = hashlib.sha256()
    with tempfile.TemporaryFile(dir=scratch) as file:
        for chunk in layer.read():
            check.update(chunk)
            file.write(chunk)
        if f"sha256:{check.hexdigest()}" != layer.digest:
            raise ExternalError("layer-digest", f"a layer is not {layer.digest}", hint="pull the image again")
        file.seek(0)
        with _plain(layer.media_type, file) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
            _extract(archive, root)


def _plain(media_type: str, file: IO[bytes]) -> IO[bytes]:
    if media_type.endswith(("gzip", ".gz")):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if media_type.endswith("zstd"):
        import zstandard  # noqa: PLC0415 - only few images need it

        return cast("IO[bytes]", zstandard.ZstdDecompressor().stream_reader(file))
    return file


def _extract(archive: tarfile.TarFile, root: Path) -> None:
    size = 0
    for count, member in enumerate(archive):
        size += member.size
        if size > _MOST_BYTES or count > _MOST_MEMBERS:
            raise ExternalError("image-too-large", "an image unpacks to more than 4 GiB or 300,000 files")
        if member.isfile() or member.isdir() or member.issym() or member.islnk():
            # The `data` filter refuses every name and link that leads out of `root`, also by way of earlier links.
            archive.extract(member, root, filter="data")
        else:
            raise ExternalError("image-unsafe", f"{member.name} is a device or a pipe", hint="build the image anew")


def _whiteout(root: Path, mark: Path) -> None:
    """OCI image specification, layer.md: `.wh.NAME` removes NAME of lower layers, `.wh..wh..opq` all beside it."""
    parent = (root / mark.parent).resolve()
    if not parent.is_relative_to(root.resolve()):
        raise ExternalError("image-unsafe", f"{mark} leads out of the image", hint="build the image anew")
    if mark.name == ".wh..wh..opq":
        victims = list(parent.iterdir()) if parent.is_dir() else []
    else:
        victims = [parent / mark.name.removeprefix(".wh.")]
    for victim in victims:
        if victim.is_dir() and not victim.is_symlink():
            shutil.rmtree(victim)
        else:
            victim.unlink(missing_ok=True)


def _open_to_read(directory: Path) -> None:
    """Readable by the user that the program runs as, writable by nobody but us."""
    for folder, _, files in os.walk(directory):
        os.chmod(folder, 0o755)  # noqa: PTH101, S103 - in a loop over thousands; images hold nothing private
        for name in files:
            path = os.path.join(folder, name)  # noqa: PTH118 - as above
            if not os.path.islink(path):  # noqa: PTH114 - as above
                os.chmod(path, (os.stat(path).st_mode & 0o755) | 0o444)  # noqa: PTH101, PTH116 - as above


def _described(root: Path, document: Mapping[str, Any]) -> Unpacked:
    config = document.get("config") or {}
    present = {one.name for one in root.iterdir()}
    if present & _SYSTEM:
        raise ExternalError(
            "image-needs-engine",
            f"the image brings an operating system of its own ({', '.join(sorted(present & _SYSTEM))})",
            hint="the local cluster runs images without a base; run this one on Kubernetes",
        )
    pairs = (one.partition("=") for one in config.get("Env") or [])
    return Unpacked(
        root=root,
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        environment={name: value for name, _, value in pairs},
        directory=config.get("WorkingDir") or "/",
    )


def command_line(image: Unpacked, program: Program, *, python: str) -> CommandLine:
    """How to start `program` here: command and arguments override the image's as Kubernetes says."""
    if program.command is not None:
        argv = [*program.command, *(program.arguments or ())]
    else:
        argv = [*image.entrypoint, *(image.command if program.arguments is None else program.arguments)]
    if not argv:
        raise ExternalError("image-no-command", "neither the image nor the manifest says what to run")
    place = _Places(image.root)
    argv = [place.here(one) for one in argv]
    if _PYTHON.fullmatch(argv[0]):
        argv[0] = python
    elif not Path(argv[0]).is_absolute() or not Path(argv[0]).is_relative_to(image.root):
        raise ExternalError(
            "image-program",
            f"{argv[0]!r} is neither python nor a program in the image",
            hint="an image without a base can run its own files and python",
        )
    environment = {**image.environment, **program.environment}
    return CommandLine(
        argv=tuple(argv),
        environment={name: place.here(value) for name, value in environment.items()},
        directory=place.here(program.directory or image.directory)
        if program.directory or image.directory != "/"
        else str(image.root),
    )


class _Places:
    """Replaces the image's own absolute paths by where they lie here."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        tops = "|".join(sorted(re.escape(one.name) for one in root.iterdir()))
        # A path begins the text or follows a separator, so that `http://host/app` stays as it is.
        self._pattern = re.compile(rf"(?:(?<=^)|(?<=[:=,; ]))/(?=(?:{tops})(?:[/:,; ]|$))") if tops else None

    def here(self, text: str) -> str:
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda _: f"{self._root}/", text)
