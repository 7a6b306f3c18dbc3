"""The edges between jobs: `needs`, `dependencies`, `on_stop`, checked as GitLab checks them. Pure.

Two questions are kept apart: whether the file makes sense (`check`, whatever the pipeline is for), and which of the
jobs that are in this pipeline an edge leads to (`needs_of`, `dependencies_of`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from aegis.core.plan import Need
from aegis.pipeline.conditions import flat, strings
from aegis.pipeline.configuration import Configuration, Definition
from aegis.pipeline.diagnostics import Report, meant
from aegis.pipeline.document import Map, Node, Scalar, Seq
from aegis.pipeline.matrix import matrix_name, selected

MAX_NEEDS: Final = 50


class Edge(NamedTuple):
    """One entry of `needs` as written. `matrix` narrows a parallel job to some of its instances."""

    job: str
    artifacts: bool
    optional: bool
    matrix: Node | None
    node: Node


def edges(node: Node | None) -> tuple[Edge, ...] | None:
    """The entries of `needs` within this pipeline; None where nothing is given."""
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return None
    found: list[Edge] = []
    stack: list[Node] = [node] if isinstance(node, Seq) else []
    while stack:
        one = stack.pop()
        if isinstance(one, Seq):
            stack.extend(reversed(one.items))
        elif isinstance(one, Scalar):
            found.append(Edge(job=one.text, artifacts=True, optional=False, matrix=None, node=one))
        elif one.has("job") and not is_foreign(one):
            found.append(_edge(one))
    return tuple(found)


def is_foreign(node: Map) -> bool:
    """Whether an entry leads to another pipeline or project."""
    return node.has("pipeline") or node.has("project")


def mirrors(node: Node | None) -> bool:
    """Whether an entry of `needs` asks for another pipeline's state, which no job of it stands for."""
    entries = [node] if isinstance(node, Map) else node.items if isinstance(node, Seq) else ()
    return any(isinstance(one, Map) and is_foreign(one) and not one.has("job") for one in entries)


def _edge(node: Map) -> Edge:
    job = node.get("job")
    parallel = node.get("parallel")
    artifacts, optional = node.get("artifacts"), node.get("optional")
    return Edge(
        job=job.text if isinstance(job, Scalar) else "",
        artifacts=not (isinstance(artifacts, Scalar) and artifacts.value is False),
        optional=isinstance(optional, Scalar) and optional.value is True,
        matrix=parallel.get("matrix") if isinstance(parallel, Map) else None,
        node=node,
    )


class Names:
    """Which definition and which instances a name in `needs` stands for."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.order = {stage: index for index, stage in enumerate(configuration.stages)}
        self._edges: dict[int, tuple[Edge, ...] | None] = {}
        self.owner: dict[str, str] = {}
        for name, definition in configuration.jobs.items():
            for instance in definition.instances:
                self.owner.setdefault(instance.name, name)

    def edges(self, node: Node | None) -> tuple[Edge, ...] | None:
        """As `edges`; each node is read once."""
        if node is None:
            return None
        key = id(node)
        if key not in self._edges:
            self._edges[key] = edges(node)
        return self._edges[key]

    def definition(self, name: str) -> Definition | None:
        """The definition behind a job's name or an instance's name."""
        found = self.configuration.jobs.get(name)
        return found if found is not None else self.configuration.jobs.get(self.owner.get(name, ""))

    def instances(self, name: str) -> tuple[str, ...]:
        """The instances' names."""
        found = self.configuration.jobs.get(name)
        if found is not None:
            return tuple(instance.name for instance in found.instances)
        return (name,) if name in self.owner else ()

    def targets(self, edge: Edge, own: Mapping[str, str]) -> tuple[str, ...]:
        """The instances an edge leads to."""
        every = self.instances(edge.job)
        if edge.matrix is None:
            return every
        wanted = [matrix_name(edge.job, values) for values in selected(edge.matrix, own)]
        return tuple(name for name in wanted if name in every)


def check(configuration: Configuration, names: Names, report: Report) -> None:
    """Everything about edges that does not depend on what the pipeline is for."""
    for definition in configuration.jobs.values():
        needed = names.edges(definition.get("needs"))
        for edge in needed or ():
            _check_edge(definition, edge, "needs", names, report)
        for rule in flat(definition.node.get("rules")):
            for edge in names.edges(rule.get("needs")) or ():
                _check_edge(definition, edge, "needs", names, report)
        _check_duplicates(definition, needed or (), report)
        _check_dependencies(definition, needed, names, report)
        _check_stop(definition, configuration, report)
    _check_circles(configuration, names, report)


def _check_edge(definition: Definition, edge: Edge, word: str, names: Names, report: Report) -> None:
    target = names.definition(edge.job)
    if target is None:
        if not edge.optional:
            report.error(
                "unknown-need",
                f"`{definition.name}: {word}` names `{edge.job}`, which is not a job",
                edge.node.where,
                meant(edge.job, names.configuration.jobs),
            )
        return
    if names.order.get(target.stage, 0) > names.order.get(definition.stage, len(names.order)):
        report.error(
            "later-stage",
            f"`{definition.name}: {word}` names `{edge.job}` of the later stage `{target.stage}`",
            edge.node.where,
            f"move `{edge.job}` to `{definition.stage}` or an earlier stage",
        )
    if edge.matrix is not None:
        for instance in definition.instances:
            wanted = selected(edge.matrix, instance.values)
            every = names.instances(edge.job)
            missing = next((one for one in (matrix_name(edge.job, v) for v in wanted) if one not in every), None)
            if missing is not None and not edge.optional:
                report.error(
                    "unknown-need",
                    f"`{definition.name}: needs` names `{missing}`, which `{edge.job}` does not make",
                    edge.node.where,
                    meant(missing, every) or "name the variables in the order of the matrix",
                )
                return


