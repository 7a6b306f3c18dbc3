"""Variables: which definition wins, and what its value becomes once references are followed.

Decides precedence and expansion. A value is final (`raw`) when nothing in it can change any more; it stays open when it
refers to what only the running job knows (files, secrets, ids, dotenv reports), and then `$$` stays escaped.
Does not resolve secrets and does not know the shell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from aegis.core.plan import Variable

_REFERENCE: Final = re.compile(r"\$\$|%%|\$([A-Za-z_]\w*)|\$\{([A-Za-z_]\w*)\}|%([A-Za-z_]\w*)%", re.ASCII)

LONGEST: Final = 128 * 1024
"""Characters of one expanded value: what Linux takes as one environment string."""

RUN_TIME: Final = frozenset(
    {
        "CI_BUILDS_DIR", "CI_CONCURRENT_ID", "CI_CONCURRENT_PROJECT_ID", "CI_JOB_ID", "CI_JOB_STARTED_AT",
        "CI_JOB_STATUS", "CI_JOB_TIMEOUT", "CI_JOB_TOKEN", "CI_JOB_URL", "CI_PIPELINE_CREATED_AT", "CI_PIPELINE_ID",
        "CI_PIPELINE_IID", "CI_PIPELINE_URL", "CI_PROJECT_DIR", "CI_REGISTRY", "CI_REGISTRY_IMAGE",
        "CI_REGISTRY_PASSWORD", "CI_REGISTRY_USER", "CI_REPOSITORY_URL", "CI_RUNNER_DESCRIPTION",
        "CI_RUNNER_EXECUTABLE_ARCH", "CI_RUNNER_ID", "CI_RUNNER_REVISION", "CI_RUNNER_SHORT_TOKEN", "CI_RUNNER_TAGS",
        "CI_RUNNER_VERSION", "CI_SHARED_ENVIRONMENT", "AEGIS_URL", "AEGIS_VERSION", "AEGIS_INDEX_URL",
        "AEGIS_UPLOAD_URL", "AEGIS_ADVISORIES", "HOME", "PATH", "PWD", "USER",
    }
)  # fmt: skip
"""Names that get their value when the job starts; a reference to one stays open until then."""


def references(value: str) -> tuple[str, ...]:
    """The names that a value refers to, in order."""
    if "$" not in value and "%" not in value:
        return ()
    return tuple(name for match in _REFERENCE.finditer(value) if (name := _name(match)) is not None)


def _name(match: re.Match[str]) -> str | None:
    return match.group(1) or match.group(2) or match.group(3)


def substitute(value: str, found: Callable[[str], str | None]) -> str:
    """Each reference replaced by what `found` gives; None leaves it as it stands. `$$` and `%%` stay."""
    if "$" not in value and "%" not in value:
        return value

    def one(match: re.Match[str]) -> str:
        name = _name(match)
        if name is None:
            return match.group()
        replacement = found(name)
        return match.group() if replacement is None else replacement

    return _REFERENCE.sub(one, value)


def expand_known(value: str, values: Mapping[str, str]) -> str:
    """References to known names replaced, the others kept: for paths, names and tags that the compiler reads."""
    return substitute(value, values.get)


def layered(*layers: Iterable[Variable]) -> dict[str, Variable]:
    """One mapping by name, later layers winning."""
    merged: dict[str, Variable] = {}
    for layer in layers:
        for variable in layer:
            merged[variable.key] = variable
    return merged


def visible(variables: Mapping[str, Variable]) -> dict[str, str]:
    """What conditions see: unexpanded values. A secret that is set is seen as set, never as its value."""
    return {name: "[masked]" if one.secret else one.value for name, one in variables.items()}


def referring(variables: Mapping[str, Variable]) -> tuple[Variable, ...]:
    """Those whose value may change when references are followed: few of the many that a job has."""
    return tuple(
        [one for one in variables.values() if ("$" in one.value or "%" in one.value) and not one.raw and not one.secret]
    )


def circles(variables: Mapping[str, Variable], among: tuple[Variable, ...]) -> tuple[tuple[str, ...], ...]:
    """Groups of variables that refer to one another in a circle (a variable naming itself is none).

    `among` are the `referring` ones.
    """
    graph = {
        one.key: [
            other
            for other in references(one.value)
            if other != one.key and other in variables and not variables[other].raw
        ]
        for one in among
    }
    found: list[tuple[str, ...]] = []
    settled: set[str] = set()
    for start in graph:
        trail: list[str] = []
        _walk(start, graph, trail, settled, found)
    return tuple(found)


def _walk(
    start: str, graph: Mapping[str, list[str]], trail: list[str], settled: set[str], found: list[tuple[str, ...]]
) -> None:
    """Depth first without recursion; each circle is reported once."""
    stack: list[tuple[str, int]] = [(start, 0)]
    while stack:
        name, index = stack.pop()
        if index == 0:
            if name in settled:
                continue
            trail.append(name)
        following = graph.get(name, [])
        if index < len(following):
            stack.append((name, index + 1))
            other = following[index]
            if other in trail:
                found.append(tuple(trail[trail.index(other) :]))
            elif other in graph and other not in settled:
                stack.append((other, 0))
            continue
        settled.add(name)
        trail.pop()


class Expansion:
    """Expands a set of variables among themselves, each at most once, without recursion and within bounds.

    `open_names` tells names that may still get a value when the job starts. `too_long` collects variables whose value
    would exceed `LONGEST` characters; they become empty, and the caller reports them.
    """

    def __init__(
        self,
        variables: Mapping[str, Variable],
        open_names: Callable[[str], bool],
        among: tuple[Variable, ...] | None = None,
    ) -> None:
        self.variables = variables
        self.open_names = open_names
        self.too_long: list[str] = []
        self.referring = referring(variables) if among is None else among
        self.settled: Mapping[str, Variable] = {}
        self._values: dict[str, tuple[str, bool]] = {}

    def value(self, name: str) -> tuple[str, bool]:
        """The value of a defined variable with `$$` still escaped, and whether it is open."""
        stack = [name]
        entered: set[str] = set()
        while stack:
            top = stack[-1]
            if top in self._values:
                stack.pop()
                continue
            one = self.variables[top]
            if top not in entered:
                entered.add(top)
                waiting = [
                    other for other in self._following(one) if other not in self._values and other not in entered
                ]
                if waiting:
                    stack.extend(waiting)
                    continue
            self._values[top] = self._expanded(one)
            stack.pop()
        return self._values[name]

    def _following(self, one: Variable) -> tuple[str, ...]:
        """The variables that must be expanded before this one."""
        if one.raw or one.secret:
            return ()
        return tuple(other for other in references(one.value) if other != one.key and other in self.variables)

    def _expanded(self, one: Variable) -> tuple[str, bool]:
        """A value whose references are all settled; a circle ends with nothing (`circles` reports it)."""
        if one.raw or one.secret or ("$" not in one.value and "%" not in one.value):
            return one.value, False
        still_open = False
        length = len(one.value)

        def found(name: str) -> str | None:
            nonlocal still_open, length
            other = self.variables.get(name)
            if name == one.key:
                return "$$" + name
            if other is None:
                still_open = still_open or self.open_names(name)
                return None if self.open_names(name) else ""
            if other.file or other.secret or other.masked:
                still_open = True
                return None
            text, inner_open = self._values.get(name) or self._expanded_raw(other)
            still_open = still_open or inner_open
            length += len(text)
            return text.replace("$", "$$") if other.raw and length <= LONGEST else text if length <= LONGEST else ""

        value = _sub_defined(one.value, found, self.variables)
        if length > LONGEST:
            self.too_long.append(one.key)
            return "", False
        return value, still_open

    @staticmethod
    def _expanded_raw(other: Variable) -> tuple[str, bool]:
        return (other.value if other.raw else ""), False

    def text(self, value: str) -> str:
        """Any text of the file with known references replaced and unknown ones empty, `$$` unescaped."""
        if "$" not in value and "%" not in value:
            return value
        for name in references(value):
            if name in self.variables:
                self.value(name)
        expanded, still_open = self._expanded(Variable(key="", value=value))
        return expanded if still_open else expanded.replace("$$", "$")

    def final(self) -> tuple[Variable, ...]:
        """All variables as a job gets them."""
        if not self.referring and not self.settled:
            return tuple(self.variables.values())
        final = {**self.variables, **self.settled}
        for one in self.referring:
            final[one.key] = self._final(one.key, one)
        return tuple(final.values())

    def finished(self, one: Variable) -> Variable:
        """One of the variables as a job gets it."""
        return self._final(one.key, one)

    def take(self, settled: Mapping[str, Variable], other: Expansion) -> None:
        """Use another expansion's values for these variables."""
        self.settled = settled
        for name in settled:
            self._values[name] = other.value(name)

    def _final(self, name: str, one: Variable) -> Variable:
        value, still_open = self.value(name)
        return Variable(
            key=name,
            value=value if still_open else value.replace("$$", "$"),
            raw=not still_open,
            file=one.file,
            masked=one.masked,
        )


