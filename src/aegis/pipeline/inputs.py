"""`spec: inputs`: what a file may be given, whether it fits, and `$[[ inputs.x ]]` in its text.

Values are put into the text before it is read as YAML, as GitLab does. Decides types, defaults, options, patterns and
the functions `expand_vars`, `truncate` and `posix_escape`. Does not read files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from aegis.core.errors import Where
from aegis.core.values import dataclass
from aegis.pipeline.conditions import Context, check_expression
from aegis.pipeline.diagnostics import Report, Unreadable, meant
from aegis.pipeline.document import Limits, Map, Node, Scalar, Seq, plain
from aegis.pipeline.expression import compile_pattern, holds
from aegis.pipeline.patterns import Rare
from aegis.pipeline.reader import parse
from aegis.pipeline.variables import expand_known, references

_SEPARATOR: Final = Rare(r"^---(?=\s|$)[^\n]*\n?", re.MULTILINE)
_BLOCK: Final = Rare(r"\$\[\[(.*?)\]\]", re.DOTALL)
_TRUNCATE: Final = Rare(r"truncate\(\s*(\d{1,6})\s*,\s*(\d{1,6})\s*\)")
_TYPES: Final = ("string", "number", "boolean", "array")
_KEYS: Final = ("type", "default", "options", "regex", "description", "rules")
_SPLIT: Final = Rare(r"split\('([^']+)'\)")
_UNSAFE: Final = Rare(r"[^A-Za-z0-9_.,:+/@\n-]")
_SPEC: Final = ("inputs", "include", "component", "description")
_COMPONENT: Final = ("name", "version", "reference", "sha")
_LONGEST_DESCRIPTION: Final = 256
_MAX_FUNCTIONS: Final = 3
_MAX_OPTIONS: Final = 50
_MAX_BLOCK: Final = 1024


class Given(NamedTuple):
    """A value for an input and where it was given: None for one given with the request, whose text takes the input's type."""

    value: Any
    where: Where | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRule:
    """One of an input's `rules`: where `condition` holds (empty: always), these options and default count."""

    condition: str = ""
    options: tuple[Any, ...] = ()
    default: Any = None
    has_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One declared input."""

    name: str
    type: str = "string"
    default: Any = None
    has_default: bool = False
    options: tuple[Any, ...] = ()
    regex: str = ""
    description: str = ""
    rules: tuple[InputRule, ...] = ()
    where: Where | None = None


class Split(NamedTuple):
    """A file cut at its `---`: the header's text, the content's text and how many lines stand before each."""

    header: str | None
    content: str
    content_line: int


def split(text: str, file: str, report: Report, limits: Limits) -> Split:
    """The file's header (a first document with `spec`) and content."""
    if not text.startswith("---") and "\n---" not in text:
        return Split(None, text, 0)
    parts: list[tuple[int, str]] = []
    start, line = 0, 0
    for match in _SEPARATOR.finditer(text):
        parts.append((line, text[start : match.start()]))
        line += text[start : match.end()].count("\n")
        start = match.end()
    parts.append((line, text[start:]))
    parts = [part for index, part in enumerate(parts) if index == len(parts) - 1 or not _empty(part[1])]
    if len(parts) > 1 and _empty(parts[-1][1]) and not _is_header(parts[0], file, limits):
        parts.pop()
    if len(parts) > 2:
        raise Unreadable(
            "too-many-documents", "at most a header and a content are read", where=Where(file, parts[2][0] + 1)
        )
    if len(parts) == 1:
        return Split(None, parts[0][1], parts[0][0])
    if _is_header(parts[0], file, limits):
        return Split(parts[0][1], parts[1][1], parts[1][0])
    report.warn(
        "ignored-document",
        "everything after `---` is ignored: the first document has no `spec`",
        Where(file, parts[1][0] + 1),
        "move it into a file of its own and `include` it",
    )
    return Split(None, parts[0][1], parts[0][0])


def _empty(text: str) -> bool:
    return all(not line.strip() or line.lstrip()[0] in "#%" for line in text.splitlines())


def _is_header(part: tuple[int, str], file: str, limits: Limits) -> bool:
    if "spec" not in part[1]:
        return False
    root = parse(part[1], file, Report(), limits)
    return isinstance(root, Map) and "spec" in root.entries


