"""Files for the pipeline compiler: from a work tree as it lies on the disk, or from one commit of a repository.

Also says what Git knows of a work tree (branch, commit, what changed), for commands that stand in one. Decides nothing
about pipelines. Both classes satisfy `aegis.pipeline.ports.Files`.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from pathlib import Path
from typing import Final

from aegis.core.errors import ExternalError, NotFound
from aegis.core.values import dataclass

_UNSEEN: Final = frozenset({".git", ".aegis", ".venv", "node_modules", "__pycache__"})
_WALK_MAX: Final = 500_000
_DEFAULTS: Final = ("refs/heads/main", "refs/heads/master", "refs/remotes/origin/HEAD")
_ORIGIN: Final = re.compile(r'^\[remote "origin"\]\s*\n(?:(?!\[).*\n)*?\s*url\s*=\s*(.*)$', re.MULTILINE)


class WorkTreeFiles:
    """The files under a directory. In a Git work tree, those that Git ignores are left out of `paths`.

    `git_directory` is the repository's; None where there is none.
    """

    def __init__(self, root: Path, git_directory: Path | None = None) -> None:
        self._root = root.resolve()
        self._git_directory = git_directory
        self._paths: tuple[str, ...] | None = None

    def read(self, path: str) -> bytes | None:
        """See `Files`. A link that leads out of the directory is no file."""
        try:
            file = (self._root / path).resolve()
            if not file.is_relative_to(self._root) or not file.is_file():
                return None
            return file.read_bytes()
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        except OSError as error:
            raise ExternalError("unreadable", f"{path} cannot be read: {error.strerror}") from error

    def paths(self) -> tuple[str, ...]:
        """See `Files`."""
        if self._paths is None:
            self._paths = self._listed() if self._git_directory is not None else self._walked()
        return self._paths

    def _listed(self) -> tuple[str, ...]:
        from aegis.adapters import git_program  # noqa: PLC0415 - most calls need no list

        answer = git_program.run(
            ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            directory=self._git_directory or self._root,
            cwd=self._root,
        )
        if answer.code != 0:
            raise ExternalError("git-failed", f"git ls-files: {answer.error}")
        names = {name.decode("utf-8", "replace") for name in answer.out.split(b"\0") if name}
        return tuple(sorted(name for name in names if (self._root / name).is_file()))

    def _walked(self) -> tuple[str, ...]:
        found: list[str] = []
        for directory, folders, files in os.walk(self._root):
            folders[:] = sorted(name for name in folders if name not in _UNSEEN)
            relative = Path(directory).relative_to(self._root)
            found.extend((relative / name).as_posix() for name in files)
            if len(found) > _WALK_MAX:
                raise ExternalError(
                    "too-many-files",
                    f"more than {_WALK_MAX} files lie under {self._root.name}",
                    hint="run `git init` there",
                )
        return tuple(sorted(found))


class CommitFiles:
    """The files of one commit. Objects are read through one `git` call each and kept; safe from any thread."""

    def __init__(self, git_directory: Path, commit: str) -> None:
        self._git_directory = git_directory
        self._commit = commit
        self._lock = threading.Lock()
        self._content: dict[str, bytes | None] = {}
        self._paths: tuple[str, ...] | None = None

    def read(self, path: str) -> bytes | None:
        """See `Files`."""
        with self._lock:
            if path not in self._content:
                self._content[path] = self._read(path)
            return self._content[path]

    def _read(self, path: str) -> bytes | None:
        from aegis.adapters import git_program  # noqa: PLC0415 - start-up is a feature

        if not path or path.startswith("/") or "\0" in path or ".." in path.split("/"):
            return None
        answer = git_program.run(["cat-file", "blob", f"{self._commit}:{path}"], directory=self._git_directory)
        return answer.out if answer.code == 0 else None

    def paths(self) -> tuple[str, ...]:
        """See `Files`."""
        from aegis.adapters import git_program  # noqa: PLC0415 - start-up is a feature

        with self._lock:
            if self._paths is None:
                answer = git_program.run(
                    ["ls-tree", "-r", "-z", "--name-only", "--full-tree", self._commit], directory=self._git_directory
                )
                if answer.code != 0:
                    raise ExternalError("git-failed", f"git ls-tree: {answer.error}")
                names = (name.decode("utf-8", "replace") for name in answer.out.split(b"\0") if name)
                self._paths = tuple(sorted(names))
            return self._paths


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkTree:
    """A work tree and its repository."""

    root: Path
    git_directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a work tree has checked out. `commit` is empty before the first commit, `branch` None when detached."""

    commit: str
    branch: str | None
    default_branch: str
    before: str | None = None
    message: str = ""
    author: str = ""
    timestamp: str = ""
    remote: str = ""


def find(start: Path) -> WorkTree | None:
    """The work tree that `start` lies in; None when there is none."""
    for directory in (start.resolve(), *start.resolve().parents):
        mark = directory / ".git"
        if mark.is_dir():
            return WorkTree(root=directory, git_directory=mark)
        if mark.is_file():
            text = mark.read_text(encoding="utf-8", errors="replace").strip()
            target = Path(text.removeprefix("gitdir:").strip())
            return WorkTree(
                root=directory, git_directory=target if target.is_absolute() else (directory / target).resolve()
            )
    return None


