"""`Workspaces` from bare repositories: a work tree that borrows the repository's objects, made by one short Git call.

The tree's `.git` is complete enough for `git describe`, `git log` and `git diff`: all tags, and the branches as
`origin/…`. It has no remote: a job that may push is given an address by other means.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from aegis.adapters import git_program
from aegis.core.errors import ExternalError, NotFound
from aegis.core.ids import is_commit
from aegis.execution.ports import WorkspaceReady, WorkspaceRequest

_LISTED: Final = 4  # commits whose files are remembered
_CONFIG: Final = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n[gc]\n\tauto = 0\n[advice]\n\tdetachedHead = false\n"


class GitWorkspaces:
    """Work trees of the bare repositories that `repository` finds by project name (it may raise `NotFound`)."""

    def __init__(self, repository: Callable[[str], Path]) -> None:
        self._repository = repository
        self._git = git_program.program()
        self._lock = threading.Lock()
        self._listed: dict[tuple[str, str], Mapping[str, str]] = {}

    def prepare(self, request: WorkspaceRequest) -> WorkspaceReady:
        """See `Workspaces`."""
        if not request.checkout:
            return WorkspaceReady(note="No checkout, as GIT_STRATEGY asks.")
        source = self._repository(request.project)
        if not source.is_dir():
            raise NotFound("no-such-repository", f"there is no repository {request.project}")
        if not is_commit(request.commit):
            raise NotFound("no-such-commit", f"{request.commit!r} is not a full commit id")
        objects = (source / "objects").resolve()
        directory = borrow(request.destination, objects, request.commit)
        (directory / "packed-refs").write_bytes(packed_refs(source))
        done = git_program.run(
            ["checkout", "--quiet", "--force", request.commit],
            directory=directory,
            cwd=request.destination,
            extra={"GIT_WORK_TREE": str(request.destination)},
            git=self._git,
        )
        if done.code != 0:
            if "unable to read tree" in done.error or "not a tree" in done.error or "pathspec" in done.error:
                raise NotFound("no-such-commit", f"{request.project} has no commit {request.commit}")
            raise ExternalError("git-checkout", f"git could not check out {request.commit}: {done.error}")
        return WorkspaceReady(read_only=(objects,), note=self.note(request))

    def files(self, request: WorkspaceRequest) -> Mapping[str, str]:
        """See `Workspaces`: Git's own ids."""
        if not request.checkout:
            return {}
        source = self._repository(request.project)
        key = (str(source), request.commit)
        with self._lock:
            known = self._listed.get(key)
        if known is not None:
            return known
        done = git_program.run(["ls-tree", "-r", "-z", request.commit], directory=source, git=self._git)
        if done.code != 0 or not is_commit(request.commit):
            raise NotFound("no-such-commit", f"{request.project} has no commit {request.commit}")
        found: dict[str, str] = {}
        for line in done.out.split(b"\0")[:-1]:
            about, _, name = line.partition(b"\t")
            found[name.decode("utf-8", "backslashreplace")] = about.decode("ascii")
        with self._lock:
            self._listed[key] = found
            while len(self._listed) > _LISTED:
                del self._listed[next(iter(self._listed))]
        return found

    @staticmethod
    def note(request: WorkspaceRequest) -> str:
        """What the trace says of a tree."""
        name = request.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        return f"Checking out {request.commit[:8]} as detached HEAD (ref is {name})..."

    def refs(self, project: str) -> bytes:
        """A project's branches and tags as they are now, as its trees have them."""
        return packed_refs(self._repository(project))

    def untouched(self, destination: Path) -> bool:  # noqa: ARG002 - whatever it is
        """See `Workspaces`. To look at every file costs more than to make it anew."""
        return False

    def release(self, destination: Path) -> None:
        """See `Workspaces`. A tree of this kind is only files."""


def borrow(work: Path, objects: Path, commit: str) -> Path:
    """Make `work/.git`, detached at `commit`, that reads its objects from `objects`; its path. One that is there is renewed."""
    directory = work / ".git"
    for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    put(directory / "HEAD", f"{commit}\n".encode("ascii"))
    put(directory / "config", _CONFIG.encode("ascii"))
    put(directory / "objects/info/alternates", f"{objects}\n".encode())
    return directory


def put(file: Path, data: bytes) -> None:
    """Let a file hold `data`; one that does already is left alone."""
    if not file.is_file() or file.read_bytes() != data:
        file.write_bytes(data)


def packed_refs(source: Path) -> bytes:
    """The tags and branches of a repository in the form of `packed-refs`, branches as `refs/remotes/origin/…`.

    Read from the files that Git keeps them in (gitrepository-layout(5)), which is much quicker than asking a process.
    """
    refs: dict[str, str] = {}
    packed = source / "packed-refs"
    if packed.is_file():
        for line in packed.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            oid, _, name = line.partition(" ")
            if is_commit(oid) and name.startswith(("refs/heads/", "refs/tags/")):
                refs[name] = oid
    for folder in ("refs/heads", "refs/tags"):
        for file in (source / folder).rglob("*"):
            if file.is_file() and not file.name.endswith(".lock"):
                oid = file.read_text(encoding="ascii", errors="replace").strip()
                if is_commit(oid):
                    refs[file.relative_to(source).as_posix()] = oid
    named = sorted((name.replace("refs/heads/", "refs/remotes/origin/", 1), oid) for name, oid in refs.items())
    return "".join(f"{oid} {name}\n" for name, oid in named).encode("utf-8", "surrogateescape")
