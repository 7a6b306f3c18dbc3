"""A Git repository behind `core.ports.Repository`, through `git` plumbing; one to three short processes per call.

Works on bare repositories and on the `.git` of a work tree, of which it never touches index or files. Two servers may
write the same repository: every write ends in one compare-and-swap of a ref.
"""

from __future__ import annotations

import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from aegis.adapters import git_program
from aegis.core.errors import Conflict, ExternalError, NotFound
from aegis.core.ports import CommitInfo, TreeEntry

NOBODY: Final = "0" * 40
HIDDEN: Final = "refs/aegis/"
SCRATCH: Final = f"{HIDDEN}scratch"
"""Refs under which commits are written before anything refers to them; a killed process leaves its own."""
"""Refs below it are never shown to clients: commits are built there before a branch moves to them."""

_FULL: Final = re.compile(r"[0-9a-f]{40}")
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f:?*\[\\]|\.\.|@\{|^-|//|^/|/$")
_BAD_REF: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/$|\.$|/\.|\.lock(?:/|$)")
_AUTHOR: Final = re.compile(r"([^<>\x00\n]*?) *<([^<>\x00\n]*)>")
_LOG: Final = "%H%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%B"
_LOG_FIELDS: Final = 8


class GitRepository:
    """The repository at `path`; it must exist (`NotFound` at first use otherwise). Holds no state, safe from any thread."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._directory = git_directory(path)
        self._now = now
        self._git: str | None = None

    # -- reading ----------------------------------------------------------------------------------------

    def resolve(self, revision: str) -> str:
        """See the port. `~N` and `^N` after a name are understood too; everything else of Git's syntax is not."""
        if not revision or _FORBIDDEN.search(revision):
            raise NotFound("no-revision", f"{revision!r} names no commit")
        answer = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}")
        if answer.code:
            raise NotFound("no-revision", f"{revision!r} names no commit in {self.path.name}")
        return answer.out.decode().strip()

    def read(self, commit: str, path: str) -> bytes:
        """See the port; a symbolic link's content is its target."""
        self._checked(commit)
        if not path or path.startswith(("/", "./", "../")) or "\x00" in path:
            raise NotFound("no-file", f"{path!r} is not a path inside a repository")
        answer = self._run("cat-file", "blob", f"{commit}:{path}")
        if answer.code:
            raise NotFound("no-file", f"there is no file {path!r} at {commit[:12]}")
        return answer.out

    def read_many(self, commit: str, paths: tuple[str, ...]) -> dict[str, bytes]:
        """The contents of those of `paths` that are files at `commit`, through one process."""
        wanted = [entry for entry in self.entries(commit) if entry.path in set(paths) and entry.mode != "160000"]
        answer = self._done(self._run("cat-file", "--batch", stdin="".join(f"{e.oid}\n" for e in wanted).encode()))
        found: dict[str, bytes] = {}
        at = 0
        for entry in wanted:
            end = answer.index(b"\n", at)
            size = int(answer[at:end].split()[2])
            found[entry.path] = answer[end + 1 : end + 1 + size]
            at = end + size + 2
        return found

    def entries(self, commit: str, under: str = "") -> tuple[TreeEntry, ...]:
        """See the port. `under` is a folder or a file; what is not there has no entries."""
        self._checked(commit)
        if under.startswith(("/", ".")) and {"", ".", ".."} & set(under.rstrip("/").split("/")):
            return ()
        answer = self._run("ls-tree", "-r", "-z", "--full-tree", commit, *(["--", under.rstrip("/")] if under else []))
        if answer.code:
            raise NotFound("no-commit", f"there is no commit {commit[:12]} in {self.path.name}")
        return tuple(_entry(line) for line in answer.out.split(b"\0") if line)

    def refs(self, prefix: str = "refs/") -> Mapping[str, str]:
        """See the port. `prefix` is a plain text prefix; tags are peeled; refs that lead to no commit are left out."""
        form = "%(refname)%00%(objecttype)%00%(objectname)%00%(*objecttype)%00%(*objectname)"
        answer = self._done(self._run("for-each-ref", f"--format={form}", prefix[: prefix.rfind("/") + 1] or "refs/"))
        found: dict[str, str] = {}
        for line in answer.decode("utf-8", "surrogateescape").split("\n"):
            if not line:
                continue
            name, kind, oid, inner, inner_oid = line.split("\0")
            if not name.startswith(prefix) or name.startswith(HIDDEN):
                continue
            if kind == "commit":
                found[name] = oid
            elif inner == "commit":
                found[name] = inner_oid
            elif inner == "tag":
                found[name] = self.resolve(name)
        return found

    def log(self, revision: str, *, since: str | None = None, limit: int = 1000) -> tuple[CommitInfo, ...]:
        """See the port. Times are aware; texts that are not UTF-8 have their bad bytes replaced."""
        head = self.resolve(revision)
        span = [head] if since is None else ["--date-order", head, f"^{self.resolve(since)}"]
        answer = self._done(
            self._run("log", "-z", f"--max-count={limit}", "--encoding=UTF-8", f"--format={_LOG}", *span, "--")
        )
        fields = answer.decode("utf-8", "replace").split("\0")
        return tuple(
            _commit_info(fields[at : at + _LOG_FIELDS]) for at in range(0, len(fields) - _LOG_FIELDS + 1, _LOG_FIELDS)
        )

    def changed(self, base: str | None, head: str) -> tuple[str, ...]:
        """See the port. A rename is a path that went and a path that came."""
        if base is None:
            return tuple(entry.path for entry in self.entries(head))
        self._checked(base)
        self._checked(head)
        answer = self._run("diff-tree", "-r", "-z", "--name-only", "--no-renames", base, head, "--")
        if answer.code:
            raise NotFound("no-commit", f"{base[:12]} or {head[:12]} is not in {self.path.name}")
        return tuple(path.decode("utf-8", "surrogateescape") for path in answer.out.split(b"\0") if path)

    def tag_message(self, name: str) -> str:
        """See the port."""
        form = "%(refname)%00%(objecttype)%00%(contents:subject)%00%(contents:body)"
        answer = self._done(self._run("for-each-ref", "--count=1", f"--format={form}", f"refs/tags/{name}"))
        parts = answer.decode("utf-8", "replace").rstrip("\n").split("\0")
        if parts[:2] != [f"refs/tags/{name}", "tag"]:
            return ""
        return "\n\n".join(part.strip("\n") for part in parts[2:] if part.strip("\n"))

    def merge_base(self, one: str, other: str) -> str | None:
        """See the port."""
        answer = self._run("merge-base", self._checked(one), self._checked(other))
        if answer.code > 1:
            raise NotFound("no-commit", f"{one[:12]} or {other[:12]} is not in {self.path.name}")
        return answer.out.decode().split()[0] if answer.out.strip() else None

    # -- writing ----------------------------------------------------------------------------------------

    def commit(
        self, ref: str, files: Mapping[str, bytes | None], *, message: str, author: str, expect: str | None
    ) -> str:
        """See the port. A file that is there keeps its mode; a new one is `100644`. What is not there is not deleted."""
        _checked_ref(ref)
        made, scratch = self._written(files, expect, message, author)
        try:
            self._swap([(ref, made, expect or NOBODY)])
        finally:
            self._run("update-ref", "-d", scratch)
        return made

    def committed(self, files: Mapping[str, bytes | None], *, base: str | None, message: str, author: str) -> str:
        """See the port."""
        made, scratch = self._written(files, base, message, author)
        self._run("update-ref", "-d", scratch)
        return made

    def _written(
        self, files: Mapping[str, bytes | None], base: str | None, message: str, author: str
    ) -> tuple[str, str]:
        """The commit, and the hidden ref that holds it until another one does."""
        for path in files:
            _quoted(path)
        modes = self._modes(base, tuple(files)) if base else {}
        scratch = f"{SCRATCH}/{secrets.token_hex(8)}"
        header = _commit_header(scratch, message, _identity(author, self._now()), base)
        stream = b"".join((header, *_file_changes(files, modes), b"\nget-mark :1\n"))
        answer = self._run("fast-import", "--quiet", "--date-format=raw-permissive", "--cat-blob-fd=1", stdin=stream)
        if answer.code:
            if base is not None:
                self.resolve(base)  # NotFound says it better
            raise ExternalError("git-commit", f"git refused the commit: {_first(answer.error)}")
        return answer.out.decode().strip(), scratch

    def merged(self, source: str, into: str, *, message: str, author: str) -> str:
        """See the port. Always a merge commit, also where a fast-forward could do; nothing to merge is `Conflict`."""
        if self.merge_base(source, into) == source:
            raise Conflict("nothing-to-merge", f"{into[:12]} already has everything of {source[:12]}")
        tree = self._merged_tree(into, source)
        name, email, stamp = _identity(author, self._now())
        answer = self._run(
            "commit-tree", tree, "-p", into, "-p", source, "-F", "-",
            stdin=message.encode("utf-8", "surrogateescape"),
            extra={
                "GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email, "GIT_AUTHOR_DATE": stamp,
                "GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": email, "GIT_COMMITTER_DATE": stamp,
            },
        )  # fmt: skip
        return self._done(answer).decode().strip()

    def tagged(self, name: str, commit: str, *, message: str, author: str) -> str:
        """See the port."""
        _checked_ref(f"refs/tags/{name}")
        who, email, stamp = _identity(author, self._now())
        head = f"object {self.resolve(commit)}\ntype commit\ntag {name}\ntagger {who} <{email}> {stamp}\n\n"
        text = f"{head}{message.rstrip()}\n".encode("utf-8", "surrogateescape")
        return self._done(self._run("mktag", stdin=text)).decode().strip()

    def set_ref(self, ref: str, commit: str, *, expect: str | None) -> None:
        """See the port."""
        _checked_ref(ref)
        self._swap([(ref, self._checked(commit), expect or NOBODY)])

    def delete_ref(self, ref: str, *, expect: str) -> None:
        """See the port."""
        _checked_ref(ref)
        if ref.startswith("refs/tags/") and expect:
            # An annotated tag is an object of its own: what is expected is the commit it leads to.
            own = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", ref)
            if own.code == 0 and self.resolve(ref) == expect:
                expect = own.out.decode().strip()
        self._swap([(ref, NOBODY, expect)])

    # -- the inside -------------------------------------------------------------------------------------

    def _run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        extra: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> git_program.Answer:
        self._git = self._git or git_program.program()
        if not self._directory.is_dir():
            raise NotFound("no-repository", f"there is no Git repository at {self.path.name}")
        return git_program.run(arguments, directory=self._directory, stdin=stdin, extra=extra, cwd=cwd, git=self._git)

    def _done(self, answer: git_program.Answer) -> bytes:
        if answer.code:
            raise ExternalError("git-failed", f"git failed in {self.path.name}: {_first(answer.error)}")
        return answer.out

    def _checked(self, commit: str) -> str:
        return commit if _FULL.fullmatch(commit) else self.resolve(commit)

    def _modes(self, commit: str, paths: tuple[str, ...]) -> dict[str, str]:
        few = ["--", *paths] if 0 < len(paths) <= _FEW_PATHS else []
        answer = self._run("ls-tree", "-r", "-z", "--full-tree", commit, *few)
        if answer.code:
            raise NotFound("no-commit", f"there is no commit {commit[:12]} in {self.path.name}")
        found = [_entry(line) for line in answer.out.split(b"\0") if line]
        return {entry.path: entry.mode for entry in found}

    def _swap(self, updates: list[tuple[str, str, str]]) -> None:
        lines = ["start", *(_swap_line(*update) for update in updates), "prepare", "commit"]
        answer = self._run("update-ref", "--no-deref", "--stdin", stdin=("\n".join(lines) + "\n").encode())
        if not answer.code:
            return
        for _ref, new, _old in updates:
            if new != NOBODY:
                self.resolve(new)
        raise Conflict(
            "ref-moved", f"{updates[0][0]} is not where it was expected: {_first(answer.error)}", retryable=True
        )

    def _merged_tree(self, ours: str, theirs: str) -> str:
        answer = self._run("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
        if answer.code == _USAGE:
            return self._merged_tree_through_index(ours, theirs)
        if answer.code > 1:
            self.resolve(ours)
            self.resolve(theirs)
            if self.merge_base(ours, theirs) is None:
                raise Conflict("unrelated", f"{ours[:12]} and {theirs[:12]} share no history")
            raise ExternalError("git-merge", f"git could not merge: {_first(answer.error)}")
        tree, *paths = [part.decode("utf-8", "surrogateescape") for part in answer.out.split(b"\0") if part]
        if answer.code == 1:
            raise _clash(paths)
        return tree

    def _merged_tree_through_index(self, ours: str, theirs: str) -> str:
        """What `merge-tree --write-tree` does, for a `git` before 2.38: three trees in an index of its own."""
        base = self.merge_base(ours, theirs)
        if base is None:
            raise Conflict("unrelated", f"{ours[:12]} and {theirs[:12]} share no history")
        with tempfile.TemporaryDirectory(prefix="aegis-merge-") as scratch:
            tree = Path(scratch, "tree")
            tree.mkdir()
            extra = {"GIT_INDEX_FILE": str(Path(scratch, "index")), "GIT_WORK_TREE": str(tree)}
            self._done(self._run("read-tree", "-i", "-m", "--aggressive", base, ours, theirs, extra=extra))
            self._run("merge-index", "-o", "-q", "git-merge-one-file", "-a", extra=extra, cwd=tree)
            unmerged = self._done(self._run("ls-files", "-u", "-z", extra=extra, cwd=tree))
            paths = {
                part.split(b"\t", 1)[1].decode("utf-8", "surrogateescape") for part in unmerged.split(b"\0") if part
            }
            if paths:
                raise _clash(sorted(paths))
            return self._done(self._run("write-tree", extra=extra)).decode().strip()


_NO_PART: Final = frozenset({b"", b".", b"..", b".git"})
_USAGE: Final = 129
_FEW_PATHS: Final = 50


def git_directory(path: Path) -> Path:
    """Where the repository's own files lie: `path` itself when bare, else its `.git` (which may be a pointer file)."""
    inner = path / ".git"
    if inner.is_dir():
        return inner
    if inner.is_file():
        pointed = inner.read_text().removeprefix("gitdir:").strip()
        return (path / pointed).resolve()
    return path


def _swap_line(ref: str, new: str, old: str) -> str:
    return f"delete {ref} {old}" if new == NOBODY else f"update {ref} {new} {old}"


def _clash(paths: list[str]) -> Conflict:
    named = ", ".join(paths[:20])
    return Conflict(
        "merge-conflict",
        f"both sides changed {named}",
        hint="merge the target branch into the source branch and push again",
    )


def _first(text: str) -> str:
    return text.splitlines()[0] if text else "no reason was given"


def _checked_ref(ref: str) -> None:
    if not ref.startswith("refs/") or ref.startswith(HIDDEN) or _BAD_REF.search(ref) or ref.count("/") < 2:
        raise ExternalError("ref-name", f"{ref!r} is not the full name of a ref")


def _entry(line: bytes) -> TreeEntry:
    facts, path = line.split(b"\t", 1)
    mode, _kind, oid = facts.decode().split()
    return TreeEntry(path=path.decode("utf-8", "surrogateescape"), mode=mode, oid=oid)


def _commit_info(fields: list[str]) -> CommitInfo:
    commit, parents, name, email, authored, committer, committer_email, message = fields
    return CommitInfo(
        commit=commit.strip(),
        parents=tuple(parents.split()),
        author_name=name,
        author_email=email,
        authored_at=datetime.fromisoformat(authored),
        committer_name=committer,
        committer_email=committer_email,
        message=message,
    )


def _identity(author: str, now: float) -> tuple[str, str, str]:
    found = _AUTHOR.fullmatch(author.strip())
    if found is None:
        raise ExternalError("git-author", f"{author!r} is not of the form 'Name <email>'")
    return found[1] or "unknown", found[2], f"{int(now)} +0000"


def _quoted(path: str) -> bytes:
    raw = path.encode("utf-8", "surrogateescape")
    parts = raw.split(b"/")
    if any(part.lower() in _NO_PART for part in parts) or b"\0" in raw:
        raise ExternalError("git-path", f"{path!r} cannot be a path in a repository")
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'


def _commit_header(ref: str, message: str, identity: tuple[str, str, str], base: str | None) -> bytes:
    name, email, stamp = (part.encode() for part in identity)
    text = message.encode("utf-8", "surrogateescape")
    parts = [b"commit %s\nmark :1\n" % ref.encode()]
    parts += [b"%s %s <%s> %s\n" % (role, name, email, stamp) for role in (b"author", b"committer")]
    parts.append(b"data %d\n%s\n" % (len(text), text))
    if base is not None:
        parts.append(b"from %s\n" % base.encode())
    return b"".join(parts)


def _file_changes(files: Mapping[str, bytes | None], modes: Mapping[str, str]) -> Iterator[bytes]:
    for path, content in files.items():
        if content is None:
            yield b"D %s\n" % _quoted(path)
        else:
            mode = modes.get(path, "100644").replace("160000", "100644").encode()
            yield b"M %s inline %s\ndata %d\n%s\n" % (mode, _quoted(path), len(content), content)
