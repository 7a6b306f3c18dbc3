"""`LayerCache` in a directory: `<key>.layer` with `<key>.json` beside it, verified when first found.

Layers that nobody asked for in thirty days go when another one is kept. It is a cache: whoever can write to it can
make builds that use it differ, so each project and trust level has its own directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from aegis.build.ports import Layer
from aegis.core import codec
from aegis.core.errors import ExternalError, UserError

_KEPT_SECONDS: Final = 30 * 24 * 3600
_WHOLE: Final[dict[Path, tuple[int, int, int]]] = {}
"""Layer files that this process has hashed, with what the file system said of them then."""


class DirectoryLayers:
    """The cache under `path`, which is made when a layer is kept."""

    def __init__(self, path: Path) -> None:
        self._root = path

    def find(self, key: str) -> Layer | None:
        """The layer that was kept under the key, when it is still whole."""
        note = self._root / f"{key}.json"
        try:
            layer = codec.decode(note.read_bytes(), Layer)
            whole = self._is_whole(layer)
        except (FileNotFoundError, UserError):
            return None
        except OSError as error:
            raise ExternalError("layer-cache", f"the layer cache failed: {error}") from error
        if not whole:
            return None
        os.utime(note)
        return layer

    def keep(self, key: str, write: Callable[[BinaryIO], Layer]) -> Layer:
        """Let `write` produce the layer into a file and keep it; whole or not at all."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._root, prefix=".writing-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    layer = write(file)
                Path(name).replace(self.path(layer))
            finally:
                Path(name).unlink(missing_ok=True)
            aside = self._root / f".{key}.{os.getpid()}"
            aside.write_bytes(codec.encode(layer))
            aside.replace(self._root / f"{key}.json")
            self._forget_old()
        except OSError as error:
            hint = "look at the disk, or set AEGIS_CACHE_DIR to another directory"
            raise ExternalError("layer-cache", f"the layer could not be kept: {error}", hint=hint) from error
        return layer

    def path(self, layer: Layer) -> Path:
        """The file of a layer that `find` or `keep` returned."""
        return self._root / f"{layer.digest.removeprefix('sha256:')}.layer"

    def _is_whole(self, layer: Layer) -> bool:
        """Whether the file is what it was; hashed once per process and state of the file."""
        path = self.path(layer)
        about = path.stat()
        state = (about.st_ino, about.st_size, about.st_mtime_ns)
        if _WHOLE.get(path) == state:
            return True
        with path.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == layer.digest.removeprefix("sha256:")
        if whole:
            _WHOLE[path] = state
        return whole

    def _forget_old(self) -> None:
        before = time.time() - _KEPT_SECONDS
        for note in self._root.glob("*.json"):
            with contextlib.suppress(FileNotFoundError, UserError):
                if note.stat().st_mtime < before:
                    self.path(codec.decode(note.read_bytes(), Layer)).unlink(missing_ok=True)
                    note.unlink()
