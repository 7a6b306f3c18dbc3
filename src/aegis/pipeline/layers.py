"""The variables of one job: which layers they come from, and what its rules see of them.

Decides the order of the layers, lowest first: predefined, the job's own facts, its environment, the top level (as far as the
job inherits it), the job, its matrix, the rule that matched, then the project's and the pipeline's. Expansion is
`aegis.pipeline.variables`' part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from aegis.core.plan import JobEnvironment, Variable
from aegis.pipeline import predefined
from aegis.pipeline.conditions import Match, strings
from aegis.pipeline.configuration import Definition, yaml_variables
from aegis.pipeline.declared import ScopedVariable
from aegis.pipeline.document import Map, Node, Scalar, Seq
from aegis.pipeline.matrix import Instance
from aegis.pipeline.variables import Expansion, Shared

_OF_JOB = ("CI_JOB_", "CI_NODE_")


@dataclass(slots=True, kw_only=True)
class Layers:
    """The layers that all jobs share. `low` is predefined, `root` the top level, `high` what wins over the file."""

    low: dict[str, Variable]
    root: dict[str, Variable]
    high: dict[str, Variable]
    scoped: tuple[ScopedVariable, ...] = ()
    """What wins over `high` for jobs of certain environments."""
    _written: dict[int, dict[str, Variable]] = field(default_factory=dict)
    _common: dict[str, Variable] | None = None
    _shared: Shared | None = None

    def written(self, node: Node | None) -> dict[str, Variable]:
        """A `variables` mapping of the file; many jobs share one, so each is read once."""
        if node is None:
            return {}
        found = self._written.get(id(node))
        if found is None:
            found = self._written[id(node)] = yaml_variables(node)
        return found

    def own(
        self, definition: Definition, instance: Instance, match: Match | None, place: JobEnvironment | None
    ) -> dict[str, Variable]:
        """What one job has beyond the shared layers, as far as those do not win."""
        root, high = self.inherited(definition), self.high
        own: dict[str, Variable] = {}
        facts = predefined.of_job(instance.name, definition.stage, instance.number, instance.total, _image(definition))
        for one in facts:
            if one.key not in root and one.key not in high:
                own[one.key] = one
        for one in predefined.of_environment(place) if place is not None else ():
            if one.key not in root and one.key not in high:
                own[one.key] = one
        above = self.written(definition.node.get("variables"))
        if instance.values:
            above = {**above, **{key: Variable(key=key, value=value) for key, value in instance.values.items()}}
        if match is not None and "variables" in match.rule.entries:
            above = {**above, **self.written(match.rule.get("variables"))}
        own.update(above if high.keys().isdisjoint(above) else {k: v for k, v in above.items() if k not in high})
        if self.scoped and place is not None:
            own.update(self.of_place(place.name))
        return own

    def of_place(self, environment: str) -> dict[str, Variable]:
        """The scoped variables of an environment."""
        return {one.variable.key: one.variable for one in self.scoped if one.meets(environment)}

    def of(
        self, definition: Definition, instance: Instance, match: Match | None, place: JobEnvironment | None
    ) -> dict[str, Variable]:
        """All variables of one job."""
        own = self.own(definition, instance, match, place)
        root = self.inherited(definition)
        below = self.common() if root is self.root else {**self.low, **root, **self.high}
        return {**below, **own}

    def common(self) -> dict[str, Variable]:
        """What every job has that inherits the top level; made once, after the workflow's rules have had their say."""
        if self._common is None:
            self._common = {**self.low, **self.root, **self.high}
        return self._common

    def expansion(
        self,
        definition: Definition,
        variables: dict[str, Variable],
        own: Mapping[str, Variable],
        open_names: Callable[[str], bool],
    ) -> Expansion:
        """A job's variables among themselves; values that none of its own can change are taken from the shared layers."""
        if self.inherited(definition) is not self.root:
            return Expansion(variables, open_names)
        if self._shared is None:
            self._shared = Shared(self.common(), open_names)
        return self._shared.expansion(variables, own)

    def given(self, definition: Definition, instance: Instance, match: Match | None) -> dict[str, Variable]:
        """What the pipeline's file itself gives a job, lowest first."""
        given = dict(self.inherited(definition))
        given.update(self.written(definition.node.get("variables")))
        for key, value in instance.values.items():
            given[key] = Variable(key=key, value=value)
        if match is not None:
            given.update(self.written(match.rule.get("variables")))
        return given

    def inherited(self, definition: Definition) -> Mapping[str, Variable]:
        """The top level's variables as far as `inherit: variables` lets them in."""
        inherit = definition.values.get("inherit")
        allowed = inherit.get("variables") if isinstance(inherit, Map) else None
        if isinstance(allowed, Scalar) and allowed.value is False:
            return {}
        if isinstance(allowed, Seq):
            names = strings(allowed)
            return {name: variable for name, variable in self.root.items() if name in names}
        return self.root

    def seen(
        self, definition: Definition, instance: Instance, place: Callable[[], JobEnvironment | None]
    ) -> Mapping[str, str]:
        """What the rules of a job see, looked up name by name: most rules ask for one or two of fifty."""
        return _Seen(self, definition, instance, place)


def _image(definition: Definition) -> str:
    """The image that a job names, references and all."""
    node = definition.get("image")
    named = node.get("name") if isinstance(node, Map) else node
    return named.value if isinstance(named, Scalar) and isinstance(named.value, str) else ""


class _Seen(Mapping[str, str]):
    """Unexpanded values; a secret that is set is seen as set, never as its value."""

    __slots__ = ("_definition", "_facts", "_instance", "_layers", "_place", "_scoped", "_upper")

    def __init__(
        self,
        layers: Layers,
        definition: Definition,
        instance: Instance,
        place: Callable[[], JobEnvironment | None],
    ) -> None:
        self._layers = layers
        self._definition = definition
        self._instance = instance
        self._place = place
        self._facts: dict[str, Variable] | None = None
        self._scoped: dict[str, Variable] | None = None
        self._upper = (
            layers.high,
            None,
            layers.written(definition.node.get("variables")),
            layers.inherited(definition),
        )

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        for layer in self._narrow(), *self._upper:
            if layer is None:
                value = self._instance.values.get(name)
                if value is not None:
                    return value
                continue
            one = layer.get(name)
            if one is not None:
                return "[masked]" if one.secret else one.value
        one = self._own(name) or self._layers.low.get(name)
        return default if one is None else "[masked]" if one.secret else one.value

    def _narrow(self) -> Mapping[str, Variable]:
        """The variables of the job's environment alone, which win over all others but the pipeline's."""
        if not self._layers.scoped or "environment" not in self._definition.values:
            return {}
        if self._scoped is None:
            place = self._place()
            self._scoped = self._layers.of_place(place.name) if place is not None else {}
        return self._scoped

    def _own(self, name: str) -> Variable | None:
        """What a job knows of itself, made only when it is asked for."""
        if name.startswith(_OF_JOB) or name.startswith("CI_ENVIRONMENT_"):
            if self._facts is None:
                instance = self._instance
                of_job = predefined.of_job(
                    instance.name,
                    self._definition.stage,
                    instance.number,
                    instance.total,
                    _image(self._definition),
                )
                place = self._place() if "environment" in self._definition.values else None
                of_place = predefined.of_environment(place) if place is not None else ()
                self._facts = {one.key: one for one in (*of_job, *of_place)}
            return self._facts.get(name)
        return None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        place = self._place() if "environment" in self._definition.values else None
        return iter(self._layers.of(self._definition, self._instance, None, place))

    def __len__(self) -> int:
        return sum(1 for _ in self)
