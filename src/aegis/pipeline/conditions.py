"""Evaluates `rules`: which rule of a list matches first, and why. For jobs, workflow and includes.

Decides what `if`, `changes` and `exists` mean together, and says it in a sentence. Does not decide what follows from a
match: that is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from aegis.core.errors import AegisError, Where
from aegis.pipeline import expression
from aegis.pipeline.diagnostics import Report
from aegis.pipeline.document import Map, Node, Scalar, Seq
from aegis.pipeline.globs import any_match, is_literal
from aegis.pipeline.ports import Elsewhere, Files
from aegis.pipeline.variables import expand_known

MAX_COMPARISONS: Final = 50_000
MAX_RULES_DEPTH: Final = 10


@dataclass(slots=True)
class Context:
    """What conditions look at. `changed` None: unknown. `values` are the variables known before any job."""

    files: Files
    values: Mapping[str, str]
    changed: tuple[str, ...] | None = None
    comparisons: Mapping[str, tuple[str, ...]] | None = None
    """Changes by the ref that they are compared with; None: the refs are not known."""
    masked: frozenset[str] = frozenset()
    """Names of variables whose value must not be put into a file's text."""
    elsewhere: Elsewhere | None = None
    _paths: tuple[str, ...] | None = None
    _set: frozenset[str] = frozenset()

    def paths(self) -> tuple[str, ...]:
        """All paths, asked for once."""
        if self._paths is None:
            self._paths = self.files.paths()
            self._set = frozenset(self._paths)
        return self._paths

    def has(self, path: str) -> bool:
        """Whether a file of exactly this path is there."""
        self.paths()
        return path in self._set


class Scope(NamedTuple):
    """The variables one condition sees: as written for `if`, expanded for paths."""

    values: Mapping[str, str]
    expanded: Callable[[], Mapping[str, str]]


class Match(NamedTuple):
    """The first rule that matched."""

    number: int
    rule: Map
    reason: str

    def text(self, key: str) -> str | None:
        """A scalar of the rule as text."""
        node = self.rule.get(key)
        return node.text if isinstance(node, Scalar) and node.value is not None else None


def flat(rules: Node | None) -> tuple[Map, ...]:
    """The rules of a list, nested lists (from `!reference`) included."""
    if rules is None:
        return ()
    if isinstance(rules, Seq) and all(isinstance(one, Map) for one in rules.items):
        return rules.items  # type: ignore[return-value]
    found: list[Map] = []
    stack: list[tuple[Node, int]] = [(rules, 0)]
    while stack:
        node, depth = stack.pop()
        if isinstance(node, Map):
            found.append(node)
        elif isinstance(node, Seq) and depth <= MAX_RULES_DEPTH:
            stack.extend((item, depth + 1) for item in reversed(node.items))
    return tuple(found)


def check_expression(node: Node, report: Report) -> bool:
    """Whether a node is a valid expression; reports where it is not."""
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        report.error(
            "invalid-expression", "`if` must be an expression in text", node.where, "quote it: `if: '$NAME == \"x\"'`"
        )
        return False
    try:
        expression.parse(node.value)
    except expression.ExpressionError as error:
        where = Where(node.file, node.line, node.column + error.offset)
        report.error("invalid-expression", f"`{node.text}`: {error.message}", where, error.hint)
        return False
    return True


def strings(node: Node | None) -> tuple[str, ...]:
    """A string or a list of strings as a tuple; anything else is left out (shapes are checked elsewhere)."""
    if isinstance(node, Scalar):
        return (node.text,) if isinstance(node.value, str) else ()
    if isinstance(node, Seq):
        return tuple(item.text for item in node.items if isinstance(item, Scalar) and isinstance(item.value, str))
    return ()


