"""`Sources` of a Git work tree, and of a plain directory.

Git answers what is or could be committed and what commits added; the patch that it prints is read here. A merge is
compared with its first parent, so that what somebody wrote while merging is seen as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from aegis.adapters import git_program
from aegis.core.errors import ExternalError, NotFound
from aegis.supplychain.leaks import MAXIMUM_SIZE, Added

_HUNK: Final = re.compile(rb"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_COMMIT: Final = re.compile(rb"commit ([0-9a-f]{40,64})")
_ESCAPES: Final = {b"n": b"\n", b"t": b"\t", b'"': b'"', b"\\": b"\\", b"r": b"\r", b"a": b"\a", b"b": b"\b"}
_SKIPPED: Final = frozenset(
    {
        ".git",
        ".hg",
        ".venv",
        "venv",
        "node_modules",
        "__pycache__",
        ".aegis",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".ruff_cache",
    }
)


class DirectorySources:
    """A directory without a history: all its files but those that tools make."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Path and content of each file."""
        for folder, folders, names in os.walk(self._path):
            folders[:] = sorted(name for name in folders if name not in _SKIPPED)
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink():
                    yield path.relative_to(self._path).as_posix(), _read(path)

    def added(self, since: str | None) -> Iterator[Added]:
        """There is none."""
        raise ExternalError(
            "no-history",
            f"{self._path} is no Git repository, so its commits{f' since {since}' if since else ''} cannot be searched",
            hint="leave out --since to search the files alone",
        )


class GitSources:
    """The work tree at `path`, which may be a folder of it: then only that folder is searched."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        root = _root(self._path)
        if root is None:
            raise NotFound("no-repository", f"{path} is in no Git repository")
        self._root = root
        self._prefix = self._path.relative_to(root).as_posix()

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Tracked files and those that are neither tracked nor ignored, as they stand in the work tree."""
        tracked = self._git("ls-files", "-z", "--cached", "--", *self._scope()).split(b"\0")
        others = self._git("ls-files", "-z", "--others", "--exclude-standard", "--", *self._scope()).split(b"\0")
        fresh = [name for name in others if not _SKIPPED & set(os.fsdecode(name).split("/"))]
        for name in sorted({*tracked, *fresh} - {b""}):
            path = self._root / os.fsdecode(name)
            if path.is_file() and not path.is_symlink():
                yield self._relative(os.fsdecode(name)), _read(path)

    def staged(self, index: str) -> Iterator[tuple[str, bytes]]:
        """What the next commit adds or changes, as it stands in the index: in `index` where Git names one to a hook."""
        extra = {"GIT_INDEX_FILE": str(self._root / index)} if index else {}
        wanted = ("diff", "--cached", "--name-only", "-z", "--no-renames", "--diff-filter=ACMT", "--", *self._scope())
        for name in self._git(*wanted, extra=extra).split(b"\0"):
            if name:
                path = os.fsdecode(name)
                yield self._relative(path), self._git("cat-file", "blob", f":{path}", extra=extra)[: MAXIMUM_SIZE + 1]

    def added(self, since: str | None) -> Iterator[Added]:
        """What commits added, oldest first."""
        if self._git("rev-parse", "--is-shallow-repository").strip() == b"true":
            raise ExternalError(
                "shallow-history",
                "the clone is shallow, so a part of the commits cannot be searched",
                hint="clone with the whole history: GIT_DEPTH: 0 in the job's variables",
            )
        if since is not None and self.resolve(since) is None:
            raise NotFound("revision", f"there is no commit {since!r} here", hint="name a commit, branch or tag")
        span = "HEAD" if since is None else f"{self.resolve(since)}..HEAD"
        patch = self._git(
            "log", "--reverse", "--format=commit %H", "--patch", "--unified=0", "--no-color", "--no-ext-diff",
            "--no-textconv", "--no-renames", "--diff-merges=first-parent", "--src-prefix=a/", "--dst-prefix=b/",
            "--end-of-options", span, "--", *self._scope(),
        )  # fmt: skip
        for added in _read_patch(patch):
            yield Added(commit=added.commit, path=self._relative(added.path), lines=added.lines)

    def resolve(self, revision: str) -> str | None:
        """The full id of a revision, or None where there is no such commit."""
        answer = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        return answer.out.decode().strip() if answer.code == 0 else None

    def merge_base(self, revision: str) -> str | None:
        """The best common ancestor of HEAD and a revision, or None."""
        found = self.resolve(revision)
        answer = self._run("merge-base", "HEAD", found) if found else None
        return answer.out.decode().strip() if answer and answer.code == 0 else None

    def last_version(self) -> str | None:
        """The nearest tag before HEAD whose name holds a version, or None."""
        answer = self._run("describe", "--tags", "--abbrev=0", "--match=*[0-9].[0-9]*", "HEAD^")
        return answer.out.decode().strip() if answer.code == 0 else None

    def _scope(self) -> tuple[str, ...]:
        return () if self._prefix == "." else (self._prefix,)

    def _relative(self, name: str) -> str:
        return name if self._prefix == "." else name.removeprefix(f"{self._prefix}/")

    def _run(self, *arguments: str, extra: Mapping[str, str] | None = None) -> git_program.Answer:
        extra = {"GIT_WORK_TREE": str(self._root), "GIT_CONFIG_KEY_0": "safe.directory", **(extra or {})}
        return git_program.run(
            ("-c", "core.quotePath=true", *arguments), directory=self._root / ".git", cwd=self._root, extra=extra
        )

    def _git(self, *arguments: str, extra: Mapping[str, str] | None = None) -> bytes:
        answer = self._run(*arguments, extra=extra)
        if answer.code:
            raise ExternalError("git-failed", f"git {arguments[0]}: {answer.error or f'exit code {answer.code}'}")
        return answer.out


