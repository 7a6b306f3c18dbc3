"""Moving files between work trees and the blob store: artifacts, reports, caches. Synchronous; called in threads.

Every function answers the lines that the job's log shows about it. It decides nothing about states.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from aegis.core.errors import AegisError, UserError
from aegis.core.plan import ArtifactSpec, CacheSpec
from aegis.core.ports import Blobs, Clock
from aegis.core.types import StoredFile
from aegis.core.values import dataclass
from aegis.execution import cache, parcel, stored, zip_face
from aegis.execution.archive import choose, one_name, open_file, shown, walk
from aegis.execution.environment import expand
from aegis.execution.ports import CacheEntry
from aegis.execution.runners import Dependency
from aegis.execution.sealed import SealedNotes

Lines = list[str]
CACHE_LIMIT: Final = 8 * 1024 * 1024 * 1024
"""Bytes of a work tree that a cache may hold; a file with holes counts with what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caches:
    """Where caches are kept. `trusted` says that the job is of a protected branch or tag.

    Trusted jobs have caches of their own: what anybody's branch has written never reaches them, unless a declaration says
    `unprotect`. The separating sign cannot stand in a key.
    """

    notes: SealedNotes[CacheEntry]
    blobs: Blobs
    clock: Clock
    trusted: bool = False

    def name(self, spec: CacheSpec, key: str) -> str:
        """Under what a key is kept for jobs of this trust."""
        return f"{key}/{'protected' if self.trusted and not spec.unprotect else 'open'}"


def listing(work: Path) -> frozenset[str]:
    """Every file of a work tree, to tell later which ones the job added."""
    base = Path(os.path.realpath(work))
    return frozenset(walk(base, base))


def fetch(dependencies: Sequence[Dependency], work: Path, blobs: Blobs) -> Lines:
    """Unpack the files of earlier jobs, in their order. `UserError` for an archive that leads outside."""
    lines: Lines = []
    for one in dependencies:
        names = stored.unpack(blobs, one.archive.digest, work)
        lines.append(f"Downloaded artifacts of {one.job}: {len(names)} files, {one.archive.size} bytes.")
    return lines


def restore(
    specs: Sequence[CacheSpec], work: Path, variables: Mapping[str, str], project: str, caches: Caches
) -> Lines:
    """Unpack the first cache that is found for each declaration; a cache that cannot be read is as good as none."""
    lines: Lines = []
    for spec in specs:
        if not cache.pulls(spec, variables):
            continue
        for key in cache.keys(spec, work, variables):
            try:
                found = caches.notes.lookup(project, caches.name(spec, key))
                if found.value is None or not stored.is_whole(caches.blobs, found.value.digest):
                    lines.append(
                        f"WARNING: the cache {key} is refused: {found.refused}."
                        if found.refused
                        else f"No cache under {key}."
                    )
                    continue
                names = stored.unpack(caches.blobs, found.value.digest, work, undo=True)
            except AegisError as error:
                lines.append(f"WARNING: the cache {key} is not used: {error.message}")
                continue
            lines.append(f"Restored cache {key}: {len(names)} files, {found.value.size} bytes.")
            break
    return lines


def save(
    specs: Sequence[CacheSpec],
    work: Path,
    variables: Mapping[str, str],
    project: str,
    caches: Caches,
    *,
    succeeded: bool,
    before: frozenset[str],
) -> Lines:
    """Keep each declared cache; what cannot be kept is a warning, never a failure."""
    lines: Lines = []
    for spec in specs:
        if not cache.pushes(spec, variables, succeeded=succeeded):
            continue
        key = cache.key(spec, work, variables)
        try:
            extra = sorted(listing(work) - before) if spec.untracked else ()
            found = choose(work, [expand(one, variables) for one in spec.paths], extra=extra)
            if not found.files:
                lines.append(f"Nothing to cache under {key}.")
                continue
            _check_size(work, found.files, CACHE_LIMIT)
            with caches.blobs.hold():
                digest, size = _packed(work, found.files, caches.blobs)
                entry = CacheEntry(digest=digest, size=size, at=caches.clock.now())
                caches.notes.store(project, caches.name(spec, key), entry)
        except (AegisError, OSError) as error:
            lines.append(f"WARNING: the cache {key} was not kept: {error}")
            continue
        lines.extend(f"WARNING: {one}" for one in found.warnings)
        lines.append(f"Kept cache {key}: {len(found.files)} files, {size} bytes.")
    return lines


def collect(
    spec: ArtifactSpec,
    work: Path,
    variables: Mapping[str, str],
    blobs: Blobs,
    *,
    succeeded: bool,
    before: frozenset[str],
    limit: int,
) -> tuple[tuple[StoredFile, ...], Lines]:
    """What the job leaves: one archive of `paths` if `when` says so, and every report by itself, always.

    `UserError` when it is more than `limit` bytes.
    """
    kept: list[StoredFile] = []
    lines: Lines = []
    wanted = {"always": True, "on_success": succeeded, "on_failure": not succeeded}.get(spec.when, succeeded)
    if wanted and (spec.paths or spec.untracked):
        exclude = [expand(one, variables) for one in spec.exclude]
        extra = sorted(listing(work) - before) if spec.untracked else ()
        found = choose(work, [expand(one, variables) for one in spec.paths], exclude=exclude, extra=extra)
        lines.extend(f"WARNING: {one}" for one in found.warnings)
        if found.files:
            _check_size(work, found.files, limit)
            digest, size = _packed(work, found.files, blobs)
            name = one_name(expand(spec.name, variables)) if spec.name else "artifacts"
            kept.append(StoredFile(name=f"{name}.zip", kind="archive", digest=digest, size=size))
            lines.append(f"Uploaded artifacts: {len(found.files)} files, {size} bytes, {digest}.")
        else:
            lines.append("ERROR: No files to upload.")
    for kind in sorted(spec.reports):
        found = choose(work, [expand(one, variables) for one in spec.reports[kind]])
        lines.extend(f"WARNING: {kind} report: {one}" for one in found.warnings)
        _check_size(work, found.files, limit)
        for name in found.files:
            with open_file(work / name) as file:
                digest, size = blobs.put_stream(file)
            kept.append(StoredFile(name=name, kind=kind, digest=digest, size=size))
            lines.append(f"Uploaded {kind} report {shown(name)}: {size} bytes.")
    return tuple(kept), lines


def _check_size(work: Path, files: Sequence[str], limit: int) -> None:
    total = sum((work / name).lstat().st_size for name in files)
    if total > limit:
        raise UserError(
            "artifacts-too-large",
            f"the files hold {total} bytes; {limit} are allowed",
            hint="narrow the paths, or exclude what can be made again",
        )


def _packed(work: Path, files: Sequence[str], blobs: Blobs) -> tuple[str, int]:
    """The digest, and the size that whoever downloads it will see."""
    digest, made = parcel.pack(work, files, blobs)
    return digest, zip_face.size_of(made)
