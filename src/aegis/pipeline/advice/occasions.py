"""Which kinds of pipeline a list of rules can be for, as far as the file alone can say. Pure.

Three-valued: a condition is true, false, or open where it asks for what only the occasion knows (a branch's name, a
variable somebody sets, changed files). Open never counts as impossible, so what is called impossible is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from aegis.pipeline import expression
from aegis.pipeline.document import Map, Scalar

_OPEN: Final = object()
"""Not known at all."""
_SET: Final = object()
"""Some text that is not empty."""

_MERGE: Final = (
    "CI_MERGE_REQUEST_ID", "CI_MERGE_REQUEST_IID", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "CI_MERGE_REQUEST_EVENT_TYPE",
)  # fmt: skip


def _facts(source: Any, *, branch: bool = False, tag: bool = False, merge: bool = False) -> Mapping[str, Any]:
    return {
        "CI": "true", "GITLAB_CI": "true", "CI_PIPELINE_SOURCE": source, "CI_DEFAULT_BRANCH": _SET,
        "CI_COMMIT_REF_NAME": _SET, "CI_COMMIT_SHA": _SET, "CI_COMMIT_BRANCH": _SET if branch else None,
        "CI_COMMIT_TAG": _SET if tag else None, **dict.fromkeys(_MERGE, _SET if merge else None),
    }  # fmt: skip


KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "branch": _facts("push", branch=True),
    "tag": _facts("push", tag=True),
    "merge request": _facts("merge_request_event", merge=True),
    "branch, not by a push": _facts(_SET, branch=True),
    "tag, not by a push": _facts(_SET, tag=True),
}
"""The kinds of pipeline, and what is known of each."""


class Occasions:
    """Answers about rules, each different condition judged once per kind."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], bool | None] = {}

    def possible(self, rules: Iterable[Map]) -> frozenset[str]:
        """The kinds of pipeline in which these rules can let something in."""
        rules = tuple(rules)
        return frozenset(kind for kind in KINDS if self._lets_in(rules, kind))

    def always(self, rule: Map) -> bool:
        """Whether a rule matches whatever the pipeline is for."""
        return all(self._matches(rule, kind) is True for kind in KINDS)

    def _lets_in(self, rules: tuple[Map, ...], kind: str) -> bool:
        for rule in rules:
            matches = self._matches(rule, kind)
            if matches is False:
                continue
            when = rule.get("when")
            if not (isinstance(when, Scalar) and when.text == "never"):
                return True
            if matches is True:
                return False
        return False

    def _matches(self, rule: Map, kind: str) -> bool | None:
        condition = rule.get("if")
        found: bool | None = True
        if isinstance(condition, Scalar) and isinstance(condition.value, str):
            key = (condition.value, kind)
            if key not in self._known:
                self._known[key] = _holds(condition.value, KINDS[kind])
            found = self._known[key]
        if found is True and (rule.has("changes") or rule.has("exists")):
            return None
        return found


def _holds(text: str, facts: Mapping[str, Any]) -> bool | None:
    try:
        return _truth(_value(expression.parse(text), facts))
    except expression.ExpressionError:
        return None


def _truth(value: Any) -> bool | None:
    if value is _OPEN:
        return None
    return True if value is _SET else expression.truthy(value)


def _value(tree: expression.Tree, facts: Mapping[str, Any]) -> Any:
    if isinstance(tree, expression.Literal):
        return tree.value
    if isinstance(tree, expression.Reference):
        return _OPEN if tree.is_input else facts.get(tree.name, _OPEN)
    if isinstance(tree, expression.Not):
        inner = _truth(_value(tree.operand, facts))
        return _OPEN if inner is None else not inner
    left, right = _value(tree.left, facts), _value(tree.right, facts)
    if tree.sign in {"&&", "||"}:
        return _joined(tree.sign, left, right)
    if left is _OPEN or right is _OPEN:
        return _OPEN
    return _compared(tree.sign, left, right)


def _joined(sign: str, left: Any, right: Any) -> Any:
    """Kleene's `and` and `or`; an empty string is as open as GitLab's own rule about it is surprising."""
    if any(isinstance(one, str) and not one.strip() for one in (left, right)):
        return _OPEN
    stops = sign == "||"
    one, other = _truth(left), _truth(right)
    if one is stops or other is stops:
        return stops
    return _OPEN if one is None or other is None else not stops


def _compared(sign: str, left: Any, right: Any) -> Any:
    if sign in {"=~", "!~"}:
        found: Any = False if right is None else _OPEN
    elif left is _SET or right is _SET:
        other = right if left is _SET else left
        found = False if other is None or isinstance(other, bool) else _OPEN
    else:
        found = left == right
    if found is _OPEN:
        return _OPEN
    return found if sign in {"==", "=~"} else not found