def open_sources(path: Path) -> GitSources | DirectorySources:
    """The sources at `path`: a repository where there is one; `NotFound` where there is no directory."""
    if not path.is_dir():
        raise NotFound("directory-missing", f"{path} is no directory")
    return GitSources(path) if _root(path.resolve()) else DirectorySources(path)


def _root(path: Path) -> Path | None:
    return next((folder for folder in (path, *path.parents) if (folder / ".git").exists()), None)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAXIMUM_SIZE + 1)
    except OSError as error:
        raise ExternalError("file-unreadable", f"{path}: {error.strerror}") from error


def _read_patch(patch: bytes) -> Iterator[Added]:
    """The added lines of `git log --patch --unified=0`, one value per commit and file."""
    commit, path, number = "", "", 0
    lines: list[tuple[int, str]] = []
    in_hunk = False
    for line in patch.split(b"\n"):
        if in_hunk and line.startswith(b"+"):
            lines.append((number, line[1:].decode("utf-8", "replace").rstrip("\r")))
            number += 1
        elif hunk := _HUNK.match(line):
            in_hunk, number = True, int(hunk[1])
        elif in_hunk and line.startswith((b"-", b"\\")):
            continue
        else:
            in_hunk = False
            header = _COMMIT.fullmatch(line)
            if (header or line.startswith(b"diff --git ")) and lines:
                yield Added(commit=commit, path=path, lines=tuple(lines))
                lines = []
            if header:
                commit = header[1].decode()
            elif line.startswith(b"+++ "):
                path = _path(line[4:])
    if lines:
        yield Added(commit=commit, path=path, lines=tuple(lines))


def _path(field: bytes) -> str:
    """The path of a `+++` line, which Git quotes in C's way when it holds odd signs, and ends by a tab after a space."""
    field = field.rstrip(b"\t")
    if field.startswith(b'"') and field.endswith(b'"'):
        field = re.sub(
            rb'\\([0-7]{3}|[ntrab"\\])',
            lambda match: _ESCAPES[match[1]] if match[1] in _ESCAPES else bytes([int(match[1], 8) & 255]),
            field[1:-1],
        )
    return os.fsdecode(field.removeprefix(b"b/"))
