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


Clause = tuple[str | None, bool, bool]
"""A rule as far as it is judged here: its condition, whether it asks for files, whether it says `never`."""


def shape(rules: Iterable[Map]) -> tuple[Clause, ...]:
    """The rules without what is not judged: most jobs of a pipeline share a few of these."""
    return tuple(_clause(rule) for rule in rules)


def _clause(rule: Map) -> Clause:
    entries = rule.entries
    condition = entries["if"][1] if "if" in entries else None
    when = entries["when"][1] if "when" in entries else None
    text = condition.value if isinstance(condition, Scalar) and isinstance(condition.value, str) else None
    files = ("changes" in entries and rule.has("changes")) or ("exists" in entries and rule.has("exists"))
    return text, files, isinstance(when, Scalar) and when.text == "never"


class Occasions:
    """Answers about rules, each different list and condition judged once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], bool | None] = {}
        self._possible: dict[tuple[Clause, ...], frozenset[str]] = {}

    def possible(self, rules: tuple[Clause, ...]) -> frozenset[str]:
        """The kinds of pipeline in which these rules can let something in."""
        known = self._possible.get(rules)
        if known is None:
            known = self._possible[rules] = frozenset(kind for kind in KINDS if self._lets_in(rules, kind))
        return known

    def always(self, rule: Clause) -> bool:
        """Whether a rule matches whatever the pipeline is for."""
        return all(self._matches(rule, kind) is True for kind in KINDS)

    def _lets_in(self, rules: tuple[Clause, ...], kind: str) -> bool:
        for rule in rules:
            matches = self._matches(rule, kind)
            if matches is False:
                continue
            if not rule[2]:
                return True
            if matches is True:
                return False
        return False

    def _matches(self, rule: Clause, kind: str) -> bool | None:
        text, files, _ = rule
        found: bool | None = True
        if text is not None:
            key = (text, kind)
            if key not in self._known:
                self._known[key] = _holds(text, KINDS[kind])
            found = self._known[key]
        return None if found is True and files else found


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
