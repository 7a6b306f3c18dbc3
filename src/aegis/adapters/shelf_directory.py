"""`Shelf` in a directory: one small file per name, replaced as a whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from aegis.core.errors import ExternalError


class DirectoryShelf:
    """Values under `path`, which is made when it is needed. Safe from any thread and process."""

    def __init__(self, path: Path) -> None:
        self._root = path

    def get(self, name: str) -> bytes | None:
        """See `Shelf`."""
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(error) from error

    def put(self, name: str, data: bytes) -> None:
        """See `Shelf`."""
        file = self._root / name
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, aside = tempfile.mkstemp(dir=file.parent, prefix=".")
            try:
                with os.fdopen(handle, "wb") as writer:
                    writer.write(data)
                Path(aside).replace(file)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    Path(aside).unlink()
                raise
        except OSError as error:
            raise _failed(error) from error

    def delete(self, name: str) -> None:
        """See `Shelf`."""
        (self._root / name).unlink(missing_ok=True)

    def names(self) -> Iterator[tuple[str, float]]:
        """See `Shelf`. What a killed writer left aside is none."""
        for folder in sorted(self._root.iterdir()) if self._root.is_dir() else ():
            for file in sorted(folder.iterdir()):
                with contextlib.suppress(FileNotFoundError):
                    if not file.name.startswith("."):
                        yield f"{folder.name}/{file.name}", file.stat().st_mtime


def _failed(error: OSError) -> ExternalError:
    return ExternalError("shelf", f"the shelf failed: {error}", hint="is the disk full?", retryable=True)
