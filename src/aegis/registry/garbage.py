"""Forgets content that no name needs any more, while pushes go on.

Deleting a tag, an image or a file takes away a name and notes the content as loose. After a day's grace it is deleted, when
by then nothing refers to it: no repository, no index, and nothing else that shares the store. A push of the very same
content may be under way at that moment: it holds a pin from before it looks whether the content is there until it is
linked, and what is pinned is left for the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from aegis.core.ports import Blobs
from aegis.registry.ports import Letting, Pins

GRACE: Final = timedelta(days=1)

Mentioned = Callable[[frozenset[str]], frozenset[str]]
"""Which of these digests something else refers to that shares the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep did: digests deleted, bytes freed, digests that something turned out to need."""

    deleted: tuple[str, ...] = ()
    freed: int = 0
    needed: int = 0


def sweep(
    blobs: Blobs, stores: Sequence[Letting], pins: Pins, mentioned: Mentioned, now: datetime, *, dry_run: bool = False
) -> Swept:
    """Delete what has been loose for longer than the grace and is needed by nobody."""
    found = frozenset(digest for store in stores for digest in store.loose(now - GRACE))
    elsewhere = mentioned(found) if found else frozenset()
    deleted: list[str] = []
    freed = needed = 0
    for digest in sorted(found):
        size = blobs.size(digest) or 0
        wanted = digest in elsewhere or any(store.in_use(digest) for store in stores)

        def gone(digest: str = digest) -> bool:
            if any(store.in_use(digest) for store in stores):
                return False
            if not dry_run:
                blobs.delete(digest)
            return True

        if not wanted and pins.unless_held(digest, gone):
            deleted.append(digest)
            freed += size
        else:
            needed += 1
        if not dry_run and (wanted or digest in deleted[-1:]):
            for store in stores:
                store.tighten(digest)
    return Swept(deleted=tuple(deleted), freed=freed, needed=needed)
