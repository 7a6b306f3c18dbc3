"""Repositories as they are read through the API: branches, tags, commits, files. Authorised as a fetch is."""

from __future__ import annotations

from dataclasses import dataclass

from aegis.core.errors import NotFound
from aegis.core.ports import CommitInfo, Repository, TreeEntry
from aegis.delivery.context import Context
from aegis.delivery.views import Actor
from aegis.source.branches import HEADS, TAGS, ProtectedBranch, branch_rules

COMMITS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A branch with its tip, and the rules that protect it."""

    name: str
    tip: CommitInfo
    default: bool = False
    protected: bool = False
    may_push: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A tag and the commit it names."""

    name: str
    target: CommitInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file at a commit. `last` is the newest commit that touched it, of those that are looked through."""

    path: str
    ref: str
    commit: str
    blob: str
    mode: str
    content: bytes
    last: str = ""


class Sources:
    """Reads for one server."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def _open(self, actor: Actor, project: str) -> Repository:
        self._context.options.project(project)
        self._context.authorise(actor, "fetch", project=project)
        return self._context.repository(project)

    def branches(self, actor: Actor, project: str, *, search: str = "") -> tuple[Branch, ...]:
        """Branches by name; `search` is a part of one (`^` and `$` bind it to an end)."""
        repository = self._open(actor, project)
        found = []
        for ref in sorted(repository.refs(HEADS)):
            name = ref.removeprefix(HEADS)
            if _fits(name, search):
                found.append(self._branch(repository, project, name, actor))
        return tuple(found)

    def branch(self, actor: Actor, project: str, name: str) -> Branch:
        """One branch; `NotFound`."""
        repository = self._open(actor, project)
        if HEADS + name not in repository.refs(HEADS):
            raise NotFound("no-such-branch", "Branch Not Found")
        return self._branch(repository, project, name, actor)

    def _branch(self, repository: Repository, project: str, name: str, actor: Actor) -> Branch:
        rules = branch_rules(name, self._context.options.branches)
        groups = {*actor.groups, actor.id, "*"}
        return Branch(
            name=name,
            tip=repository.log(HEADS + name, limit=1)[0],
            default=name == self._context.options.project(project).default_branch,
            protected=bool(rules),
            may_push=all(groups & set(rule.push) for rule in rules),
        )

    def protections(self, actor: Actor, project: str) -> tuple[ProtectedBranch, ...]:
        """The rules that protect branches of a project."""
        self._open(actor, project)
        return self._context.options.branches

    def tags(self, actor: Actor, project: str, *, search: str = "") -> tuple[Tag, ...]:
        """Tags by name."""
        repository = self._open(actor, project)
        names = [ref.removeprefix(TAGS) for ref in sorted(repository.refs(TAGS))]
        return tuple(
            Tag(name=name, target=repository.log(TAGS + name, limit=1)[0]) for name in names if _fits(name, search)
        )

    def tag(self, actor: Actor, project: str, name: str) -> Tag:
        """One tag; `NotFound`."""
        repository = self._open(actor, project)
        if TAGS + name not in repository.refs(TAGS):
            raise NotFound("no-such-tag", "Tag Not Found")
        return Tag(name=name, target=repository.log(TAGS + name, limit=1)[0])

    def commit_of(self, actor: Actor, project: str, ref: str) -> str:
        """The commit that a branch, tag or id names (the default branch for nothing); `NotFound`."""
        repository = self._open(actor, project)
        wanted = ref or self._context.options.project(project).default_branch
        refs = repository.refs()
        for name in (HEADS + wanted, TAGS + wanted, wanted):
            if name in refs:
                return refs[name]
        return repository.resolve(wanted)

    def commits(self, actor: Actor, project: str, ref: str) -> tuple[CommitInfo, ...]:
        """The history of a ref, newest first, up to a bound."""
        return self._open(actor, project).log(self.commit_of(actor, project, ref), limit=COMMITS)

    def commit(self, actor: Actor, project: str, ref: str) -> CommitInfo:
        """One commit; `NotFound`."""
        return self._open(actor, project).log(self.commit_of(actor, project, ref), limit=1)[0]

    def merge_base(self, actor: Actor, project: str, one: str, other: str) -> CommitInfo:
        """The best common ancestor of two refs; `NotFound`."""
        repository = self._open(actor, project)
        found = repository.merge_base(self.commit_of(actor, project, one), self.commit_of(actor, project, other))
        if found is None:
            raise NotFound("no-merge-base", "Merge Base Not Found")
        return repository.log(found, limit=1)[0]

    def tree(self, actor: Actor, project: str, ref: str, under: str, *, recursive: bool) -> tuple[TreeEntry, ...]:
        """Files and directories (mode `040000`, without an object id) below a path, directories first."""
        repository = self._open(actor, project)
        entries = repository.entries(self.commit_of(actor, project, ref))
        base = f"{under.strip('/')}/" if under.strip("/") else ""
        folders: dict[str, None] = {}
        files = []
        for entry in entries:
            if not entry.path.startswith(base):
                continue
            parts = entry.path.removeprefix(base).split("/")
            deep = range(1, len(parts)) if recursive else range(1, min(2, len(parts)))
            folders.update(dict.fromkeys(base + "/".join(parts[:size]) for size in deep))
            if recursive or len(parts) == 1:
                files.append(entry)
        if base and not files and not folders:
            raise NotFound("no-such-tree", "Tree Not Found")
        return (*(TreeEntry(path=path, mode="040000", oid="0" * 40) for path in sorted(folders)), *files)

    def file(self, actor: Actor, project: str, ref: str, path: str) -> File:
        """One file; `NotFound`."""
        repository = self._open(actor, project)
        commit = self.commit_of(actor, project, ref)
        entry = next((one for one in repository.entries(commit) if one.path == path), None)
        if entry is None:
            raise NotFound("no-such-file", "File Not Found")
        return File(
            path=path, ref=ref, commit=commit, blob=entry.oid, mode=entry.mode, content=repository.read(commit, path),
            last=_last_touched(repository, commit, path),
        )  # fmt: skip


def _last_touched(repository: Repository, commit: str, path: str) -> str:
    """The newest commit of the last hundred that changed a path; `commit` where none did."""
    for info in repository.log(commit, limit=100):
        base = info.parents[0] if info.parents else None
        if path in repository.changed(base, info.commit):
            return info.commit
    return commit


def _fits(name: str, search: str) -> bool:
    if search.startswith("^"):
        return name.startswith(search[1:])
    if search.endswith("$"):
        return name.endswith(search[:-1])
    return search.lower() in name.lower()
