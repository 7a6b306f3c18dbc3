"""The whole configuration of a project: read, included, merged, extended, resolved and checked.

Answers what holds whatever the pipeline is for; nothing here looks at rules' outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aegis.core.plan import Variable
from aegis.pipeline import keywords
from aegis.pipeline.conditions import Context, strings
from aegis.pipeline.diagnostics import Report, Unreadable, meant
from aegis.pipeline.document import Map, Node, Scalar, Seq, kind_of, weight
from aegis.pipeline.includes import Includer
from aegis.pipeline.inputs import Given
from aegis.pipeline.matrix import Instance, instances
from aegis.pipeline.merge import extend_all
from aegis.pipeline.references import resolve_all
from aegis.pipeline.request import CompileRequest
from aegis.pipeline.shapes import fields

DEFAULT_STAGES: Final = ("build", "test", "deploy")
NAME_MAX: Final = 255
_check_job: Final = fields(keywords.JOB)


@dataclass(slots=True, kw_only=True)
class Definition:
    """One visible job as it is written, with what it inherits."""

    name: str
    key: Scalar
    node: Map
    values: Mapping[str, Node]
    """What each keyword comes to: the job's own value, else the inherited default; without nulls."""
    stage: str = "test"
    instances: tuple[Instance, ...] = ()
    unsupported: tuple[str, ...] = ()
    """Keywords that have no effect here."""

    def get(self, keyword: str) -> Node | None:
        """The job's own value, else the inherited default; None where neither is given."""
        return self.values.get(keyword)

    def text(self, keyword: str) -> str | None:
        """A scalar keyword as text."""
        node = self.values.get(keyword)
        return node.text if isinstance(node, Scalar) else None


@dataclass(slots=True, kw_only=True)
class Configuration:
    """What a project's files say."""

    root: Map
    stages: tuple[str, ...]
    variables: dict[str, Variable]
    workflow: Map | None
    jobs: dict[str, Definition] = field(default_factory=dict)


def configure(request: CompileRequest, context: Context, report: Report) -> Configuration | None:
    """The checked configuration; None when it could not be read at all. Problems go to the report."""
    data = request.files.read(request.root)
    if data is None:
        report.error("no-file", f"there is no {request.root}", None, "`aegis adopt .` writes one for a Python project")
        return None
    includer = Includer(context, report, request.limits, request.elsewhere)
    given = {name: Given(value) for name, value in request.inputs.items()}
    try:
        root = includer.load(request.root, data, given)
    except Unreadable as problem:
        found = problem.diagnostic()
        report.error(found.code, found.message, found.where, found.hint)
        return None
    written = root
    root = extend_all(root, report, request.limits)
    if includer.has_references:
        root = resolve_all(root, report)
    if _too_big(root, written, includer, request.limits.whole):
        where = root.where
        report.error("too-big", f"more than {request.limits.whole} nodes once everything is put together", where)
    if report.errors:
        return None  # what is missing would only be complained of a second time
    return _checked(root, request, report)


def _too_big(root: Map, written: Map, includer: Includer, most: int) -> bool:
    """Whether the configuration has too many nodes. What stands in short files as it was written need not be measured."""
    short = includer.characters < most and not includer.has_references and not includer.has_aliases
    known: dict[int, int] = {}
    total = includer.characters if short else 0
    for name, (_, node) in root.entries.items():
        if not short or node is not written.entries[name][1]:
            total += weight(node, known)
    return total > most


def _checked(root: Map, request: CompileRequest, report: Report) -> Configuration:
    for name, (key, node) in root.entries.items():
        shape = keywords.ROOT.get(name)
        if (
            shape is not None
            and isinstance(node, Map)
            and "script" in node.entries
            and name not in {"default", "variables"}
        ):
            report.error(
                "invalid-name", f"`{name}` is a keyword and cannot be a job's name", key.where, f"call it `{name}-job`"
            )
        elif shape is not None and not _null(node):
            shape(node, name, report)
    configuration = Configuration(
        root=root,
        stages=_stages(root),
        variables=yaml_variables(root.get("variables")),
        workflow=_map(root.get("workflow")),
    )
    defaults = _defaults(root, report)
    count = 0
    for name, (key, node) in root.entries.items():
        if name in keywords.ROOT or name.startswith("."):
            continue
        definition = _definition(name, key, node, defaults, configuration=configuration, report=report)
        if definition is not None:
            configuration.jobs[name] = definition
            count += len(definition.instances) or 1
            if count > request.limits.jobs:
                report.error("too-many-jobs", f"more than {request.limits.jobs} jobs", key.where)
                break
    if not configuration.jobs and not report.errors:
        report.error(
            "no-jobs",
            "there is no visible job",
            root.where,
            "a job is a mapping with `script` whose name has no leading dot",
        )
    return configuration


