"""What advice looks at: a valid configuration, its edges, and the texts of its files. Plain values, no judgement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from aegis.core.errors import Where
from aegis.pipeline.advice.occasions import Clause, Occasions, shape
from aegis.pipeline.conditions import Context, flat, strings
from aegis.pipeline.configuration import Configuration, Definition
from aegis.pipeline.document import Map, Node, Scalar, Seq
from aegis.pipeline.graph import Names, edges
from aegis.pipeline.predefined import tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One piece of advice before it is known whether it is allowed. `job` is the job it is about, where it is about one."""

    message: str
    where: Where
    hint: str
    job: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A named piece of advice. `find` must cost no more than linear time in the size of the configuration."""

    name: str
    title: str
    why: str
    find: Callable[[Subject], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Ruled:
    """A job with its rules, flat, and what of them says when it runs."""

    job: Definition
    rules: tuple[Map, ...]
    shape: tuple[Clause, ...]


@dataclass(slots=True, kw_only=True)
class Subject:
    """A configuration with what several rules ask for, computed once."""

    configuration: Configuration
    names: Names
    context: Context
    root_file: str
    occasions: Occasions = field(default_factory=Occasions)
    _jobs: tuple[Definition, ...] | None = None
    _ruled: tuple[Ruled, ...] | None = None
    _needs: dict[str, dict[str, bool]] = field(default_factory=dict)
    _own: dict[str, bool] = field(default_factory=dict)

    def jobs(self) -> tuple[Definition, ...]:
        """The jobs that this project itself wrote: what a component or another project brings is not its to change."""
        if self._jobs is None:
            self._jobs = tuple(one for one in self.configuration.jobs.values() if self.is_own(one.key.file))
        return self._jobs

    def ruled(self) -> tuple[Ruled, ...]:
        """Those of them that have rules."""
        if self._ruled is None:
            found = ((job, flat(job.node.get("rules"))) for job in self.jobs() if "rules" in job.node.entries)
            self._ruled = tuple(Ruled(job, rules, shape(rules)) for job, rules in found if rules)
        return self._ruled

    def is_own(self, file: str) -> bool:
        """Whether a file belongs to this project."""
        known = self._own.get(file)
        if known is None:
            known = self._own[file] = file == self.root_file or self.context.files.read(file) is not None
        return known

    def needs(self, definition: Definition) -> dict[str, bool]:
        """The jobs (not instances) a job names in `needs`, to whether it takes their artifacts."""
        known = self._needs.get(definition.name)
        if known is None:
            known = {}
            for edge in edges(definition.get("needs")) or ():
                target = self.names.definition(edge.job)
                if target is not None:
                    known[target.name] = known.get(target.name, False) or edge.artifacts
            self._needs[definition.name] = known
        return known


def mapping(node: Node | None) -> Map | None:
    """The node where it is a mapping."""
    return node if isinstance(node, Map) else None


def is_true(node: Node | None) -> bool:
    """Whether a node is the boolean true."""
    return isinstance(node, Scalar) and node.value is True


def texts(node: Node | None) -> Iterator[Scalar]:
    """The scalars of a text or of a list, nested lists included."""
    stack: list[Node] = [node] if node is not None else []
    while stack:
        one = stack.pop()
        if isinstance(one, Seq):
            stack.extend(reversed(one.items))
        elif isinstance(one, Scalar):
            yield one


def deploys(definition: Definition) -> bool:
    """Whether a job brings something to an environment (and does not merely stop, check or prepare it)."""
    node = definition.get("environment")
    if isinstance(node, Scalar):
        return node.value is not None
    if not isinstance(node, Map):
        return False
    action = node.get("action")
    return not isinstance(action, Scalar) or action.text == "start"


def environment_name(definition: Definition) -> str:
    """The environment's name as it is written."""
    node = definition.get("environment")
    name = node.get("name") if isinstance(node, Map) else node
    return name.text if isinstance(name, Scalar) else ""


def environment_tier(definition: Definition) -> str:
    """The declared tier of a job's environment, or the one that its name stands for."""
    node = definition.get("environment")
    declared = node.get("deployment_tier") if isinstance(node, Map) else None
    return declared.text if isinstance(declared, Scalar) else tier(environment_name(definition))


def acts_outside(definition: Definition) -> bool:
    """Whether ending a job half-way may leave something half done outside: it deploys, releases, publishes or triggers."""
    words = ("environment", "release", "trigger", "pages", "resource_group")
    return any(definition.get(word) is not None for word in words)


def leaves(definition: Definition) -> bool:
    """Whether a job leaves files for others: artifacts of any kind but reports that only people and gates read."""
    node = mapping(definition.get("artifacts"))
    if node is None:
        return False
    reports = mapping(node.get("reports"))
    return bool(strings(node.get("paths"))) or is_true(node.get("untracked")) or bool(reports and reports.has("dotenv"))
