"""What a value may look like: small checks that are put together in `aegis.pipeline.keywords`.

A shape reports what it sees and expects, with the place, and knows no keyword by itself. Null means "not given"
wherever a key is optional, as in GitLab.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from aegis.pipeline import durations
from aegis.pipeline.diagnostics import Report, meant
from aegis.pipeline.document import Map, Node, Scalar, Seq, kind_of
from aegis.pipeline.patterns import Rare

Shape: TypeAlias = Callable[[Node, str, Report], None]


def _wrong(node: Node, label: str, expected: str, report: Report, hint: str = "") -> None:
    if not hint and isinstance(node, Scalar) and isinstance(node.value, bool | int | float) and "text" in expected:
        hint = f'quote it: "{node.text}"'
    report.error("invalid-value", f"`{label}` must be {expected}, not {kind_of(node)}", node.where, hint)


def is_text(node: Node) -> bool:
    """Whether a node is a string."""
    return isinstance(node, Scalar) and isinstance(node.value, str)


def anything(node: Node, label: str, report: Report) -> None:
    """No demand."""


def text(node: Node, label: str, report: Report) -> None:
    """A string."""
    if not is_text(node):
        _wrong(node, label, "text", report)


def filled(node: Node, label: str, report: Report) -> None:
    """A string that is not empty."""
    if not isinstance(node, Scalar) or not isinstance(node.value, str) or not node.value.strip():
        _wrong(node, label, "text that is not empty", report)


def boolean(node: Node, label: str, report: Report) -> None:
    """True or false."""
    if not isinstance(node, Scalar) or not isinstance(node.value, bool):
        _wrong(node, label, "true or false", report)


def integer(low: int, high: int) -> Shape:
    """A whole number within bounds."""

    def check(node: Node, label: str, report: Report) -> None:
        value = node.value if isinstance(node, Scalar) else None
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            _wrong(node, label, f"a number from {low} to {high}", report)

    return check


def mapping(node: Node, label: str, report: Report) -> None:
    """Any mapping."""
    if not isinstance(node, Map):
        _wrong(node, label, "a mapping", report)


def one_of(*values: str) -> Shape:
    """One of some words."""

    def check(node: Node, label: str, report: Report) -> None:
        if not isinstance(node, Scalar) or node.text not in values or not isinstance(node.value, str):
            shown = node.text if isinstance(node, Scalar) else ""
            _wrong(node, label, f"one of {', '.join(values)}", report, meant(shown, values))

    return check


def duration(limit: int | None = None, *words: str, variable: bool = False) -> Shape:
    """A duration such as `1h 30m`, at most `limit` seconds, or one of `words`; with `variable`, also what has one."""

    def check(node: Node, label: str, report: Report) -> None:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            _wrong(node, label, "a duration", report, 'write it as text with a unit: "30 minutes"')
            return
        if node.value in words or (variable and "$" in node.value):
            return
        length = durations.seconds(node.value)
        if length is None:
            _wrong(node, label, "a duration", report, "for instance `1h 30m` or `3 minutes`")
        elif limit is not None and length > limit:
            _wrong(node, label, f"at most {limit // 86400} days", report)

    return check


def several(item: Shape, *, most: int = 10_000, least: int = 0, single: bool = False) -> Shape:
    """A list of one shape; with `single`, also one alone."""

    def check(node: Node, label: str, report: Report) -> None:
        if isinstance(node, Seq):
            if len(node.items) > most:
                report.error(
                    "too-many", f"`{label}` has {len(node.items)} entries; at most {most} are allowed", node.where
                )
            if len(node.items) < least:
                report.error("invalid-value", f"`{label}` needs at least {least} entry", node.where)
            if item is text and all(is_text(one) for one in node.items):
                return
            for one in node.items:
                item(one, label, report)
        elif single:
            item(node, label, report)
        else:
            _wrong(node, label, "a list", report, f"write `{label.rsplit(': ', 1)[-1]}: [{_shown(node)}]`")

    return check


def _shown(node: Node) -> str:
    return node.text[:40] if isinstance(node, Scalar) else "…"


def nested(item: Shape, depth: int = 10) -> Shape:
    """One alone, or a list, lists within lists allowed (from `!reference`)."""

    def check(node: Node, label: str, report: Report) -> None:
        if (
            item is text
            and isinstance(node, Seq)
            and len(node.items) < 50_000
            and all(is_text(one) for one in node.items)
        ):
            return
        stack: list[tuple[Node, int]] = [(node, 0)]
        count = 0
        while stack:
            one, level = stack.pop()
            count += 1
            if count > 50_000 or level > depth + 1:
                report.error("too-many", f"`{label}` is too long or nested deeper than {depth} lists", node.where)
                return
            if isinstance(one, Seq):
                stack.extend((inner, level + 1) for inner in reversed(one.items))
            else:
                item(one, label, report)

    return check


def either(*shapes: tuple[type, Shape], expected: str) -> Shape:
    """Chooses the shape by the kind of node."""

    def check(node: Node, label: str, report: Report) -> None:
        for kind, shape in shapes:
            if isinstance(node, kind):
                shape(node, label, report)
                return
        _wrong(node, label, expected, report)

    return check


def named(item: Shape) -> Shape:
    """A mapping from names to one shape."""

    def check(node: Node, label: str, report: Report) -> None:
        if not isinstance(node, Map):
            _wrong(node, label, "a mapping", report)
            return
        for name, value in node.items():
            item(value, f"{label}: {name}", report)

    return check


def exactly_one(names: tuple[str, ...], inner: Shape) -> Shape:
    """A shape of which exactly one of some keys is there."""

    def check(node: Node, label: str, report: Report) -> None:
        inner(node, label, report)
        given = [name for name in names if isinstance(node, Map) and node.has(name)]
        if isinstance(node, Map) and len(given) != 1:
            seen = f"has {' and '.join(f'`{name}`' for name in given)}" if given else "has none"
            report.error("missing-key", f"`{label}` needs exactly one of {', '.join(names)}; it {seen}", node.where)

    return check


def at_least_one(names: tuple[str, ...], inner: Shape) -> Shape:
    """A shape of which at least one of some keys is there."""

    def check(node: Node, label: str, report: Report) -> None:
        inner(node, label, report)
        if isinstance(node, Map) and not any(node.has(name) for name in names):
            report.error("missing-key", f"`{label}` needs at least one of {', '.join(names)}", node.where)

    return check


def exclusive(names: tuple[str, ...], inner: Shape) -> Shape:
    """A shape of which at most one of some keys is there."""

    def check(node: Node, label: str, report: Report) -> None:
        inner(node, label, report)
        given = [name for name in names if isinstance(node, Map) and node.has(name)]
        if len(given) > 1:
            shown = " and ".join(f"`{name}`" for name in given)
            report.error("conflicting-keywords", f"`{label}` cannot have both {shown}", node.where, "keep one of them")

    return check


def matching(pattern: Rare, expected: str, most: int = 10_000) -> Shape:
    """A text of one form and length."""

    def check(node: Node, label: str, report: Report) -> None:
        value = node.value if isinstance(node, Scalar) else None
        if not isinstance(value, str) or not value or len(value) > most or pattern.fullmatch(value) is None:
            _wrong(node, label, expected, report)

    return check


def fields(known: Mapping[str, Shape], *, required: tuple[str, ...] = ()) -> Shape:
    """A mapping with known keys."""

    def check(node: Node, label: str, report: Report) -> None:
        if not isinstance(node, Map):
            _wrong(node, label, "a mapping", report)
            return
        for name, (key, value) in node.entries.items():
            shape = known.get(name)
            if shape is not None:
                if not (isinstance(value, Scalar) and value.value is None):
                    shape(value, f"{label}: {name}", report)
            else:
                report.error(
                    "unknown-keyword",
                    f"`{label}` does not know `{name}`",
                    key.where,
                    meant(name, known) or f"it knows: {', '.join(known)}",
                )
        for name in required:
            if not node.has(name):
                report.error("missing-key", f"`{label}` needs `{name}`", node.where)

    return check
