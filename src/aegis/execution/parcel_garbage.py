"""Deletes stored files that nobody needs any more, with those of their segments that no other parcel shares.

A parcel may be written while this runs: whoever writes it holds what he gives to the store until he has referred to it (`Blobs.hold`).
Segments go first and manifests last, so that what a crash interrupts is found and finished by the next sweep. Which files are needed
is the caller's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from aegis.core.errors import NotFound, UserError
from aegis.core.ports import Blobs
from aegis.execution import parcel, stored

Needed = Callable[[frozenset[str]], frozenset[str]]
"""Which of these digests something else refers to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What was deleted, or would be: blobs and their bytes."""

    blobs: int = 0
    freed: int = 0


def manifests(blobs: Blobs, before: float) -> Iterator[str]:
    """Every parcel that has been there since before `before` (Unix time)."""
    for digest, since in blobs.digests("sha512:"):
        if since < before and parcel.is_parcel(blobs, digest):
            yield digest


def release(blobs: Blobs, dead: Iterable[str], needed: Needed, *, dry_run: bool = False) -> Released:
    """Delete the files `dead` and what only they need. `needed` is asked once, about all that could go."""
    going = {digest: _parts(blobs, digest) for digest in dead}
    if not going:
        return Released()
    candidates = frozenset(going).union(*going.values())
    kept = needed(candidates) | _shared(blobs, frozenset(going))
    # A file that is needed after all keeps what it consists of.
    kept = kept.union(*(parts for digest, parts in going.items() if digest in kept))
    order = [*(candidates - frozenset(going) - kept), *(frozenset(going) - kept)]
    count = freed = 0
    for digest in order:
        size = blobs.size(digest)
        if size is not None and (dry_run or blobs.forget(digest)):
            count += 1
            freed += size
    return Released(blobs=count, freed=freed)


def _parts(blobs: Blobs, digest: str) -> frozenset[str]:
    try:
        return stored.blobs_of(blobs, digest) - {digest}
    except (NotFound, UserError):
        return frozenset()


def _shared(blobs: Blobs, dead: frozenset[str]) -> frozenset[str]:
    """What parcels consist of that stay."""
    found: set[str] = set()
    for digest, _ in blobs.digests("sha512:"):
        if digest not in dead:
            found |= _parts(blobs, digest)
    return frozenset(found)
