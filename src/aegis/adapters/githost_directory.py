"""A Git host that is a directory: bare repositories at `<root>/<group>/<name>.git`. Serving them is the door's."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from aegis.adapters import git_program
from aegis.adapters.git_repository import SCRATCH, GitRepository
from aegis.core.errors import ExternalError, NotFound, UserError
from aegis.core.ids import checked_project, is_project

_PUSH_SECONDS: Final = 24 * 3600.0
"""No push takes so long: what one has left half received is nobody's."""
SETTINGS: Final = {
    "http.receivepack": "true",
    "http.uploadpack": "true",
    "uploadpack.allowAnySHA1InWant": "false",
    "uploadpack.allowReachableSHA1InWant": "true",
    "uploadpack.allowFilter": "true",
    "receive.advertisePushOptions": "true",
    "receive.fsckObjects": "true",
    # Old but harmless faults in the history of real projects; everything else that fsck names stays an error.
    "receive.fsck.zeroPaddedFilemode": "warn",
    "receive.fsck.missingSpaceBeforeDate": "warn",
    "receive.fsck.badTimezone": "warn",
    "receive.autogc": "false",
    "gc.auto": "0",
    "receive.denyDeleteCurrent": "refuse",
    "transfer.hideRefs": "refs/aegis",
    "core.logAllRefUpdates": "true",
}


class DirectoryGitHost:
    """`source.ports.GitHost` on the directory `root`, which is made when it is needed, readable by its owner only."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sweep(0.0)

    def sweep(self) -> int:
        """See the port: no Git program that is started here runs longer than `SECONDS`, so whoever held those is gone."""
        return self._sweep(2 * git_program.SECONDS)

    def _sweep(self, scratch_seconds: float) -> int:
        """Locks that are too old to be held, and what was being made and is older than `scratch_seconds`."""
        if not self.root.is_dir():
            return 0
        now, gone = time.time(), 0
        for left in self.root.glob(".making-*"):
            if _age(left, now) >= scratch_seconds:
                shutil.rmtree(left, ignore_errors=True)
                gone += 1
        for project in self.projects():
            path = self.path(project)
            for lock in (*path.glob("*.lock"), *(path / "refs").rglob("*.lock")):
                if _age(lock, now) >= 2 * git_program.SECONDS:
                    lock.unlink(missing_ok=True)
                    gone += 1
            for ref in (path / SCRATCH).glob("*"):
                if _age(ref, now) >= scratch_seconds:
                    ref.unlink(missing_ok=True)
                    gone += 1
            objects = path / "objects"
            for part in (*objects.glob("tmp_objdir-*"), *objects.glob("pack/tmp_*"), *objects.glob("??/tmp_obj_*")):
                if _age(part, now) >= _PUSH_SECONDS:
                    shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)
                    gone += 1
        return gone

    def path(self, project: str) -> Path:
        """Where the repository of a project lies or would lie; `UserError` for what is not a project name."""
        if ".git/" in checked_project(project):
            raise UserError("project-name", f"{project!r} would lie inside another repository")
        return self.root / (project + ".git")

    def create(self, project: str, *, default_branch: str = "main") -> bool:
        """See the port. The repository appears at once and whole, by a rename."""
        path = self.path(project)
        if path.is_dir():
            return False
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=self.root))
        except OSError as error:
            raise ExternalError("git-host", f"no repository can be made for {project}: {error.strerror}") from error
        try:
            self._initialise(scratch, default_branch)
            return _publish(scratch, path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def projects(self) -> tuple[str, ...]:
        """See the port."""
        found: list[str] = []
        for folder, names, _files in os.walk(self.root):
            here = [name for name in names if name.endswith(".git")]
            found += [str(Path(folder, name).relative_to(self.root))[: -len(".git")] for name in here]
            names[:] = [name for name in names if name not in here and not name.startswith(".")]
        return tuple(sorted(name for name in found if is_project(name)))

    def repository(self, project: str) -> GitRepository:
        """See the port."""
        if not is_project(project) or ".git/" in project or not self.path(project).is_dir():
            raise NotFound("no-project", f"there is no project {project!r}", hint="aegis status lists the projects")
        return GitRepository(self.path(project))

    def default_branch(self, project: str) -> str:
        """See the port."""
        head = (self.repository(project).path / "HEAD").read_text().strip()
        return head.removeprefix("ref: refs/heads/")

    def _initialise(self, path: Path, default_branch: str) -> None:
        answer = git_program.run(
            ["init", "--quiet", "--bare", "--template=", f"--initial-branch={default_branch}", str(path)],
            directory=path,
        )
        if answer.code:
            raise ExternalError("git-host", f"git could not make a repository: {answer.error}")
        with (path / "config").open("a") as file:
            for key, value in SETTINGS.items():
                section, _, name = key.rpartition(".")
                outer, _, inner = section.partition(".")
                title = f'{outer} "{inner}"' if inner else outer
                file.write(f"[{title}]\n\t{name} = {value}\n")
        (path / "info").mkdir(exist_ok=True)


def _age(path: Path, now: float) -> float:
    """Seconds since something was last changed; below zero where it has gone."""
    with contextlib.suppress(OSError):
        return now - path.lstat().st_mtime
    return -1.0


def _publish(scratch: Path, path: Path) -> bool:
    with contextlib.suppress(OSError):  # somebody else was first: theirs counts
        scratch.rename(path)
        return True
    if path.is_dir():
        return False
    raise ExternalError("git-host", f"{path.name} could not be put in place")