class Header(NamedTuple):
    """What a file's `spec` says: its inputs, files that declare more of them, and which facts of a component it uses."""

    inputs: Mapping[str, InputSpec] = MappingProxyType({})
    includes: tuple[Node, ...] = ()
    component: tuple[str, ...] = ()


def specs(header: str, file: str, report: Report, limits: Limits, *, alone: bool = False) -> Header:
    """The header of a file. `alone`: a file of inputs only, as `spec: include` names it."""
    root = parse(header, file, report, limits)
    if alone and isinstance(root, Map) and not root.has("spec"):
        inputs = root.get("inputs")
        return Header(
            {name: _spec(name, key, node, report) for name, (key, node) in inputs.entries.items()}
            if isinstance(inputs, Map)
            else {}
        )
    if not isinstance(root, Map):
        return Header()
    for name, (key, _) in root.entries.items():
        if name != "spec":
            report.error(
                "unknown-keyword", f"`{name}` is not allowed in the header", key.where, "only `spec` stands there"
            )
    spec = root.get("spec")
    if not isinstance(spec, Map):
        return Header()
    for name, (key, _) in spec.entries.items():
        if name not in _SPEC:
            report.error(
                "unknown-keyword", f"`spec: {name}` is unknown", key.where, meant(name, _SPEC) or "write `inputs:`"
            )
    description = spec.get("description")
    if (
        description is not None
        and len(description.text if isinstance(description, Scalar) else "") > _LONGEST_DESCRIPTION
    ):
        report.error("invalid-input", "`spec: description` has at most 256 characters", description.where)
    inputs, include = spec.get("inputs"), spec.get("include")
    return Header(
        inputs={name: _spec(name, key, node, report) for name, (key, node) in inputs.entries.items()}
        if isinstance(inputs, Map)
        else {},
        includes=include.items if isinstance(include, Seq) else (include,) if include is not None else (),
        component=_component(spec.get("component"), report),
    )


def _component(node: Node | None, report: Report) -> tuple[str, ...]:
    """Which facts of its component a file uses."""
    found: list[str] = []
    for one in node.items if isinstance(node, Seq) else (node,) if node is not None else ():
        name = one.text if isinstance(one, Scalar) else ""
        if name in _COMPONENT:
            found.append(name)
        else:
            report.error(
                "invalid-input",
                f"`spec: component` knows {', '.join(_COMPONENT)}, not `{name}`",
                one.where,
                meant(name, _COMPONENT),
            )
    return tuple(found)


def _spec(name: str, key: Scalar, node: Node, report: Report) -> InputSpec:
    if not isinstance(node, Map):
        if not (isinstance(node, Scalar) and node.value is None):
            report.error("invalid-input", f"`spec: inputs: {name}` must be a mapping or empty", node.where)
        return InputSpec(name=name, where=key.where)
    for part, (field_key, _) in node.entries.items():
        if part not in _KEYS:
            report.error("unknown-keyword", f"`{part}` is not a part of an input", field_key.where, meant(part, _KEYS))
    values = plain(node)
    kind = values.get("type") or "string"
    if kind not in _TYPES:
        report.error(
            "invalid-input", f"input `{name}` has the unknown type `{kind}`", node.where, f"one of {', '.join(_TYPES)}"
        )
        kind = "string"
    options = values.get("options")
    _check_spec(name, node, values, report)
    spec = InputSpec(
        name=name,
        type=kind,
        default=values.get("default"),
        has_default="default" in values,
        options=tuple(options) if isinstance(options, list) else (),
        regex=str(values.get("regex") or ""),
        description=str(values.get("description") or ""),
        rules=_rules(name, node, report),
        where=key.where,
    )
    if spec.regex and _pattern(spec.regex) is None:
        report.error("invalid-input", f"input `{name}`: `{spec.regex}` is not a valid RE2 pattern", node.where)
    return spec