def _map(node: Node | None) -> Map | None:
    return node if isinstance(node, Map) else None


def _stages(root: Map) -> tuple[str, ...]:
    named = strings(root.get("stages")) if root.has("stages") else DEFAULT_STAGES
    middle = [stage for stage in dict.fromkeys(named) if stage not in {".pre", ".post"}]
    return (".pre", *middle, ".post")


def _defaults(root: Map, report: Report) -> dict[str, Node]:
    """What jobs inherit: `default`, and the older keywords at the top."""
    default = _map(root.get("default"))
    found = {name: node for name, node in default.items() if not _null(node)} if default is not None else {}
    for name in keywords.OLD_GLOBALS:
        node = root.get(name)
        if node is None or _null(node):
            continue
        key = root.key(name)
        if name in found:
            report.error(
                "defined-twice",
                f"`{name}` stands at the top and under `default`",
                node.where,
                "keep the one under `default`",
            )
        else:
            report.warn(
                "deprecated",
                f"`{name}` at the top is deprecated",
                key.where if key else node.where,
                f"move it under `default: {name}`",
            )
        found[name] = node
    return found


def _null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def _definition(
    name: str, key: Scalar, node: Node, defaults: Mapping[str, Node], *, configuration: Configuration, report: Report
) -> Definition | None:
    if not isinstance(node, Map):
        report.error(
            "unknown-keyword",
            f"`{name}` is neither a keyword nor a job: it is {kind_of(node)}",
            key.where,
            meant(name, keywords.ROOT) or "a job is a mapping with `script`",
        )
        return None
    if not isinstance(key.value, str) or name in keywords.RESERVED_NAMES or not name.strip():
        report.error("invalid-name", f"`{name}` cannot be a job's name", key.where, f'quote it: "{name}"')
        return None
    if len(name) > NAME_MAX:
        report.error("invalid-name", f"a job's name has at most {NAME_MAX} characters", key.where)
        return None
    before = len(report.errors)
    _check_job(node, name, report)
    values = dict(_inherited(node, defaults))
    for word, (_, value) in node.entries.items():
        if not isinstance(value, Scalar) or value.value is not None:
            values[word] = value
    definition = Definition(name=name, key=key, node=node, values=values)
    _check_together(definition, configuration, report)
    if len(report.errors) > before:
        return definition
    definition.instances = instances(name, node.get("parallel"), report)
    for instance in definition.instances:
        if len(instance.name) > NAME_MAX:
            report.error("invalid-name", f"`{instance.name[:60]}…` has more than {NAME_MAX} characters", key.where)
            break
    return definition


def _inherited(node: Map, defaults: Mapping[str, Node]) -> Mapping[str, Node]:
    inherit = _map(node.get("inherit"))
    allowed = inherit.get("default") if inherit is not None else None
    if isinstance(allowed, Scalar) and allowed.value is False:
        return {}
    if isinstance(allowed, Seq):
        names = strings(allowed)
        return {name: value for name, value in defaults.items() if name in names}
    return defaults


