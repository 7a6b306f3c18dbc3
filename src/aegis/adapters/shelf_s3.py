"""`Shelf` in an S3-compatible store: one small object per name, which the store replaces as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from aegis.adapters.s3_objects import S3Objects
from aegis.core.errors import NotFound


class S3Shelf:
    """Values under `prefix` of a bucket. Safe from any thread."""

    def __init__(self, objects: S3Objects, prefix: str) -> None:
        self._objects = objects
        self._prefix = f"{prefix.strip('/')}/"

    def get(self, name: str) -> bytes | None:
        """See `Shelf`."""
        try:
            return self._objects.answer("GET", f"/{self._prefix}{name}").content
        except NotFound:
            return None

    def put(self, name: str, data: bytes) -> None:
        """See `Shelf`."""
        digest = hashlib.sha256(data).hexdigest()
        self._objects.answer("PUT", f"/{self._prefix}{name}", body=data, payload=digest, length=len(data))

    def delete(self, name: str) -> None:
        """See `Shelf`."""
        try:
            self._objects.answer("DELETE", f"/{self._prefix}{name}")
        except NotFound:
            return

    def names(self) -> Iterator[tuple[str, float]]:
        """See `Shelf`."""
        for key, since in self._objects.listed(self._prefix, ""):
            yield key.removeprefix(self._prefix), since
