"""`Workspaces` for local runs: copies of the working tree as it is, uncommitted changes of tracked files included.

The tree itself is only read. It is copied once, at the first job, so that all jobs of a run see the same files even if
somebody goes on editing; of a Git tree the copy is kept, and the next run copies what has changed. Files that Git does not
track are left out, as a push would leave them out, and counted.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from aegis.adapters import git_program, workspace_overlay
from aegis.adapters.git_repository import git_directory
from aegis.adapters.workspace_git import borrow, packed_refs, put
from aegis.adapters.workspace_kept import KeptTree, copy_file
from aegis.core.errors import ExternalError
from aegis.core.ids import is_commit
from aegis.execution.ports import WorkspaceReady, WorkspaceRequest
from aegis.execution.supervise.places import give


class CopyWorkspaces:
    """Copies of `tree`; `snapshot` is an absent directory for the first copy, which `close` removes.

    Where overlays can be mounted the jobs share the snapshot, which then belongs to `owner`. With `kept`, the directory of
    a copy that outlives the run, that copy is the snapshot, unless another run works with it now.
    """

    def __init__(
        self, tree: Path, snapshot: Path, owner: tuple[int, int] | None = None, kept: Path | None = None
    ) -> None:
        self._tree = tree
        self._snapshot = snapshot
        self._owner = owner
        self._kept = None if kept is None else KeptTree(kept, owner)
        self._shares = True
        self._lock = threading.Lock()
        self._ready: WorkspaceReady | None = None
        self._mounted: dict[Path, tuple[object, ...] | None] = {}
        self._listed: dict[str, str] | None = None

    def prepare(self, request: WorkspaceRequest) -> WorkspaceReady:
        """See `Workspaces`."""
        ready = self._snapped(request)
        if not request.checkout:
            self.release(request.destination)
            return WorkspaceReady(note="No files, as GIT_STRATEGY asks.")
        if request.destination in self._mounted:
            return replace(ready, owned=True)
        if self._shares and workspace_overlay.mount(self._snapshot, request.destination, self._owner):
            self._mounted[request.destination] = workspace_overlay.changes(request.destination)
            return replace(ready, owned=True)
        self._shares = False
        shutil.copytree(self._snapshot, request.destination, symlinks=True, dirs_exist_ok=True)
        return ready

    def files(self, request: WorkspaceRequest) -> Mapping[str, str]:
        """See `Workspaces`: digests of the snapshot's files."""
        self._snapped(request)
        if not request.checkout:
            return {}
        with self._lock:
            if self._listed is None:
                self._listed = dict(_digests(self._snapshot))
            return self._listed

    def _snapped(self, request: WorkspaceRequest) -> WorkspaceReady:
        with self._lock:
            if self._ready is None:
                self._ready = self._take(request.commit)
            return self._ready

    def untouched(self, destination: Path) -> bool:
        """See `Workspaces`."""
        found = self._mounted.get(destination)
        return found is not None and found == workspace_overlay.changes(destination)

    def release(self, destination: Path) -> None:
        """See `Workspaces`."""
        self._mounted.pop(destination, None)
        workspace_overlay.unmount(destination)

    def close(self) -> None:
        """Remove the snapshot, or let the next run have it."""
        if self._kept is not None:
            self._kept.close()
        if self._kept is None or self._snapshot != self._kept.path:
            shutil.rmtree(self._snapshot, ignore_errors=True)

    def _take(self, commit: str) -> WorkspaceReady:
        if not (self._tree / ".git").exists():
            skipped = shutil.ignore_patterns(".aegis", ".venv", "__pycache__")
            shutil.copytree(self._tree, self._snapshot, symlinks=True, ignore=skipped)
            self._give(self._snapshot)
            return WorkspaceReady(note="Copied the directory; it is not a Git repository.")
        git = git_program.program()
        directory = git_directory(self._tree)
        tracked = self._list(directory, git, "--cached")
        if self._kept is not None and self._kept.take():
            self._snapshot = self._kept.path
            copied = self._kept.update(self._tree, tracked)
        else:
            self._snapshot.mkdir(parents=True)
            copied = _copy(self._tree, self._snapshot, tracked)
            self._give(self._snapshot)
        others = len(self._list(directory, git, "--others", "--exclude-standard"))
        objects = _common(directory) / "objects"
        if is_commit(commit) and commit != "0" * 40:
            made = borrow(self._snapshot, objects.resolve(), commit)
            put(made / "packed-refs", packed_refs(_common(directory)))
            if (directory / "index").is_file():
                put(made / "index", (directory / "index").read_bytes())
            self._give(made)
        left = f" {others} untracked left out (`git add` lets them take part)." if others else ""
        note = f"Copied {copied} tracked files of the working tree, with uncommitted changes.{left}"
        return WorkspaceReady(read_only=(objects.resolve(),), note=note)

    def _give(self, path: Path) -> None:
        if self._owner is not None:
            give((path,), self._owner)

    def _list(self, directory: Path, git: str, *options: str) -> list[str]:
        done = git_program.run(
            ["ls-files", "-z", *options],
            directory=directory,
            cwd=self._tree,
            extra={"GIT_WORK_TREE": str(self._tree)},
            git=git,
        )
        if done.code != 0:
            raise ExternalError("git-files", f"git could not list the working tree: {done.error}")
        return [os.fsdecode(name) for name in done.out.split(b"\0") if name]


def _common(directory: Path) -> Path:
    """Where the objects are: a linked work tree's Git directory names it."""
    named = directory / "commondir"
    return (directory / named.read_text(encoding="utf-8").strip()).resolve() if named.is_file() else directory


def _copy(source: Path, target: Path, names: Iterable[str]) -> int:
    """Copy files and links; what was deleted is skipped. How many."""
    count = 0
    made: set[Path] = set()
    for name in dict.fromkeys(names):
        file = source / name
        if file.is_symlink() or file.is_file():
            place = target / name
            if place.parent not in made:
                place.parent.mkdir(parents=True, exist_ok=True)
                made.add(place.parent)
            copy_file(str(file), str(place), None)
            count += 1
    return count


def _digests(root: Path) -> Iterator[tuple[str, str]]:
    for folder, directories, files in os.walk(root):
        if folder == str(root) and ".git" in directories:
            directories.remove(".git")
        links = [name for name in directories if os.path.islink(os.path.join(folder, name))]  # noqa: PTH114, PTH118 - thousands of files
        for name in (*files, *links):
            path = Path(folder, name)
            shown = os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")
            if path.is_symlink():
                yield shown, f"120000 {os.fsencode(path.readlink()).decode('utf-8', 'backslashreplace')}"
            else:
                mode = "100755" if path.stat().st_mode & 0o111 else "100644"
                yield shown, f"{mode} {hashlib.sha256(path.read_bytes()).hexdigest()}"
