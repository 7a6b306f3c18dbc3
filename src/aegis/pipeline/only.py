"""`only` and `except`: GitLab's older way to say when a job is in a pipeline. Pure.

Everything that `only` names must hold (of `refs`, `variables`, `changes`, each at least one), and nothing that `except`
names. Without `rules`, `only` and workflow rules a job is for branches and tags, not for merge requests.
"""

from __future__ import annotations

from typing import NamedTuple

from aegis.pipeline.conditions import Conditions, Scope, strings
from aegis.pipeline.document import Map, Node, Scalar
from aegis.pipeline.expression import compile_pattern

_PLURALS = {"push": "pushes", "api": "api", "web": "web", "chat": "chat"}


class Target(NamedTuple):
    """What a pipeline is for, as `refs` patterns see it. `kind` is `branch`, `tag` or `merge_request`."""

    kind: str
    ref: str
    source: str
    project: str


class Judgement(NamedTuple):
    """Whether the job is in, and the sentence for it."""

    included: bool
    reason: str


def judge(
    only: Node | None, exclude: Node | None, target: Target, conditions: Conditions, scope: Scope, *, defaults: bool
) -> Judgement:
    """Whether `only` and `except` let a job in. `defaults`: branches and tags count where `only` names no refs."""
    policy = _policy(only)
    if "refs" not in policy and (only is not None or defaults):
        policy["refs"] = ("branches", "tags")
    for name, patterns in policy.items():
        if not _one(name, patterns, target, conditions, scope):
            if only is None:
                return Judgement(
                    included=False,
                    reason="without `rules` or `only` a job is for branches and tags, not for merge requests",
                )
            return Judgement(
                included=False, reason=f"only: {name} {', '.join(patterns)} does not hold at {only.file}:{only.line}"
            )
    for name, patterns in _policy(exclude).items():
        if exclude is not None and _one(name, patterns, target, conditions, scope):
            return Judgement(
                included=False, reason=f"except: {name} {', '.join(patterns)} at {exclude.file}:{exclude.line}"
            )
    if only is None:
        return Judgement(included=True, reason="no rules: every branch and tag" if defaults else "no rules of its own")
    return Judgement(included=True, reason=f"only: {', '.join(policy)} at {only.file}:{only.line}")


def _policy(node: Node | None) -> dict[str, tuple[str, ...]]:
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return {}
    if not isinstance(node, Map):
        return {"refs": strings(node)}
    found: dict[str, tuple[str, ...]] = {}
    for name, value in node.items():
        found[name] = strings(value)
    return found


def _one(name: str, patterns: tuple[str, ...], target: Target, conditions: Conditions, scope: Scope) -> bool:
    if name == "refs":
        return any(matches_ref(pattern, target) for pattern in patterns)
    if name == "variables":
        return conditions.any_holds(patterns, scope) is not None
    if name == "changes":
        return conditions.changed_path(patterns, conditions.context.changed, scope) is not None
    return False  # `kubernetes: active` asks for a cluster that GitLab itself manages; there is none here


def matches_ref(pattern: str, target: Target) -> bool:
    """Whether one entry of `refs` fits: a kind, a source, a name or a `/pattern/`, each with `@group/project`."""
    pattern, at, path = pattern.partition("@")
    if at and path != target.project:
        return False
    source = target.source.removesuffix("_event")
    if pattern in {source, _PLURALS.get(source, f"{source}s")}:
        return True
    if target.kind == "merge_request":
        return False
    if pattern == {"branch": "branches", "tag": "tags"}[target.kind]:
        return True
    compiled = compile_pattern(pattern)
    return compiled.found_in(target.ref) if compiled is not None else pattern == target.ref