def _check_together(definition: Definition, configuration: Configuration, report: Report) -> None:
    """What several keywords of a job must fulfil together."""
    name, node = definition.name, definition.node
    runs = [word for word in ("script", "trigger", "run") if node.has(word)]
    if "run" in runs:
        runs.extend(word for word in ("before_script", "after_script") if node.has(word))
    mirrors = not runs and _mirrors(node.get("needs"))
    if "trigger" in runs or mirrors:
        _check_bridge(definition, report)
    if mirrors:
        pass
    elif not runs:
        unknown = meant(name, keywords.ROOT) if not node.has("extends") else ""
        report.error(
            "no-script",
            f"`{name}` has no `script`, `run` or `trigger`",
            definition.key.where,
            unknown or "add `script: [...]`",
        )
    elif len(runs) > 1:
        report.error(
            "conflicting-keywords",
            f"`{name}` cannot have both {' and '.join(f'`{one}`' for one in runs)}",
            definition.key.where,
        )
    _check_pages(definition, report)
    script = node.get("script")
    if isinstance(script, Seq) and not script.items:
        report.error("no-script", f"`{name}: script` is empty", script.where)
    stage = definition.text("stage")
    if stage is not None:
        definition.stage = stage
    if definition.stage not in configuration.stages:
        shown = definition.get("stage")
        report.error(
            "unknown-stage",
            f"`{name}` is in the stage `{definition.stage}`, which is not one of {', '.join(configuration.stages)}",
            shown.where if shown is not None else definition.key.where,
            meant(definition.stage, configuration.stages) or f"add `{definition.stage}` to `stages`",
        )
    if node.has("rules"):
        for word in ("only", "except", "start_in"):
            if node.has(word):
                key = node.key(word)
                report.error(
                    "conflicting-keywords",
                    f"`{name}: {word}` cannot be used with `rules`",
                    key.where if key else node.where,
                )
        return
    delayed = definition.text("when") == "delayed"
    if delayed != node.has("start_in"):
        message = "`when: delayed` needs `start_in`" if delayed else "`start_in` needs `when: delayed`"
        report.error(
            "missing-key", f"`{name}`: {message}", definition.key.where, "add `start_in: 10 minutes`" if delayed else ""
        )


def _mirrors(needs: Node | None) -> bool:
    """Whether `needs` only names a pipeline whose status the job shows."""
    entries = needs.items if isinstance(needs, Seq) else (needs,)
    return any(isinstance(one, Map) and one.has("pipeline") and not one.has("job") for one in entries)


def _check_bridge(definition: Definition, report: Report) -> None:
    """A job that starts another pipeline runs nothing itself."""
    name, node = definition.name, definition.node
    for word, (key, value) in node.entries.items():
        if word in keywords.JOB and word not in keywords.BRIDGE and word not in {"script", "run"} and not _null(value):
            report.error(
                "conflicting-keywords",
                f"`{name}: {word}` has no meaning in a job with `trigger`",
                key.where,
                f"it may have: {', '.join(sorted(keywords.BRIDGE))}",
            )
    for word, wrong in (("when", "delayed"), ("parallel", int), ("allow_failure", Map)):
        given = node.get(word)
        found = given.value if isinstance(given, Scalar) else None
        is_wrong = found == wrong if isinstance(wrong, str) else isinstance(given if wrong is Map else found, wrong)
        if is_wrong and not isinstance(found, bool) and given is not None:
            report.error(
                "invalid-value", f"`{name}: {word}` cannot be {kind_of(given)} in a job with `trigger`", given.where
            )


def is_pages(definition: Definition) -> bool:
    """Whether the job publishes pages: by keyword, or by its name as of old."""
    pages = definition.get("pages")
    if isinstance(pages, Scalar):
        return pages.value is True
    return pages is not None or definition.name == "pages"


def _check_pages(definition: Definition, report: Report) -> None:
    name, node = definition.name, definition.node
    key = node.key("publish")
    if key is None or not node.has("publish"):
        return
    pages = definition.get("pages")
    if not is_pages(definition):
        report.error(
            "conflicting-keywords", f"`{name}: publish` is only for a pages job", key.where, "add `pages: true`"
        )
    elif isinstance(pages, Map) and pages.has("publish"):
        report.error("conflicting-keywords", f"`{name}` has both `publish` and `pages: publish`", key.where)


def yaml_variables(node: Node | None) -> dict[str, Variable]:
    """A `variables` mapping as variables. `expand: false` makes them raw."""
    found: dict[str, Variable] = {}
    if not isinstance(node, Map):
        return found
    for name, value in node.items():
        raw = False
        inner: Node | None = value
        if isinstance(value, Map):
            expand = value.get("expand")
            raw = isinstance(expand, Scalar) and expand.value is False
            inner = value.get("value")
        found[name] = Variable(key=name, value=scalar_text(inner), raw=raw)
    return found


def scalar_text(node: Node | None) -> str:
    """A scalar as the text a variable gets: numbers as Ruby shows them, null as nothing."""
    if not isinstance(node, Scalar) or node.value is None:
        return ""
    return node.text if isinstance(node.value, str) else str(node.value)
