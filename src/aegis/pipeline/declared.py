"""Variables that a project and its groups declare outside of the pipeline file: which of them one pipeline gets.

Decides protection (only protected refs get protected ones), precedence between the levels and the match of environment
scopes. Where they are declared, and how they stand to the file's own variables, is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aegis.core.plan import Variable
from aegis.core.values import dataclass

EVERYWHERE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredVariable:
    """A variable with GitLab's attributes. `file`: the job gets the path of a file that holds the value."""

    key: str
    value: str
    protected: bool = False
    masked: bool = False
    raw: bool = False
    file: bool = False
    environment_scope: str = EVERYWHERE
    secret: str | None = None
    """A reference that only the running job resolves; `value` is then empty."""

    def variable(self) -> Variable:
        """What a job gets of it."""
        return Variable(
            key=self.key, value=self.value, raw=self.raw, file=self.file, masked=self.masked, secret=self.secret
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopedVariable:
    """A variable for jobs of the environments whose names match `scope` (`*` stands for any text)."""

    scope: str
    variable: Variable

    def meets(self, environment: str) -> bool:
        """Whether a job of this environment gets it."""
        pattern = ".*".join(re.escape(part) for part in self.scope.split("*"))
        return re.fullmatch(pattern, environment, re.DOTALL) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What one pipeline gets: `everywhere` for all jobs; `scoped` wins over it, the later entry over the earlier."""

    everywhere: tuple[Variable, ...] = ()
    scoped: tuple[ScopedVariable, ...] = ()


def given(levels: Sequence[Sequence[DeclaredVariable]], *, protected: bool) -> Given:
    """The variables of a pipeline. `levels` are those of the instance, the groups from the outermost, then the project.

    A level wins over the ones before it, whatever their scopes; within a level the more exact scope wins.
    """
    everywhere: dict[str, Variable] = {}
    scoped: list[ScopedVariable] = []
    for level in levels:
        seen = [one for one in level if protected or not one.protected]
        general = {one.key: one.variable() for one in seen if one.environment_scope == EVERYWHERE}
        everywhere |= general
        scoped = [one for one in scoped if one.variable.key not in general]
        scoped += _by_exactness(seen)
    return Given(everywhere=tuple(everywhere.values()), scoped=tuple(scoped))


def _by_exactness(level: Sequence[DeclaredVariable]) -> Iterator[ScopedVariable]:
    narrow = [one for one in level if one.environment_scope != EVERYWHERE]
    for one in sorted(narrow, key=lambda each: ("*" not in each.environment_scope, len(each.environment_scope))):
        yield ScopedVariable(scope=one.environment_scope, variable=one.variable())