def _check_duplicates(definition: Definition, needed: tuple[Edge, ...], report: Report) -> None:
    if len(needed) > MAX_NEEDS:
        report.error(
            "too-many",
            f"`{definition.name}: needs` names {len(needed)} jobs; at most {MAX_NEEDS} are allowed",
            definition.key.where,
        )
    seen: set[str] = set()
    for edge in needed:
        if edge.job in seen and edge.matrix is None:
            report.error(
                "duplicate-need", f"`{definition.name}: needs` names `{edge.job}` twice", edge.node.where, "remove one"
            )
        if edge.matrix is None:
            seen.add(edge.job)


def _check_dependencies(definition: Definition, needed: tuple[Edge, ...] | None, names: Names, report: Report) -> None:
    node = definition.get("dependencies")
    if not isinstance(node, Seq):
        return
    for item in node.items:
        if not isinstance(item, Scalar):
            continue
        edge = Edge(job=item.text, artifacts=True, optional=False, matrix=None, node=item)
        _check_edge(definition, edge, "dependencies", names, report)
        if needed and item.text not in {one.job for one in needed} and names.definition(item.text) is not None:
            report.error(
                "dependency-not-needed", f"`{definition.name}: dependencies` names `{item.text}`, which is not in `needs`", item.where,
                f"add `{item.text}` to `needs`",
            )  # fmt: skip


def _check_stop(definition: Definition, configuration: Configuration, report: Report) -> None:
    node = definition.get("environment")
    stop = node.get("on_stop") if isinstance(node, Map) else None
    if not isinstance(stop, Scalar) or not isinstance(node, Map) or stop.value is None:
        return
    target = configuration.jobs.get(stop.text)
    other = target.get("environment") if target is not None else None
    action = other.get("action") if isinstance(other, Map) else None
    if target is None:
        report.error(
            "unknown-need", f"`{definition.name}: environment: on_stop` names `{stop.text}`, which is not a job", stop.where,
            meant(stop.text, configuration.jobs),
        )  # fmt: skip
    elif not isinstance(action, Scalar) or action.text != "stop":
        report.error(
            "invalid-stop",
            f"`{stop.text}` must have `environment: action: stop` to be `on_stop` of `{definition.name}`",
            stop.where,
        )
    else:
        name, own = (other.get("name") if isinstance(other, Map) else None), node.get("name")
        if isinstance(name, Scalar) and isinstance(own, Scalar) and name.text != own.text:
            report.error(
                "invalid-stop", f"`{stop.text}` stops the environment `{name.text}`, not `{own.text}`", stop.where
            )


def _check_circles(configuration: Configuration, names: Names, report: Report) -> None:
    """A circle among `needs`: each is reported once, with its way."""
    following: dict[str, list[str]] = {}
    for name, definition in configuration.jobs.items():
        targets = [names.definition(edge.job) for edge in names.edges(definition.get("needs")) or ()]
        following[name] = [target.name for target in targets if target is not None]
    circle = find_circle(following)
    if circle is not None:
        where = configuration.jobs[circle[0]].key.where
        report.error(
            "circular-needs",
            f"`needs` goes in a circle: {' → '.join((*circle, circle[0]))}",
            where,
            "remove one of them",
        )


def find_circle(following: Mapping[str, Iterable[str]]) -> tuple[str, ...] | None:
    """A circle in a graph, without recursion; None where there is none."""
    done: set[str] = set()
    for start in following:
        trail: dict[str, None] = {}
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                trail.pop(name, None)
                done.add(name)
                continue
            if name in done:
                continue
            if name in trail:
                way = list(trail)
                return tuple(way[way.index(name) :])
            trail[name] = None
            stack.append((name, True))
            for other in following.get(name, ()):
                if other in trail:
                    way = list(trail)
                    return tuple(way[way.index(other) :])
                if other not in done:
                    stack.append((other, False))
    return None


def needs_of(
    definition: Definition,
    rule: Map | None,
    own: Mapping[str, str],
    *,
    names: Names,
    present: Mapping[str, object],
    report: Report,
) -> tuple[Need, ...] | None:
    """The needs of one instance among the jobs that are in the pipeline."""
    ruled = names.edges(rule.get("needs")) if rule is not None else None
    needed = ruled if ruled is not None else names.edges(definition.get("needs"))
    if needed is None:
        return None
    found: dict[str, Need] = {}
    for edge in needed:
        for target in names.targets(edge, own):
            if target in present:
                found.setdefault(target, Need(job=target, artifacts=edge.artifacts, optional=edge.optional))
            elif not edge.optional:
                report.error(
                    "need-not-in-pipeline",
                    f"`{definition.name}` needs `{target}`, which is not in this pipeline because of its rules",
                    edge.node.where,
                    f"write `- job: {edge.job}` with `optional: true`",
                )
        if len(found) > MAX_NEEDS:
            report.error(
                "too-many",
                f"`{definition.name}: needs` leads to more than {MAX_NEEDS} jobs",
                edge.node.where,
                "leave `needs` out to wait for all jobs of earlier stages",
            )
            break
    return tuple(found.values())


def dependencies_of(definition: Definition, names: Names, present: Mapping[str, object]) -> tuple[str, ...] | None:
    """Whose artifacts are fetched; None where the job does not say."""
    node = definition.get("dependencies")
    if not isinstance(node, Seq):
        return None
    found = [target for name in strings(node) for target in names.instances(name) if target in present]
    return tuple(dict.fromkeys(found))
