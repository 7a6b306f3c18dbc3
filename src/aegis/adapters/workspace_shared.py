"""Work trees of bare repositories that share one snapshot per commit, by overlay mounts.

The first job of a commit pays for the checkout and for giving it to the jobs' owner; every other one sees it below its own changes.
The refs are those of the moment at which each job begins. Where nothing can be mounted, every job gets a tree of its own.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from aegis.adapters import workspace_overlay
from aegis.adapters.workspace_git import GitWorkspaces
from aegis.execution.ports import WorkspaceReady, WorkspaceRequest
from aegis.execution.supervise.places import give


@dataclass(slots=True, eq=False)
class _Snapshot:
    """A checked-out commit. `ready` is None until it is there; `users` are the trees above it."""

    path: Path
    lock: threading.Lock = field(default_factory=threading.Lock)
    ready: WorkspaceReady | None = None
    users: int = 0


class SharedWorkspaces:
    """Trees of `trees` that share snapshots in `folder`, which belong to `owner`. `keep` unused ones stay for the next job.

    What an earlier process left in `folder` is removed before the first snapshot is made.
    """

    def __init__(self, trees: GitWorkspaces, folder: Path, owner: tuple[int, int] | None, *, keep: int = 4) -> None:
        self._trees = trees
        self._folder = folder
        self._owner = owner
        self._keep = keep
        self._shares = True
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], _Snapshot] = {}
        """Least lately used first."""
        self._used: dict[Path, _Snapshot] = {}
        self._prints: dict[Path, tuple[object, ...] | None] = {}
        self._made = 0

    def prepare(self, request: WorkspaceRequest) -> WorkspaceReady:
        """See `Workspaces`."""
        if (standing := self._standing(request)) is not None:
            self._renew(request)
            return replace(standing, owned=True, note=self._trees.note(request))
        self.release(request.destination)
        if not request.checkout or not self._shares:
            return self._trees.prepare(request)
        snapshot = self._enter(request)
        try:
            ready = self._taken(snapshot, request)
            self._shares = workspace_overlay.mount(snapshot.path, request.destination, self._owner)
            if self._shares:
                self._renew(request)
                self._prints[request.destination] = workspace_overlay.changes(request.destination)
                return replace(ready, owned=True, note=self._trees.note(request))
        except BaseException:
            self.release(request.destination)
            raise
        self.release(request.destination)
        return self._trees.prepare(request)

    def untouched(self, destination: Path) -> bool:
        """See `Workspaces`."""
        found = self._prints.get(destination)
        return found is not None and found == workspace_overlay.changes(destination)

    def files(self, request: WorkspaceRequest) -> Mapping[str, str]:
        """See `Workspaces`."""
        return self._trees.files(request)

    def release(self, destination: Path) -> None:
        """See `Workspaces`."""
        self._prints.pop(destination, None)
        workspace_overlay.unmount(destination)
        with self._lock:
            snapshot = self._used.pop(destination, None)
            if snapshot is not None:
                snapshot.users -= 1
            unused = [key for key, one in self._known.items() if not one.users]
            gone = [self._known.pop(key) for key in unused[: max(0, len(unused) - self._keep)]]
        for one in gone:
            shutil.rmtree(one.path, ignore_errors=True)

    def _standing(self, request: WorkspaceRequest) -> WorkspaceReady | None:
        """What an earlier job left untouched at the destination, if it is the commit that is asked for."""
        if not request.checkout or request.destination not in self._prints:
            return None
        with self._lock:
            snapshot = self._used.get(request.destination)
            known = self._known.get((request.project, request.commit))
            return snapshot.ready if snapshot is not None and snapshot is known else None

    def _enter(self, request: WorkspaceRequest) -> _Snapshot:
        """The snapshot of a commit, made or not, with one user more."""
        with self._lock:
            if not self._made:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder.mkdir(mode=0o700, parents=True)
            key = (request.project, request.commit)
            snapshot = self._known.pop(key, None)
            if snapshot is None:
                self._made += 1
                snapshot = _Snapshot(path=self._folder / str(self._made))
            self._known[key] = self._used[request.destination] = snapshot
            snapshot.users += 1
            return snapshot

    def _taken(self, snapshot: _Snapshot, request: WorkspaceRequest) -> WorkspaceReady:
        with snapshot.lock:
            if snapshot.ready is None:
                shutil.rmtree(snapshot.path, ignore_errors=True)
                snapshot.path.mkdir(mode=0o755)
                ready = self._trees.prepare(replace(request, destination=snapshot.path))
                if self._owner is not None:
                    give((snapshot.path,), self._owner)
                snapshot.ready = ready
            return snapshot.ready

    def _renew(self, request: WorkspaceRequest) -> None:
        """Branches and tags may have moved since the snapshot was made."""
        refs = request.destination / ".git" / "packed-refs"
        found = self._trees.refs(request.project)
        if refs.read_bytes() != found:
            refs.write_bytes(found)
            if self._owner is not None:
                os.chown(refs, *self._owner)