def _check_spec(name: str, node: Map, values: Mapping[str, Any], report: Report) -> None:
    """What the parts of one declared input must fulfil together."""
    options = values.get("options")
    for word in ("options", "default"):
        if "rules" in values and word in values:
            key = node.key(word)
            report.error(
                "conflicting-keywords",
                f"input `{name}` cannot have both `rules` and `{word}`",
                key.where if key is not None else node.where,
                f"put `{word}` into the rules",
            )
    if options is not None and not isinstance(options, list):
        report.error("invalid-input", f"input `{name}`: `options` must be a list", node.where)
    elif options is not None and (None in options or len(options) > _MAX_OPTIONS):
        report.error("invalid-input", f"input `{name}`: `options` are at most {_MAX_OPTIONS}, none empty", node.where)
    for word in ("description", "regex"):
        if word in values and values[word] is not None and not isinstance(values[word], str | int):
            report.error("invalid-input", f"input `{name}`: `{word}` must be text", node.where)


def _rules(name: str, node: Map, report: Report) -> tuple[InputRule, ...]:
    rules = node.get("rules")
    found: list[InputRule] = []
    for one in rules.items if isinstance(rules, Seq) else ():
        if not isinstance(one, Map):
            report.error("invalid-input", f"input `{name}`: a rule is a mapping", one.where)
            continue
        for part, (key, _) in one.entries.items():
            if part not in {"if", "options", "default"}:
                report.error("unknown-keyword", f"`{part}` is not a part of an input's rule", key.where)
        condition = one.get("if")
        if condition is not None and not check_expression(condition, report):
            continue
        values = plain(one)
        options = values.get("options")
        found.append(
            InputRule(
                condition=condition.text if isinstance(condition, Scalar) else "",
                options=tuple(options) if isinstance(options, list) else (),
                default=values.get("default"),
                has_default="default" in values,
            )
        )
    return tuple(found)


def _ruled(spec: InputSpec, known: Mapping[str, Any]) -> InputSpec:
    """The input with the options and default of the first of its rules that holds for the other inputs."""
    for rule in spec.rules:
        if not rule.condition or holds(rule.condition, {}, known):
            return replace(
                spec,
                options=rule.options or spec.options,
                default=rule.default if rule.has_default else spec.default,
                has_default=rule.has_default or spec.has_default,
            )
    return spec


def _pattern(text: str) -> Any:
    whole = text if text.startswith("/") and text.endswith("/") and len(text) > 1 else f"/{text}/"
    return compile_pattern(whole)


def from_text(kind: str, text: str) -> Any:
    """Text from a command line or a form as the type of its input; unchanged where it does not fit."""
    if kind == "boolean" and text in {"true", "false"}:
        return text == "true"
    if kind == "array":
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind == "number":
        try:
            return float(text) if "." in text else int(text)
        except ValueError:
            return text
    return text


def settle(
    declared: Mapping[str, InputSpec], given: Mapping[str, Given], file: str, report: Report, where: Where | None
) -> dict[str, Any]:
    """The value of every declared input. Unknown, missing and unfitting ones are reported."""
    for name, value in given.items():
        if name not in declared:
            known = ", ".join(declared) or "none"
            report.error(
                "unknown-input",
                f"{file} has no input `{name}`",
                value.where or where,
                meant(name, declared) or f"its inputs are: {known}",
            )
    values: dict[str, Any] = {}
    others = {name: given[name].value if name in given else spec.default for name, spec in declared.items()}
    for name, written in declared.items():
        spec = _ruled(written, others)
        if name in given:
            value, place = given[name].value, given[name].where
            values[name] = from_text(spec.type, value) if place is None and isinstance(value, str) else value
            place = place or where
        elif spec.has_default:
            values[name] = spec.default
            place = spec.where
        else:
            report.error(
                "missing-input", f"{file} needs the input `{name}`", where or spec.where, f"add `inputs: {{{name}: …}}`"
            )
            continue
        values[name] = _coerced(spec.type, values[name])
        problem = _misfit(spec, values[name])
        if problem:
            report.error("invalid-input", f"input `{name}`: {problem}", place)
    return values


def _coerced(kind: str, value: Any) -> Any:
    """A value in the type of its input where GitLab reads it so: numbers as text, text that is JSON as what it says."""
    if kind == "string":
        return value if isinstance(value, str | list | dict) else "" if value is None else _text(value)
    if not isinstance(value, str):
        return value
    import json  # noqa: PLC0415 - only for text given to another type

    try:
        return json.loads(value)
    except ValueError:
        return value