class Shared:
    """The variables that many jobs share, expanded once. A job takes what depends on none of its own names from here."""

    def __init__(self, variables: Mapping[str, Variable], open_names: Callable[[str], bool]) -> None:
        self._open_names = open_names
        self._whole = Expansion(variables, open_names)
        self._referring = self._whole.referring
        self._reach = {one.key: self._reached(one) for one in self._referring}
        circling = {name for circle in circles(variables, self._referring) for name in circle}
        self._final = {
            one.key: final
            for one, final in zip(self._referring, map(self._made, self._referring), strict=True)
            if not self._reach[one.key] & circling
        }
        for name in self._whole.too_long:
            self._final.pop(name, None)

    def _made(self, one: Variable) -> Variable:
        return self._whole.finished(one)

    def _reached(self, start: Variable) -> frozenset[str]:
        """Every name that the value depends on, its own among them."""
        found: set[str] = set()
        waiting = [start.key]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                one = self._whole.variables.get(name)
                if one is not None and not one.raw and not one.secret:
                    waiting.extend(references(one.value))
        return frozenset(found)

    def expansion(self, variables: Mapping[str, Variable], own: Mapping[str, Variable]) -> Expansion:
        """For one job: `variables` are all of its, `own` those beyond the shared ones."""
        names = own.keys()
        settled: dict[str, Variable] = {}
        among = [
            one for one in own.values() if ("$" in one.value or "%" in one.value) and not one.raw and not one.secret
        ]
        for one in self._referring:
            final = self._final.get(one.key)
            if final is not None and self._reach[one.key].isdisjoint(names):
                settled[one.key] = final
            elif one.key not in own:
                among.append(one)
        made = Expansion(variables, self._open_names, tuple(among))
        made.take(settled, self._whole)
        return made


def _sub_defined(value: str, found: Callable[[str], str | None], variables: Mapping[str, Variable]) -> str:
    """As `substitute`, but `%NAME%` counts only for names that are defined."""

    def one(match: re.Match[str]) -> str:
        name = _name(match)
        if name is None or (match.group(3) and name not in variables):
            return match.group()
        replacement = found(name)
        return match.group() if replacement is None else replacement

    return _REFERENCE.sub(one, value)
