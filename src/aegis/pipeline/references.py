"""Resolves `!reference [job, key, …]` after `extends`, nested at most ten deep, as GitLab does."""

from __future__ import annotations

from typing import Final

from aegis.pipeline.diagnostics import Report, meant
from aegis.pipeline.document import Map, Node, Scalar, Seq

MAX_DEPTH: Final = 10
MAX_LEVEL: Final = 120


def resolve_all(root: Map, report: Report) -> Map:
    """The root without references. What cannot be resolved is reported and becomes an empty list."""
    resolver = _Resolver(root, report)
    entries = {name: (key, resolver.resolved(node, (), 1)) for name, (key, node) in root.entries.items()}
    return Map(entries, root.file, root.line, root.column)


class _Resolver:
    def __init__(self, root: Map, report: Report) -> None:
        self.root = root
        self.report = report
        self.done: dict[tuple[str, ...], Node] = {}

    def resolved(self, node: Node, trail: tuple[tuple[str, ...], ...], level: int) -> Node:
        if isinstance(node, Scalar):
            return node
        if level > MAX_LEVEL:
            self.report.error("too-deep", f"nested deeper than {MAX_LEVEL} levels through references", node.where)
            return Seq((), node.file, node.line, node.column)
        if isinstance(node, Seq):
            if node.reference:
                return self._target(node, trail, level)
            items = tuple(self.resolved(item, trail, level + 1) for item in node.items)
            same = all(old is new for old, new in zip(node.items, items, strict=True))
            return node if same else Seq(items, node.file, node.line, node.column)
        entries = {name: (key, self.resolved(value, trail, level + 1)) for name, (key, value) in node.entries.items()}
        same = all(entries[name][1] is pair[1] for name, pair in node.entries.items())
        return node if same else Map(entries, node.file, node.line, node.column)

    def _target(self, node: Seq, trail: tuple[tuple[str, ...], ...], level: int) -> Node:
        nothing = Seq((), node.file, node.line, node.column)
        path = tuple(item.text for item in node.items if isinstance(item, Scalar))
        if len(path) != len(node.items) or not path:
            self.report.error(
                "invalid-reference",
                "`!reference` takes a list of names",
                node.where,
                "write `!reference [job, script]`",
            )
            return nothing
        shown = f"!reference [{', '.join(path)}]"
        if path in trail:
            self.report.error("circular-reference", f"{shown} is part of a circle", node.where)
            return nothing
        if len(trail) >= MAX_DEPTH:
            self.report.error("deep-reference", f"{shown} is nested deeper than {MAX_DEPTH} levels", node.where)
            return nothing
        known = self.done.get(path)
        if known is not None:
            return known
        found: Node | None = self.root
        for name in path:
            below = found.get(name) if isinstance(found, Map) else None
            if below is None:
                hint = meant(name, found.entries) if isinstance(found, Map) else ""
                self.report.error(
                    "unknown-reference", f"{shown} could not be found: there is no `{name}`", node.where, hint
                )
                return nothing
            found = below
        if found is None:
            return nothing
        result = self.resolved(found, (*trail, path), level)
        self.done[path] = result
        return result
