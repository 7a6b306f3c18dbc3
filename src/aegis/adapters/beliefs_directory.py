"""`Beliefs` in a directory: one small file per repository, believed for some hours.

A registry may be cleaned at any time, so nothing here is certain: who acts on it must notice when it was wrong.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from aegis.core import codec
from aegis.core.errors import ExternalError, UserError

_BELIEVED_SECONDS: Final = 12 * 3600
_MOST: Final = 2000


class DirectoryBeliefs:
    """Files under `path`, which is made when it is needed."""

    def __init__(self, path: Path) -> None:
        self._root = path

    def known(self, place: str) -> frozenset[str]:
        """The digests believed to be at `place`."""
        oldest = time.time() - _BELIEVED_SECONDS
        return frozenset(digest for digest, when in self._read(place).items() if when > oldest)

    def remember(self, place: str, digests: Iterable[str]) -> None:
        """These are there, as of now."""
        now = time.time()
        kept = {**self._read(place), **dict.fromkeys(digests, now)}
        newest = dict(sorted(kept.items(), key=lambda one: -one[1])[:_MOST])
        file = self._file(place)
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            aside = file.with_suffix(f".{os.getpid()}")
            aside.write_bytes(codec.encode(newest))
            aside.replace(file)
        except OSError as error:
            raise ExternalError("beliefs", f"what the registry has could not be noted: {error}") from error

    def forget(self, place: str) -> None:
        """Nothing is known of the place any more."""
        self._file(place).unlink(missing_ok=True)

    def _read(self, place: str) -> dict[str, float]:
        try:
            return codec.decode(self._file(place).read_bytes(), dict[str, float])
        except (FileNotFoundError, UserError):
            return {}

    def _file(self, place: str) -> Path:
        return self._root / f"{hashlib.sha256(place.encode()).hexdigest()}.json"
