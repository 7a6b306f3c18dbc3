"""The variables of a declaration, as the compiler takes them: level by level, from the instance's to the project's. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from aegis.config.declaration import Declaration, VariableModel
from aegis.pipeline.declared import EVERYWHERE, DeclaredVariable

Level = tuple[DeclaredVariable, ...]


def levels(declared: Declaration, project: str) -> tuple[Level, ...]:
    """What a project gets, the lowest first: everybody's, its groups' from the outermost, its own."""
    parts = project.split("/")
    groups = (EVERYWHERE, *("/".join(parts[:end]) for end in range(1, len(parts))))
    own = declared.projects.get(project)
    return (
        *(_level(declared.variables.get(group, {})) for group in groups),
        _level(own.variables if own is not None else {}),
    )


def _level(variables: Mapping[str, tuple[VariableModel, ...]]) -> Level:
    return tuple(
        DeclaredVariable(
            key=key,
            value=one.value,
            protected=one.protected,
            masked=one.masked,
            raw=one.raw,
            file=one.variable_type == "file",
            environment_scope=one.environment_scope,
        )
        for key, entries in variables.items()
        for one in entries
    )
