"""Where the thing at a position is defined: jobs, files, components, stages, variables, anchors, inputs. Pure."""

from __future__ import annotations

import re
from typing import Final, Literal

from aegis.lsp.cursor import Cursor, at, key_of
from aegis.lsp.project import Place, Project
from aegis.pipeline import templates
from aegis.pipeline.document import Map, Node, Scalar

Kind = Literal["job", "component", "stage", "file", "anchor", "input"]
_JOB_VALUES: Final = frozenset(
    {("needs",), ("needs", "job"), ("dependencies",), ("extends",), ("environment", "on_stop"), ("rules", "needs"), ("rules", "needs", "job")}
)  # fmt: skip
_INPUT: Final = re.compile(r"\$\[\[\s*inputs\.([\w-]+)")


def subject_at(project: Project, lines: list[str], line: int, column: int) -> tuple[Kind, str] | None:
    """What the position names, apart from keywords and variables; None where it names nothing."""
    text = lines[line] if line < len(lines) else ""
    for match in _INPUT.finditer(text):
        if match.start() <= column <= match.end():
            return "input", match.group(1)
    cursor = at(lines, line, column)
    alias = re.compile(r"(?<=\*)[\w-]+")
    for match in alias.finditer(text):
        if match.start() - 1 <= column <= match.end() and _before_alias(text, match.start() - 1):
            return "anchor", match.group()
    key = key_of(text)
    if key is not None and key[0] == 0 and column <= len(key[1]) and key[1] in project.names():
        return "job", key[1]
    if cursor.reference is not None:
        return ("job", cursor.word) if not cursor.reference else None
    return _value_at(project, cursor, text, column)


def _before_alias(text: str, star: int) -> bool:
    head = text[:star].rstrip()
    return not head or head[-1] in ":-[,{"


def _value_at(project: Project, cursor: Cursor, text: str, column: int) -> tuple[Kind, str] | None:
    path = cursor.inner_path
    inner = path[1:]
    if cursor.key is None or not cursor.word:
        return None
    value = _value(text, column)
    if inner in _JOB_VALUES:
        names = set(project.names())
        for name in (value, cursor.word, _base(value)):
            if name in names:
                return "job", name
        return None
    if inner == ("stage",):
        return "stage", value
    if path == ("stages",):
        return "stage", value
    if path[0] == "include":
        return _included(path, value)
    return None


def _included(path: tuple[str, ...], value: str) -> tuple[Kind, str] | None:
    if path[-1] == "component":
        return "component", value.removeprefix("$CI_SERVER_FQDN/")
    return ("file", value.lstrip("/")) if path[-1] in {"local", "include"} else None


def _base(name: str) -> str:
    """The job behind the name of a parallel instance."""
    return re.sub(r"(?: \d+/\d+|: \[.*)$", "", name)


def _value(text: str, column: int) -> str:
    """The whole value around a column: between brackets, commas, quotes, or after `: ` and `- `."""
    begin = column
    while begin > 0 and text[begin - 1] not in "[,{}'\"" and text[max(0, begin - 2) : begin] not in {": ", "- "}:
        begin -= 1
    end = column
    while end < len(text) and text[end] not in "],}'\"" and text[end : end + 2] != " #":
        end += 1
    return text[begin:end].strip()


def definitions(project: Project, file: str, lines: list[str], line: int, column: int) -> list[Place]:
    """The places, the most telling first; a name that is defined here and elsewhere leads elsewhere."""
    cursor = at(lines, line, column)
    if cursor.variable:
        return _variable(project, cursor)
    subject = subject_at(project, lines, line, column)
    if subject is None:
        return _keyword_of_base(project, cursor, lines, line, column)
    kind, name = subject
    if kind == "job":
        found = project.definitions(name)
        elsewhere = [place for place in found if (place.file, place.line) != (file, line)]
        return elsewhere or found
    if kind == "component":
        return [Place(file=name, line=0, column=0)] if name in templates.addresses() else []
    if kind == "file":
        return [Place(file=name, line=0, column=0)] if project.texts.text(name) is not None else []
    if kind == "anchor":
        return _anchor(file, lines, line, name)
    if kind == "input":
        return _input(file, lines, name)
    return _stage(project, name)


def _anchor(file: str, lines: list[str], line: int, name: str) -> list[Place]:
    pattern = re.compile(rf"(?:^|\s)&{re.escape(name)}(?![\w-])")
    for number in range(min(line, len(lines) - 1), -1, -1):
        match = pattern.search(lines[number])
        if match is not None:
            return [Place(file=file, line=number, column=match.end() - len(name) - 1, length=len(name) + 1)]
    return []


def _input(file: str, lines: list[str], name: str) -> list[Place]:
    for number, text in enumerate(lines):
        if text.startswith("---") and number:
            break
        key = key_of(text)
        if key is not None and key[1] == name:
            return [Place(file=file, line=number, column=key[0], length=len(name))]
    return []


def _of(node: Node | Scalar, length: int = 0) -> Place:
    return Place(file=node.file, line=node.line - 1, column=node.column - 1, length=length)


def _stage(project: Project, name: str) -> list[Place]:
    configuration = project.configuration
    stages = configuration.root.get("stages") if configuration is not None else None
    for node in getattr(stages, "items", ()) if not isinstance(stages, Map | Scalar) else ():
        if isinstance(node, Scalar) and node.text == name:
            return [_of(node, len(name))]
    return []


def _variable(project: Project, cursor: Cursor) -> list[Place]:
    configuration = project.configuration
    if configuration is None or cursor.variable is None:
        return []
    found: list[Place] = []
    for owner in (configuration.root.get(cursor.job), configuration.root):
        variables = owner.get("variables") if isinstance(owner, Map) else None
        key = variables.key(cursor.variable) if isinstance(variables, Map) else None
        if key is not None:
            found.append(_of(key, len(cursor.variable)))
    return found


def _keyword_of_base(project: Project, cursor: Cursor, lines: list[str], line: int, column: int) -> list[Place]:
    """On a keyword of a job that extends another: where the value that was overridden or merged comes from."""
    key = key_of(lines[line]) if line < len(lines) else None
    configuration = project.configuration
    if cursor.reference and configuration is not None:
        node: Node | None = configuration.root
        for name in (*cursor.reference, cursor.word):
            at_key = node.key(name) if isinstance(node, Map) else None
            node = node.get(name) if isinstance(node, Map) else None
            if at_key is None:
                return []
        return [_of(at_key, len(cursor.word))] if at_key is not None else []
    if key is None or not key[0] <= column <= key[0] + len(key[1]) or len(cursor.path) != 1:
        return []
    found: list[Place] = []
    for place in project.definitions(cursor.path[0]):
        text = project.lines(place.file)
        for number in range(place.line + 1, len(text)):
            inner = key_of(text[number])
            if inner is not None and inner[0] == 0:
                break
            if inner is not None and inner[1] == key[1] and number != line:
                found.append(Place(file=place.file, line=number, column=inner[0], length=len(inner[1])))
                break
    return found
