"""The shapes of `variables`: what may stand there at the top, in a job, in rules and services, and in a matrix.

What a variable's value becomes is decided in `aegis.pipeline.variables`.
"""

from __future__ import annotations

import re
from typing import Final

from aegis.pipeline import shapes
from aegis.pipeline.diagnostics import Report, meant
from aegis.pipeline.document import Map, Node, Scalar, Seq
from aegis.pipeline.shapes import Shape, anything, boolean, fields, several, text
from aegis.pipeline.variables import references

_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
STRINGS: Final = several(text)


def variable_value(node: Node, label: str, report: Report) -> None:
    """Text or a whole number; booleans and fractions are refused."""
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        hint = f'quote it: "{node.text}"' if isinstance(node, Scalar) and node.value is not None else ""
        report.error("invalid-value", f"`{label}` must be text or a whole number", node.where, hint)


def _variables(*extra: str) -> Shape:
    complex_form = fields(dict.fromkeys(("value", *extra), anything))

    def check(node: Node, label: str, report: Report) -> None:
        if not isinstance(node, Map):
            shapes.mapping(node, label, report)
            return
        for name, value in node.items():
            inner = f"{label}: {name}"
            _variable_name(name, node, label, report)
            if not isinstance(value, Map):
                if isinstance(value, Scalar) and value.value is None:
                    report.error("invalid-value", f"`{inner}` has no value", value.where, 'write `""` for an empty one')
                else:
                    variable_value(value, inner, report)
                continue
            complex_form(value, inner, report)
            _complex_variable(value, inner, report)

    return check


def _variable_name(name: str, node: Map, label: str, report: Report) -> None:
    """Names that no process can have, and values that name themselves: GitLab takes both, and neither works."""
    key, value = node.entries[name]
    if not _NAME.fullmatch(name):
        report.warn("variable-name", f"`{label}: {name}` cannot be the name of an environment variable", key.where)
    if isinstance(value, Scalar) and name in references(value.text):
        report.warn(
            "self-reference",
            f"`{label}: {name}` names itself; the name stays as it is written",
            value.where,
            "give it another name",
        )


def _complex_variable(node: Map, label: str, report: Report) -> None:
    if node.has("value"):
        variable_value(node.get("value") or node, f"{label}: value", report)
    if node.has("expand"):
        boolean(node.get("expand") or node, f"{label}: expand", report)
    options = node.get("options")
    if options is None:
        return
    STRINGS(options, f"{label}: options", report)
    value = node.get("value")
    if isinstance(options, Seq) and options.items:
        known = [item.text for item in options.items if isinstance(item, Scalar)]
        shown = value.text if isinstance(value, Scalar) else ""
        if shown not in known:
            place = value.where if value is not None else node.where
            hint = meant(shown, known) or f"give it a default: `value: {known[0]}`"
            report.error("invalid-value", f"`{label}: value` must be one of its options", place, hint)


ROOT_VARIABLES: Final = _variables("description", "expand", "options")
JOB_VARIABLES: Final = _variables("expand")


def PLAIN_VARIABLES(node: Node, label: str, report: Report) -> None:  # noqa: N802 - a shape like its neighbours
    """Variables of rules and services: values only, no `expand`."""
    JOB_VARIABLES(node, label, report)
    for name, value in node.items() if isinstance(node, Map) else ():
        if isinstance(value, Map):
            report.error(
                "invalid-value", f"`{label}: {name}` must be text or a whole number here, not a mapping", value.where
            )
