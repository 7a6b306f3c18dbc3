"""Joins mappings as GitLab does: included files under the including one, and `extends`.

Mappings are merged key by key, everything else (lists too) is replaced. Knows no keyword but `extends`.
"""

from __future__ import annotations

from typing import Final

from aegis.pipeline.diagnostics import Report, meant
from aegis.pipeline.document import Limits, Map, Node, Scalar, Seq

MAX_DEPTH: Final = 11
NOT_EXTENSIBLE: Final = frozenset(
    {"default", "include", "stages", "variables", "workflow", "spec", "image", "services", "cache"}
)


class TooBig(Exception):
    """More was merged than the budget allows."""


class Budget:
    """How many entries may still be copied."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> None:
        """Use some of it; `TooBig` when it is gone."""
        self.left -= count
        if self.left < 0:
            raise TooBig


def merged(base: Map, over: Map, budget: Budget) -> Map:
    """`over` laid on `base`, recursively; nodes keep the place they were written at. `TooBig` beyond the budget."""
    budget.take(len(base.entries) + len(over.entries))
    entries = dict(base.entries)
    for name, pair in over.entries.items():
        below = entries.get(name)
        node = pair[1]
        if below is not None and isinstance(node, Map) and isinstance(below[1], Map):
            entries[name] = (pair[0], merged(below[1], node, budget))
        else:
            entries[name] = pair
    return Map(entries, over.file, over.line, over.column)


def extend_all(root: Map, report: Report, limits: Limits) -> Map:
    """Every top-level mapping with `extends` replaced by what it becomes. The keyword itself stays for showing."""
    extender = _Extender(root, report, limits)
    entries = {
        name: (key, extender.extended(name, node, ()) if isinstance(node, Map) and "extends" in node.entries else node)
        for name, (key, node) in root.entries.items()
    }
    return Map(entries, root.file, root.line, root.column)


class _Extender:
    """Resolves each name once."""

    def __init__(self, root: Map, report: Report, limits: Limits) -> None:
        self.root = root
        self.report = report
        self.budget = Budget(limits.whole * 4)
        self.done: dict[str, Map] = {}

    def extended(self, name: str, node: Map, trail: tuple[str, ...]) -> Map:
        known = self.done.get(name)
        if known is not None:
            return known
        extends = node.get("extends")
        result = node
        if extends is not None and name not in NOT_EXTENSIBLE:
            bases = self._bases(name, extends, (*trail, name))
            if bases is not None:
                result = self._laid(bases, node, extends)
        self.done[name] = result
        return result

    def _laid(self, bases: list[Map], node: Map, extends: Node) -> Map:
        whole = bases[0] if bases else node
        for one in (*bases[1:], node) if bases else ():
            try:
                whole = merged(whole, one, self.budget)
            except TooBig:
                self.report.error("too-big", "`extends` makes the configuration too large", extends.where)
                return node
        return whole

    def _bases(self, name: str, extends: Node, trail: tuple[str, ...]) -> list[Map] | None:
        names = _names(extends)
        if names is None:
            self.report.error(
                "invalid-extends", f"`{name}: extends` must be a job's name or a list of names", extends.where
            )
            return None
        bases: list[Map] = []
        for one in names:
            base = self.root.get(one.text)
            if base is None or not isinstance(base, Map):
                self.report.error(
                    "unknown-extends",
                    f"`{name}` extends `{one.text}`, which is not defined",
                    one.where,
                    meant(one.text, self.root.entries),
                )
                return None
            if one.text in trail:
                circle = " → ".join((*trail[trail.index(one.text) :], one.text))
                self.report.error("circular-extends", f"`extends` goes in a circle: {circle}", one.where)
                return None
            if len(trail) >= MAX_DEPTH:
                self.report.error("deep-extends", f"`extends` is nested deeper than {MAX_DEPTH} levels", one.where)
                return None
            whole = self.extended(one.text, base, trail)
            bases.append(
                Map({k: v for k, v in whole.entries.items() if k != "extends"}, whole.file, whole.line, whole.column)
            )
        return bases


def _names(extends: Node) -> list[Scalar] | None:
    nodes = extends.items if isinstance(extends, Seq) else (extends,)
    names = [node for node in nodes if isinstance(node, Scalar) and isinstance(node.value, str)]
    return names if len(names) == len(nodes) and names else None
