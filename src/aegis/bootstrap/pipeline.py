"""Puts together what the pipeline commands need: files from a directory or a commit, and facts from Git.

Everything works without Git too; then the directory is the project and nothing is known of commits and changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.adapters import files_worktree
from aegis.adapters.files_worktree import CommitFiles, WorkTree, WorkTreeFiles
from aegis.bootstrap.instance import Instance
from aegis.bootstrap.project_variables import with_declared
from aegis.core.errors import NotFound, UserError
from aegis.core.plan import Variable
from aegis.core.values import dataclass
from aegis.pipeline.patterns import Rare
from aegis.pipeline.ports import Files
from aegis.pipeline.request import Compilation, CompileRequest, MergeRequest

if TYPE_CHECKING:
    from aegis.pipeline.forecast import Forecast

ROOT: Final = ".gitlab-ci.yml"
_SHOWN: Final = 8
_NOT_PATH: Final = Rare(r"[^a-z0-9._-]+")
_REMOTE: Final = Rare(r"(?:^[a-z+]+://[^/]+/|^[^/@]+@[^:/]+:)(?P<path>[^?#]+?)(?:\.git)?/?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What a pipeline would be run for, as the options of `preview` and `run` say. None: what the work tree has.

    `tag` and `merge_request` exclude one another. `changed` None: ask Git; a tuple: exactly these. `predefined` are
    variables below all others (`aegis run` gives `AEGIS_LOCAL`, so that templates neither push nor ask for a server).
    """

    ref: str | None = None
    tag: str | None = None
    merge_request: bool = False
    merged_result: bool = False
    target: str | None = None
    source: str | None = None
    variables: tuple[Variable, ...] = ()
    inputs: Mapping[str, object] | None = None
    changed: tuple[str, ...] | None = None
    since: str | None = None
    """What changed since the work tree left this revision, uncommitted and new files included; not with `changed`."""
    predefined: Mapping[str, str] | None = None
    declaration: str | None = None
    """The `aegis.yaml` whose variables count; None: the one in the project's root, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """A project on this machine. `directory` is its root, `file` the pipeline file relative to it."""

    directory: Path
    file: str
    tree: WorkTree | None

    def files(self) -> Files:
        """The files as they lie there."""
        return WorkTreeFiles(self.directory, self.tree.git_directory if self.tree is not None else None)


def locate(file: str | None) -> Local:
    """The project of a pipeline file (or directory); without one, of the directory one stands in. `NotFound` without a file."""
    given = Path(file) if file else Path()
    if given.is_dir():
        tree = files_worktree.find(given)
        inside = given / ROOT
        given = inside if inside.is_file() or tree is None else tree.root / ROOT
    if not given.is_file():
        raise UserError(
            "no-file", f"there is no file {file or ROOT}", hint="`aegis adopt .` writes a pipeline for a Python project"
        )
    tree = files_worktree.find(given.parent)
    root = tree.root if tree is not None else given.resolve().parent
    path = given.resolve()
    if tree is None or not path.is_relative_to(root):
        return Local(directory=path.parent, file=path.name, tree=None)
    return Local(directory=root, file=path.relative_to(root).as_posix(), tree=tree)


def check(file: str | None, *, advise: bool = True) -> Compilation:
    """What `lint` says, with advice among the warnings. Git is asked only where the file itself asks for lists of files."""
    from aegis.pipeline.compile import inspect_pipeline  # noqa: PLC0415 - start-up is a feature

    local = locate(file)
    found = inspect_pipeline(CompileRequest(files=local.files(), root=local.file, elsewhere=Instance(local.tree)))
    compilation = found.compilation
    return replace(compilation, warnings=(*compilation.warnings, *found.advice())) if advise else compilation


def request(local: Local, occasion: Occasion) -> CompileRequest:
    """The question that the work tree and the options make together."""
    head = files_worktree.head(local.tree) if local.tree is not None else None
    default = head.default_branch if head is not None else "main"
    checked_out = (head.branch if head is not None else None) or default
    ref = occasion.tag or occasion.ref or checked_out
    commit = head.commit if head is not None else ""
    made = CompileRequest(
        files=local.files(),
        root=local.file,
        project=project_path(local, head.remote if head is not None else ""),
        commit=commit or "0" * 40,
        ref=ref,
        ref_kind="tag" if occasion.tag else "branch",
        source=occasion.source or ("merge_request_event" if occasion.merge_request else "push"),
        default_branch=default,
        protected=ref == default and not occasion.tag,
        before=head.before if head is not None and ref == checked_out else None,
        changed=_changed(local, occasion, ref, checked_out, default),
        comparisons=_Comparisons(local) if local.tree is not None and occasion.changed is None else None,
        elsewhere=Instance(local.tree),
        pipeline_variables=occasion.variables,
        commit_message=head.message if head is not None else "",
        tag_message=files_worktree.tag_message(local.tree, occasion.tag) if local.tree and occasion.tag else "",
        commit_author=head.author if head is not None else "",
        commit_timestamp=head.timestamp if head is not None else "",
        inputs=dict(occasion.inputs or {}),
        predefined=dict(occasion.predefined or {}),
    )
    if not (occasion.merge_request or occasion.source == "merge_request_event"):
        return with_declared(made, local.directory, occasion.declaration)
    target = occasion.target or default
    merge = MergeRequest(
        number=1,
        source_branch=ref,
        target_branch=target,
        target_sha=_target(local, target),
        source_sha=commit,
        base_sha=(files_worktree.merge_base(local.tree, "HEAD", target) if local.tree else None) or "",
        target_protected=target == default,
        merged_result=occasion.merged_result,
    )
    asked = replace(made, merge_request=merge, source="merge_request_event", protected=False)
    return with_declared(asked, local.directory, occasion.declaration)


class _Comparisons(Mapping[str, tuple[str, ...]]):
    """What the work tree changed since it left each revision that `compare_to` may name."""

    def __init__(self, local: Local) -> None:
        self._local = local

    def __getitem__(self, ref: str) -> tuple[str, ...]:
        tree = self._local.tree
        for name in (ref, f"origin/{ref}"):
            base = files_worktree.merge_base(tree, "HEAD", name) if tree is not None else None
            if tree is not None and base is not None:
                return files_worktree.changed_since(tree, base)
        raise KeyError(ref)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _target(local: Local, branch: str) -> str:
    if local.tree is None:
        return ""
    try:
        return files_worktree.resolve(local.tree, branch)
    except NotFound:
        return ""


def _looks_at_changes(local: Local) -> bool:
    """Whether the file may ask for changes at all: three `git` processes less where it does not."""
    try:
        data = (local.directory / local.file).read_bytes()
    except OSError:
        return True
    return b"changes" in data or b"include" in data


def _changed(local: Local, occasion: Occasion, ref: str, checked_out: str, default: str) -> tuple[str, ...] | None:
    """What changed, as far as a work tree can know: since the default branch, or on it since the previous commit."""
    if occasion.changed is not None:
        return occasion.changed
    if occasion.since is not None:
        return _since(local, occasion.since)
    if not _looks_at_changes(local):
        return None
    if local.tree is None or occasion.tag is not None:
        return None
    if ref != checked_out and not occasion.merge_request:
        return None  # a branch that is new to the server: its changes are unknown there too
    compare = occasion.target or default
    base: str | None = None
    if occasion.merge_request or ref != compare:
        base = files_worktree.merge_base(local.tree, "HEAD", compare)
    else:
        base = _target(local, "HEAD~1") or None
    return files_worktree.changed_since(local.tree, base) if base is not None else None


def _since(local: Local, revision: str) -> tuple[str, ...]:
    """What the work tree changed since it left a revision; without a common ancestor: what differs from it."""
    if local.tree is None:
        raise UserError("no-repository", "--since compares with a revision, and this is no Git repository")
    commit = files_worktree.resolve(local.tree, revision)
    return files_worktree.changed_since(local.tree, files_worktree.merge_base(local.tree, "HEAD", commit) or commit)


def changes_told(occasion: Occasion, asked: CompileRequest) -> str:
    """Which files count as changed, and against what they were compared; empty where nothing was compared."""
    if asked.changed is None:
        return ""
    if occasion.changed is not None:
        against = "as named"
    elif occasion.since is not None:
        against = f"since {occasion.since}"
    elif occasion.merge_request or asked.ref != asked.default_branch:
        against = f"since {occasion.target or asked.default_branch}"
    else:
        against = "since the commit before"
    shown = ", ".join(asked.changed[:_SHOWN]) or "nothing"
    more = f" and {len(asked.changed) - _SHOWN} more" if len(asked.changed) > _SHOWN else ""
    return f"changed {against}: {shown}{more}"


def project_path(local: Local, remote: str) -> str:
    """`group/name` from the remote's address, else `local/<directory>`."""
    found = _REMOTE.search(remote)
    if found is not None and "/" in found["path"].strip("/"):
        return found["path"].strip("/").lower()
    name = _NOT_PATH.sub("-", local.directory.name.lower()).strip("-.") or "project"
    return f"local/{name}"