def _ask(tree: WorkTree, *arguments: str) -> str | None:
    """The answer of a `git` command without its last line end; None when it refuses."""
    from aegis.adapters import git_program  # noqa: PLC0415 - start-up is a feature

    answer = git_program.run(list(arguments), directory=tree.git_directory, cwd=tree.root)
    return answer.out.decode("utf-8", "replace").rstrip("\n") if answer.code == 0 else None


def head(tree: WorkTree) -> Head:
    """What is checked out. Most of it stands in small files; a `git` process takes as long as compiling fifty jobs."""
    branch = _pointed(tree.git_directory / "HEAD", "refs/heads/")
    facts = (_ask(tree, "log", "-1", "--format=%H%x00%P%x00%an <%ae>%x00%cI%x00%B", "HEAD") or "").split("\0")
    default = _default_branch(tree) or branch or "main"
    if len(facts) < 5:
        return Head(commit="", branch=branch, default_branch=default)
    return Head(
        commit=facts[0],
        branch=branch,
        default_branch=default,
        before=facts[1].split(" ")[0] or None,
        author=facts[2],
        timestamp=facts[3],
        message=facts[4],
        remote=remote(tree),
    )


def _common(tree: WorkTree) -> Path:
    """Where refs and configuration lie: for a linked work tree not in its own directory."""
    try:
        return (tree.git_directory / (tree.git_directory / "commondir").read_text().strip()).resolve()
    except OSError:
        return tree.git_directory


def _pointed(file: Path, prefix: str) -> str | None:
    """The ref that a symbolic one points to, without the prefix; None where it is not one."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    return text.removeprefix(f"ref: {prefix}") if text.startswith(f"ref: {prefix}") else None


def _default_branch(tree: WorkTree) -> str:
    """The remote's default branch, else `main` or `master` where there is one; empty where neither is."""
    common = _common(tree)
    if (common / "reftable").is_dir():
        known = (_ask(tree, "for-each-ref", "--format=%(refname) %(symref)", *_DEFAULTS) or "").splitlines()
        names = {line.split(" ")[0] for line in known}
        pointed = next((line.split(" ")[1] for line in known if line.startswith("refs/remotes/origin/HEAD ")), "")
    else:
        pointed = f"refs/remotes/origin/{_pointed(common / 'refs/remotes/origin/HEAD', 'refs/remotes/origin/') or ''}"
        packed = _read(common / "packed-refs")
        names = {ref for ref in _DEFAULTS if (common / ref).is_file() or f" {ref}\n" in packed}
    found = pointed.removeprefix("refs/remotes/origin/")
    return found or next((one for one in ("main", "master") if f"refs/heads/{one}" in names), "")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def remote(tree: WorkTree) -> str:
    """The address of the remote `origin` as the repository's own configuration has it; empty where there is none."""
    section = _ORIGIN.search(_read(_common(tree) / "config"))
    return section.group(1).strip() if section is not None else ""


def resolve(tree: WorkTree, revision: str) -> str:
    """The commit that a revision names; `NotFound`."""
    found = _ask(tree, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found is None:
        raise NotFound(
            "no-revision", f"there is no revision {revision!r} here", hint="`git log --oneline` shows what there is"
        )
    return found


def merge_base(tree: WorkTree, one: str, other: str) -> str | None:
    """The best common ancestor of two revisions; None where there is none."""
    return _ask(tree, "merge-base", one, other)


def tag_message(tree: WorkTree, name: str) -> str:
    """The message of an annotated tag; empty for a plain one and for one that is not there."""
    form = "%(refname)%00%(objecttype)%00%(contents:subject)%00%(contents:body)"
    parts = (_ask(tree, "for-each-ref", "--count=1", f"--format={form}", f"refs/tags/{name}") or "").split("\0")
    if parts[:2] != [f"refs/tags/{name}", "tag"]:
        return ""
    return "\n\n".join(part.strip("\n") for part in parts[2:] if part.strip("\n"))


def changed_since(tree: WorkTree, base: str) -> tuple[str, ...]:
    """Paths that differ between `base` and the work tree as it lies there, new files included."""
    differing = _ask(tree, "diff", "--name-only", "-z", "--no-renames", base) or ""
    untracked = _ask(tree, "ls-files", "-z", "--others", "--exclude-standard") or ""
    return tuple(sorted({name for name in (differing + "\0" + untracked).split("\0") if name}))


def identities(tree: WorkTree) -> dict[str, str]:
    """Every tracked file as it lies there: the id of its content (a blob's), with `+x` where it may be executed.

    What was deleted is left out.
    """
    from aegis.adapters import git_program  # noqa: PLC0415 - start-up is a feature

    def ask(*arguments: str) -> list[str]:
        place = {"GIT_WORK_TREE": str(tree.root)}
        answer = git_program.run(list(arguments), directory=tree.git_directory, cwd=tree.root, extra=place)
        if answer.code != 0:
            raise ExternalError("git-failed", f"git {arguments[0]}: {answer.error}")
        return [os.fsdecode(one) for one in answer.out.split(b"\0") if one]

    found = {}
    for line in ask("ls-files", "-s", "-z"):
        facts, _, path = line.partition("\t")
        mode, blob, _ = facts.split(" ")
        found[path] = f"{blob}+x" if mode.endswith("755") else blob
    for path in ask("diff-files", "--name-only", "-z"):
        try:
            content = (tree.root / path).read_bytes()
            executable = (tree.root / path).stat().st_mode & 0o100
        except OSError:
            found.pop(path, None)
            continue
        blob = hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()
        found[path] = f"{blob}+x" if executable else blob
    return found
