"""What could be written at a position: keywords, words, jobs, stages, variables, files, components and their inputs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from aegis.lsp import vocabulary
from aegis.lsp.cursor import Cursor, at, key_of
from aegis.lsp.project import Project
from aegis.pipeline import library, templates
from aegis.pipeline.configuration import Configuration
from aegis.pipeline.document import Map
from aegis.pipeline.graph import Names

Kind = Literal["keyword", "value", "job", "stage", "variable", "file", "component", "input", "anchor"]
_JOBS: frozenset[tuple[str, ...]] = frozenset(
    {("needs",), ("needs", "job"), ("dependencies",), ("extends",), ("environment", "on_stop"), ("rules", "needs"), ("rules", "needs", "job")}
)  # fmt: skip
_MAPPINGS = frozenset(
    {"default", "variables", "workflow", "artifacts", "reports", "environment", "inherit", "retry", "parallel", "coverage_report", "auto_cancel", "inputs"}
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One suggestion. `insert` is written from the column `begin` on; `rank` orders (lower first)."""

    label: str
    kind: Kind
    detail: str = ""
    insert: str = ""
    begin: int = 0
    rank: int = 5


def complete(project: Project, lines: list[str], line: int, column: int) -> list[Suggestion]:
    """The suggestions at a 0-based position."""
    cursor = at(lines, line, column)
    text = lines[line] if line < len(lines) else ""
    if _in_comment(text, column):
        return []
    if cursor.variable is not None:
        begin = text.rfind("$", 0, column) + 1
        begin += text[begin : begin + 1] == "{"
        return [_at(one, begin) for one in _variables(project, cursor)]
    if cursor.reference is not None:
        return [_at(one, cursor.begin) for one in _references(project, cursor.reference)]
    if text[:column].rstrip().endswith("*") or cursor.before.startswith("*"):
        begin = text.rfind("*", 0, column) + 1
        return [_at(one, begin) for one in _anchors(lines, line)]
    found = list(_values(project, cursor)) if cursor.key is not None else []
    if cursor.key is None or _may_be_key(text, cursor):
        found.extend(_keys(project, cursor))
    begin = cursor.begin
    if cursor.key in {"local", "include", "component"} or (
        cursor.key in {"needs", "extends", "job", "on_stop"} and cursor.word
    ):
        begin = _value_begin(text, column)
    return [_at(one, begin) for one in found]


def _at(one: Suggestion, begin: int) -> Suggestion:
    return Suggestion(
        label=one.label, kind=one.kind, detail=one.detail, insert=one.insert or one.label, begin=begin, rank=one.rank
    )  # fmt: skip


def _in_comment(text: str, column: int) -> bool:
    head = text[:column]
    place = head.find("#")
    return place >= 0 and (place == 0 or head[place - 1].isspace()) and head.count('"', 0, place) % 2 == 0


def _value_begin(text: str, column: int) -> int:
    """Where the value under the position begins: names may hold spaces, colons and slashes."""
    begin = column
    while begin > 0 and text[begin - 1] not in "[,{'\"" and text[max(0, begin - 2) : begin] not in {": ", "- "}:
        begin -= 1
    while begin < column and text[begin] == " ":
        begin += 1
    return begin


def _may_be_key(text: str, cursor: Cursor) -> bool:
    """Whether an item of a list could also begin a mapping."""
    head = text[: cursor.begin].strip()
    return head == "-" and cursor.key in {"needs", "rules", "cache", "include", "services", "changes", "matrix"}


def _keys(project: Project, cursor: Cursor) -> Iterator[Suggestion]:
    path = cursor.inner_path
    if path[-1:] == ("inputs",) and path[0] == "include":
        yield from _inputs(project)
        return
    for word, text in vocabulary.keywords_at(path).items():
        yield Suggestion(label=word, kind="keyword", detail=text, insert=_with_colon(word), rank=1)
    if not path:
        yield from (
            Suggestion(label=name, kind="job", detail="a job to be changed here", insert=f"{name}:", rank=8)
            for name in project.names()
        )


def _with_colon(word: str) -> str:
    return f"{word}:" if word in _MAPPINGS else f"{word}: "