def compile_and_forecast(
    file: str | None, occasion: Occasion, data: str | None = None
) -> tuple[Compilation, Forecast | None]:
    """What `preview` shows, with the expected course from the ledger of local runs and of a server's data directory."""
    from aegis.bootstrap.history import usual_seconds  # noqa: PLC0415 - start-up is a feature
    from aegis.pipeline.compile import compile_pipeline  # noqa: PLC0415
    from aegis.pipeline.forecast import forecast  # noqa: PLC0415

    local = locate(file)
    asked = request(local, occasion)
    found = compile_pipeline(asked)
    if found.plan is None:
        return found, None
    return found, forecast(found.plan, usual_seconds(local.directory, asked.project, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One side of a comparison."""

    name: str
    commit: str
    compilation: Compilation


def compile_revisions(base: str, head: str, file: str | None, occasion: Occasion) -> tuple[Revision, Revision]:
    """The pipelines of two revisions for the same occasion. `NotFound` for an unknown revision."""
    from aegis.pipeline.compile import compile_pipeline  # noqa: PLC0415 - start-up is a feature

    tree = files_worktree.find(Path(file).parent if file else Path())
    if tree is None:
        raise UserError("no-repository", "`diff` compares revisions, and this is no Git repository")
    path = Path(file).resolve().relative_to(tree.root).as_posix() if file else ROOT
    local = Local(directory=tree.root, file=path, tree=tree)
    asked = request(local, replace(occasion, changed=occasion.changed))
    sides = []
    for name in (base, head):
        commit = files_worktree.resolve(tree, name)
        one = replace(asked, files=CommitFiles(tree.git_directory, commit), changed=occasion.changed)
        sides.append(Revision(name=name, commit=commit, compilation=compile_pipeline(one)))
    return sides[0], sides[1]
