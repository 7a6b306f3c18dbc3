"""Merge requests, small but real: their state from events, who may open and merge them, and what is said on them.

The merge itself is a Git merge that the caller makes; the verdict comes from the gates. Push options are GitLab's, so that
`git push` alone opens a merge request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from aegis.core.errors import Conflict, NotFound, UserError
from aegis.core.events import (
    MergeRequestClosed,
    MergeRequestMerged,
    MergeRequestNoted,
    MergeRequestOpened,
    MergeRequestUpdated,
    Record,
)
from aegis.core.types import Outcome, Verdict
from aegis.source.branches import HEADS, Protection, may_merge
from aegis.source.changelog import plain


class MergeRequestState(StrEnum):
    """GitLab's names."""

    OPENED = "opened"
    MERGED = "merged"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """A merge request as it stands. `pushed_by` are those who opened it or moved its source branch."""

    project: str
    number: int
    title: str
    description: str
    source_branch: str
    target_branch: str
    head: str
    opened_by: str
    pushed_by: tuple[str, ...] = ()
    state: MergeRequestState = MergeRequestState.OPENED
    note: str = ""
    noted_head: str = ""
    commit: str | None = None
    ended_by: str | None = None

    @property
    def subject(self) -> str:
        """The subject of its events."""
        return subject_of(self.project, self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a merge request cannot be merged now, and what helps."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the push options ask for. `unknown` are those that nobody here understands."""

    create: bool = False
    target: str | None = None
    title: str | None = None
    description: str = ""
    merge_when_passed: bool = False
    skip_pipeline: bool = False
    variables: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()


def subject_of(project: str, number: int) -> str:
    """The ledger subject of a merge request."""
    return f"merge-request/{project}/{number}"


def fold(records: Iterable[Record]) -> MergeRequest | None:
    """The merge request that the records of one subject tell of; None where its opening is not among them."""
    state: MergeRequest | None = None
    for record in records:
        state = apply(state, record.data, project=record.project)
    return state


def apply(state: MergeRequest | None, event: object, *, project: str) -> MergeRequest | None:
    """The state after one event; events of other kinds, and erased ones, change nothing."""
    if isinstance(event, MergeRequestOpened):
        return MergeRequest(
            project=project,
            number=event.number,
            title=event.title,
            description=event.description,
            source_branch=event.source_branch,
            target_branch=event.target_branch,
            head=event.head,
            opened_by=event.opened_by,
            pushed_by=(event.opened_by,),
        )
    if state is None:
        return None
    if isinstance(event, MergeRequestUpdated):
        return replace(state, head=event.head, pushed_by=tuple(dict.fromkeys((*state.pushed_by, event.by))))
    if isinstance(event, MergeRequestNoted):
        return replace(state, note=event.body, noted_head=event.head)
    if isinstance(event, MergeRequestMerged):
        return replace(state, state=MergeRequestState.MERGED, commit=event.commit, ended_by=event.merged_by)
    if isinstance(event, MergeRequestClosed):
        return replace(state, state=MergeRequestState.CLOSED, ended_by=event.by)
    return state


def wishes(options: Sequence[str]) -> Wishes:
    """The push options read as GitLab reads them (docs.gitlab.com, "Push options")."""
    found, unknown, variables = Wishes(), [], []
    for option in options:
        key, _, value = option.partition("=")
        value = value.replace("\\n", "\n")
        if key == "merge_request.create":
            found = replace(found, create=True)
        elif key == "merge_request.target" and value:
            found = replace(found, target=value)
        elif key == "merge_request.title" and value:
            found = replace(found, title=" ".join(value.split()))
        elif key == "merge_request.description":
            found = replace(found, description=value)
        elif key in {"merge_request.merge_when_pipeline_succeeds", "merge_request.auto_merge"}:
            found = replace(found, merge_when_passed=True)
        elif key in {"ci.skip", "ci.no_pipeline"}:
            found = replace(found, skip_pipeline=True)
        elif key == "ci.variable" and "=" in value:
            name, _, content = value.partition("=")
            variables.append((name, content))
        else:
            unknown.append(option)
    return replace(found, variables=tuple(variables), unknown=tuple(unknown))


def open_request(
    *,
    number: int,
    source_branch: str,
    target_branch: str,
    refs: Mapping[str, str],
    existing: Iterable[MergeRequest],
    opened_by: str,
    title: str,
    description: str = "",
    contained: bool = False,
) -> MergeRequestOpened:
    """The event that opens a merge request. `refs` are the repository's, `contained` whether the target has it all.

    `UserError` for branches that do not fit, `NotFound` for missing ones, `Conflict` where one is open already.
    """
    if source_branch == target_branch:
        raise UserError(
            "merge-request-same", f"{source_branch} cannot be merged into itself", hint="name another target"
        )
    for branch in (source_branch, target_branch):
        if HEADS + branch not in refs:
            raise NotFound("no-branch", f"there is no branch {branch!r}", hint=f"git push origin HEAD:{branch}")
    for one in existing:
        if (one.state, one.source_branch, one.target_branch) == (
            MergeRequestState.OPENED,
            source_branch,
            target_branch,
        ):
            raise Conflict(
                "merge-request-open",
                f"merge request !{one.number} of {source_branch} into {target_branch} is open already",
                hint=f"push to {source_branch}; it is updated by itself",
            )
    if contained:
        raise UserError("merge-request-empty", f"{target_branch} already has everything of {source_branch}")
    return MergeRequestOpened(
        number=number,
        title=(title.strip() or source_branch)[:255],
        source_branch=source_branch,
        target_branch=target_branch,
        head=refs[HEADS + source_branch],
        opened_by=opened_by,
        description=description[:8000],
    )


def obstacles(
    request: MergeRequest,
    *,
    head: str | None,
    verdict: Verdict | None,
    identity: str,
    groups: Iterable[str],
    protections: Sequence[Protection],
) -> tuple[Obstacle, ...]:
    """What stands against merging now; empty when it may be merged.

    `head` is where the source branch is at this moment (None: gone), `verdict` the newest one about it.
    """
    if request.state is not MergeRequestState.OPENED:
        return (Obstacle(code="merge-request-ended", message=f"!{request.number} is {request.state.value}"),)
    found = []
    if head != request.head:
        found.append(
            Obstacle(code="head-moved", message="the source branch has moved", hint="look at the new commits first")
        )
    if not may_merge(request.target_branch, {*groups, identity}, protections):
        message = f"{request.target_branch} is protected: {identity} may not merge into it"
        found.append(Obstacle(code="branch-protected", message=message, hint="ask somebody who may"))
    if verdict is None or verdict.commit != request.head:
        message = "the gates have not judged this commit yet"
        found.append(Obstacle(code="no-verdict", message=message, hint="wait for the pipeline to end"))
    elif verdict.outcome is Outcome.BLOCK:
        found += [
            Obstacle(code="gate-blocked", message=f"{reason.gate}: {reason.message}", hint=reason.mend)
            for reason in verdict.blocking
        ] or [Obstacle(code="gate-blocked", message="the gates block this commit")]
    return tuple(found)


def merge_message(request: MergeRequest) -> str:
    """The message of the merge commit, in GitLab's form."""
    lines = [f"Merge branch '{request.source_branch}' into '{request.target_branch}'", "", request.title]
    return "\n".join([*lines, "", f"See merge request {request.project}!{request.number}", ""])


_TITLES: Final = {
    Outcome.PASS: "✓ **The gates let this pass.**",
    Outcome.WARN: "! **The gates let this pass, with warnings.**",
    Outcome.BLOCK: "⊘ **The gates block this.**",
}


def note_body(verdict: Verdict, *, run_url: str = "") -> str:
    """The one note of Aegis: the verdict, each reason with its mend, blocking ones first. Markdown; texts are literal."""
    order = {Outcome.BLOCK: 0, Outcome.WARN: 1, Outcome.PASS: 2}
    lines = [_TITLES[verdict.outcome], ""]
    for reason in sorted(verdict.reasons, key=lambda one: order[one.outcome]):
        symbol = {Outcome.BLOCK: "⊘", Outcome.WARN: "!", Outcome.PASS: "✓"}[reason.outcome]
        place = f" (`{str(reason.where).replace('`', '')}`)" if reason.where else ""
        lines.append(f"- {symbol} **{plain(reason.gate)}**: {plain(reason.message)}{place}")
        if reason.mend and reason.outcome is not Outcome.PASS:
            lines.append(f"  - mend: {plain(reason.mend)}")
    where = f" · [run]({run_url})" if run_url.startswith(("http://", "https://")) and ")" not in run_url else ""
    lines += ["", f"Commit `{verdict.commit[:12]}` · policy `{verdict.policy_digest[:19]}`{where}"]
    return "\n".join(lines) + "\n"