def _values(project: Project, cursor: Cursor) -> Iterator[Suggestion]:
    path = cursor.inner_path
    inner = path[1:]
    configuration = project.configuration
    if path == ("stages",) or not inner:
        if path == ("include",):
            yield from _files(project)
        return
    if inner in _JOBS:
        yield from _jobs(project, cursor.job, hidden=inner == ("extends",))
    elif inner == ("stage",):
        stages = configuration.stages if configuration is not None else ()
        yield from (Suggestion(label=one, kind="stage", rank=1) for one in stages)
    elif path == ("include", "local"):
        yield from _files(project)
    elif path == ("include", "component"):
        yield from _components()
    elif inner[:1] == ("inherit",):
        names = vocabulary.JOB if inner[-1] == "default" else _declared(configuration)
        yield from (Suggestion(label=one, kind="value") for one in names)
    yield from (Suggestion(label=one, kind="value", rank=2) for one in vocabulary.values_at(path))


def _jobs(project: Project, own: str, *, hidden: bool) -> Iterator[Suggestion]:
    configuration = project.configuration
    order = Names(configuration).order if configuration is not None else {}
    me = configuration.jobs.get(own) if configuration is not None else None
    for name in project.names():
        if name == own or (name.startswith(".") and not hidden):
            continue
        definition = configuration.jobs.get(name) if configuration is not None else None
        later = me is not None and definition is not None and order.get(definition.stage, 0) > order.get(me.stage, 0)
        if later and not hidden:
            continue  # GitLab refuses a need of a later stage
        detail = f"stage {definition.stage}" if definition is not None else "hidden" if name.startswith(".") else ""
        yield Suggestion(label=name, kind="job", detail=detail, rank=1 if name.startswith(".") == hidden else 3)


def _declared(configuration: Configuration | None) -> dict[str, str]:
    return {name: one.value for name, one in configuration.variables.items()} if configuration is not None else {}


def _variables(project: Project, cursor: Cursor) -> Iterator[Suggestion]:
    configuration = project.configuration
    seen: set[str] = set()
    job = configuration.root.get(cursor.job) if configuration is not None else None
    own = job.get("variables") if isinstance(job, Map) else None
    for name in own.entries if isinstance(own, Map) else ():
        seen.add(name)
        yield Suggestion(label=name, kind="variable", detail=f"of {cursor.job}", rank=1)
    for name, value in _declared(configuration).items():
        if name not in seen:
            seen.add(name)
            yield Suggestion(label=name, kind="variable", detail=value[:60], rank=2)
    for name, text in vocabulary.PREDEFINED.items():
        if name not in seen:
            yield Suggestion(label=name, kind="variable", detail=text, rank=4)


def _references(project: Project, before: tuple[str, ...]) -> Iterator[Suggestion]:
    if not before:
        yield from (
            Suggestion(label=name, kind="job", rank=1 if name.startswith(".") else 3) for name in project.names()
        )
        return
    configuration = project.configuration
    node = configuration.root.get(before[0]) if configuration is not None else None
    for name in before[1:]:
        node = node.get(name) if isinstance(node, Map) else None
    yield from (
        Suggestion(label=name, kind="keyword", rank=1) for name in (node.entries if isinstance(node, Map) else ())
    )


def _anchors(lines: Iterable[str], until: int) -> Iterator[Suggestion]:
    import re  # noqa: PLC0415 - one pattern

    for number, line in enumerate(lines):
        if number >= until:
            return
        for match in re.finditer(r"(?:^|\s)&([\w-]+)", line):
            key = key_of(line)
            yield Suggestion(
                label=match.group(1),
                kind="anchor",
                detail=f"line {number + 1}" + (f": {key[1]}" if key else ""),
                rank=1,
            )


def _files(project: Project) -> Iterator[Suggestion]:
    for path in project.texts.paths():
        if path.endswith((".yml", ".yaml")) and path != project.root:
            yield Suggestion(label=path, kind="file", rank=2)


def _components() -> Iterator[Suggestion]:
    for address in templates.addresses():
        yield Suggestion(label=address, kind="component", detail=library.find(address).description, rank=1)


def _inputs(project: Project) -> Iterator[Suggestion]:
    """The inputs of the components that the file names; of all of them where several are included."""
    text = "\n".join(project.lines(project.root))
    for address in templates.addresses():
        if address not in text:
            continue
        for spec in library.find(address).inputs:
            default = f" Default: {spec.default!r}." if spec.has_default else " Required."
            yield Suggestion(
                label=spec.name, kind="input", detail=f"{spec.type}. {spec.description}{default}", insert=f"{spec.name}: ", rank=1
            )  # fmt: skip
