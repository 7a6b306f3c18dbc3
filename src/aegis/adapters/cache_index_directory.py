"""`CacheIndex` in a directory: one small file per project and key, replaced as a whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from aegis.core import codec
from aegis.core.errors import UserError
from aegis.execution.ports import CacheEntry


class DirectoryCacheIndex:
    """Entries under `path`, which is made when it is needed. Safe from any thread and process."""

    def __init__(self, path: Path) -> None:
        self._root = path

    def lookup(self, project: str, key: str) -> CacheEntry | None:
        """See `CacheIndex`. A file that cannot be read as an entry counts as none: a cache may be lost."""
        with contextlib.suppress(FileNotFoundError, UserError):
            return codec.decode(self._file(project, key).read_bytes(), CacheEntry)
        return None

    def store(self, project: str, key: str, entry: CacheEntry) -> None:
        """See `CacheIndex`."""
        file = self._file(project, key)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(handle, "wb") as aside:
            aside.write(codec.encode(entry))
        Path(name).replace(file)

    def _file(self, project: str, key: str) -> Path:
        folder = hashlib.sha256(project.encode()).hexdigest()[:16]
        return self._root / folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