class Conditions:
    """Answers for one compilation."""

    def __init__(self, context: Context, report: Report) -> None:
        self.context = context
        self.report = report
        self._missing: set[int] = set()
        self.base = Scope(context.values, lambda: context.values)

    def include(self, rules: Node) -> bool:
        """Whether an include's rules let it in: some rule matches and does not say `never`."""
        for rule in flat(rules):
            condition = rule.get("if")
            if condition is not None and not check_expression(condition, self.report):
                return False
        match = self.first(flat(rules), self.base)
        return match is not None and match.text("when") != "never"

    def first(self, rules: tuple[Map, ...], scope: Scope) -> Match | None:
        """The first matching rule."""
        for index, rule in enumerate(rules):
            why = self.satisfied(rule, scope)
            if why is not None:
                return Match(index, rule, f"rules[{index}]: {why} at {_place(rule)}")
        return None

    def satisfied(self, rule: Map, scope: Scope) -> str | None:
        """Why a rule matches (`if …`, `changes …`, `always`); None when it does not. All clauses must hold."""
        reasons: list[str] = []
        condition = rule.get("if")
        if isinstance(condition, Scalar) and condition.value is not None:
            if not self._holds(condition, scope):
                return None
            reasons.append(f"if {' '.join(condition.text.split())}")
        if rule.has("changes"):
            changed = self._changes(rule.get("changes"), scope)
            if changed is None:
                return None
            reasons.append(changed)
        if rule.has("exists"):
            there = self._exists(rule.get("exists"), scope)
            if there is None:
                return None
            reasons.append(there)
        return " and ".join(reasons) or "always"

    def any_holds(self, expressions: tuple[str, ...], scope: Scope) -> str | None:
        """The first of several expressions that is true."""
        for text in expressions:
            try:
                if expression.holds(text, scope.values):
                    return text
            except expression.ExpressionError:
                continue
        return None

    def _holds(self, condition: Scalar, scope: Scope) -> bool:
        try:
            return expression.holds(condition.text, scope.values)
        except expression.ExpressionError:
            check_expression(condition, self.report)
            return False

    def _changes(self, node: Node | None, scope: Scope) -> str | None:
        patterns = strings(node)
        changed = self.context.changed
        if isinstance(node, Map):
            patterns = strings(node.get("paths"))
            compare = node.get("compare_to")
            if isinstance(compare, Scalar) and compare.value is not None:
                ref = expand_known(compare.text, scope.expanded())
                if self.context.comparisons is not None:
                    changed = self.context.comparisons.get(ref.removeprefix("refs/heads/"))
                    if changed is None:
                        self._no_such_ref(ref, compare)
                        return None
        return self.changed_path(patterns, changed, scope)

    def _no_such_ref(self, ref: str, node: Scalar) -> None:
        """Said once for each place, however many jobs have it; the rule does not match."""
        if id(node) not in self._missing:
            self._missing.add(id(node))
            self.report.error(
                "unknown-ref",
                f"`compare_to: {node.text}` names no branch, tag or commit of this project"
                if ref == node.text
                else f"`compare_to: {node.text}` is `{ref}`, which is no branch, tag or commit of this project",
                node.where,
                "name a branch that is there, for instance refs/heads/main",
            )

    def changed_path(self, patterns: tuple[str, ...], changed: tuple[str, ...] | None, scope: Scope) -> str | None:
        """Why `changes` holds; None when it does not. Unknown changes count as changed."""
        if changed is None:
            return "changes are unknown"
        if not changed or not patterns:
            return None
        values = scope.expanded() if any("$" in one for one in patterns) else {}
        globs = tuple(dict.fromkeys(expand_known(one, values) for one in patterns))
        if len(changed) * len(globs) > MAX_COMPARISONS:
            return "changes are too many to compare"
        path = any_match(globs, changed)
        return f"changes {path}" if path is not None else None

    def _exists(self, node: Node | None, scope: Scope) -> str | None:
        patterns = strings(node.get("paths")) if isinstance(node, Map) else strings(node)
        context = self.context
        if isinstance(node, Map) and node.has("project"):
            other = self._other(node, scope)
            if other is None:
                return None
            context = other
        values = scope.expanded() if any("$" in one for one in patterns) else {}
        globs = [expand_known(one, values) for one in patterns]
        for glob in globs:
            if is_literal(glob) and context.has(glob):
                return f"exists {glob}"
            if glob.endswith("/") and is_literal(glob) and any(one.startswith(glob) for one in context.paths()):
                return f"exists {glob}"
        open_globs = [glob for glob in globs if not is_literal(glob)]
        if not open_globs:
            return None
        paths = context.paths()
        found = any_match(open_globs, paths[: MAX_COMPARISONS // len(open_globs)])
        if found is not None:
            return f"exists {found}"
        return "exists: too many files to compare" if len(paths) * len(open_globs) > MAX_COMPARISONS else None

    def _other(self, node: Map, scope: Scope) -> Context | None:
        """The files that `exists: project` looks at; None, reported, where they cannot be had."""
        elsewhere = self.context.elsewhere
        texts = [node.get(key) for key in ("project", "ref")]
        project, ref = (
            expand_known(one.text, scope.expanded()) if isinstance(one, Scalar) and one.value is not None else ""
            for one in texts
        )
        if elsewhere is None:
            self.report.error(
                "include-not-available",
                f"`exists: project: {project}` lies outside of this project, and no instance is known here",
                node.where,
                "name the instance: set AEGIS_GITLAB_URL, or add a Git remote",
            )
            return None
        try:
            found = elsewhere.files(project, elsewhere.commit(project, ref or "HEAD"))
            return Context(files=found, values=self.context.values)
        except AegisError as error:
            self.report.error(error.code, error.message, node.where, error.hint)
            return None


def _place(rule: Map) -> str:
    return f"{rule.file}:{rule.line}"


def why_none(rules: tuple[Map, ...]) -> str:
    """What a job's reader is told when no rule matched."""
    if not rules:
        return "its rules are empty"
    shown = []
    for index, rule in enumerate(rules[:3]):
        condition = rule.get("if")
        clause = f"if {' '.join(condition.text.split())}" if isinstance(condition, Scalar) else ""
        clause = clause or next((key for key in ("changes", "exists") if rule.has(key)), "")
        shown.append(f"rules[{index}]: {clause} at {_place(rule)}")
    rest = f" and {len(rules) - 3} more" if len(rules) > 3 else ""
    return f"no rule matches: {'; '.join(shown)}{rest}"