def _misfit(spec: InputSpec, value: Any) -> str:
    if spec.type == "boolean" and not isinstance(value, bool):
        return f"`{value}` is not a boolean"
    if spec.type == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        return f"`{value}` is not a number"
    if spec.type == "array" and not isinstance(value, list):
        return f"`{value}` is not an array"
    if spec.type == "string" and not isinstance(value, str):
        return f"`{value}` is not a string: quote it"
    if spec.options and spec.type in {"boolean", "array"}:
        return "`options` are for strings and numbers only"
    if spec.regex and spec.type != "string":
        return "`regex` is for strings only"
    options = [_text(one) for one in spec.options] if spec.type == "string" else spec.options
    if options and value not in options:
        return f"`{value}` is not one of {', '.join(str(option) for option in spec.options)}"
    if spec.regex and spec.type == "string":
        pattern = _pattern(spec.regex)
        if pattern is not None and not pattern.found_in(value):
            return f"`{value}` does not match {spec.regex}"
    return ""


def interpolated(
    part: Split, values: Mapping[str, Any], context: Context, file: str, report: Report
) -> tuple[str, tuple[int, ...]]:
    """The content with every block replaced, and for each of its lines the line of the file.

    `values` are what a block may name, as `inputs.name` and `component.name`.
    """
    out: list[str] = []
    lines: list[int] = []
    number = part.content_line
    for line in part.content.splitlines(keepends=True) or [""]:
        number += 1
        text = line
        if "$[[" in line and not line.lstrip().startswith("#"):
            text = _BLOCK.sub(lambda match, at=number: _block(match, values, context, Where(file, at), report), line)  # type: ignore[misc]
        out.append(text)
        lines.extend([number] * max(1, text.count("\n")))
    return "".join(out), (*lines, number)


def _block(match: re.Match[str], values: Mapping[str, Any], context: Context, where: Where, report: Report) -> str:
    where = Where(where.file, where.line, match.start() + 1)
    inside = match.group(1).strip()
    if inside.startswith("matrix."):
        return match.group()
    access, *functions = [piece.strip() for piece in inside.split("|")]
    if len(match.group()) > _MAX_BLOCK or len(functions) > _MAX_FUNCTIONS:
        report.error("invalid-interpolation", "an interpolation has at most 1024 characters and 3 functions", where)
        return ""
    if access not in values:
        report.error(
            "unknown-interpolation",
            f"unknown interpolation `{access}`",
            where,
            meant(access, values) or "declare it under `spec: inputs`",
        )
        return ""
    value = values[access]
    for function in functions:
        value = _apply(function, value, context, where, report)
    return _text(value)


def _apply(function: str, value: Any, context: Context, where: Where, report: Report) -> Any:
    if not isinstance(value, str):
        report.error("invalid-interpolation", f"`{function}` takes a string, not `{_text(value)}`", where)
        return value
    if function == "expand_vars":
        masked = [name for name in references(value) if name in context.masked]
        if masked:
            report.error("invalid-interpolation", f"`{masked[0]}` is masked, and `expand_vars` would show it", where)
        return expand_known(value, context.values)
    if function in {"posix_escape", "posix_quote"}:
        return _escaped(value)
    parts = _SPLIT.fullmatch(function)
    if parts is not None:
        return [part.strip() for part in value.split(parts.group(1)) if part.strip()]
    cut = _TRUNCATE.fullmatch(function)
    if cut is not None:
        offset, length = int(cut.group(1)), int(cut.group(2))
        return value[offset : offset + length]
    report.error(
        "invalid-interpolation",
        f"unknown function `{function}`",
        where,
        "one of expand_vars, posix_escape, split('separator'), truncate(offset, length)",
    )
    return value


def _escaped(value: str) -> str:
    """The text as one word of a POSIX shell, as Ruby's `shellescape` writes it."""
    return _UNSAFE.sub(r"\\\g<0>", value).replace("\n", "'\n'") if value else "''"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    import json  # noqa: PLC0415 - only for numbers, booleans and arrays

    return json.dumps(value, ensure_ascii=False)
