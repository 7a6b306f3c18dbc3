"""CI variables kept on the server: made, changed and removed by those who decide what the default branch runs.

What GitLab refuses is refused: a masked value has eight characters or more on one line and without blanks, a hidden variable stays
hidden. Variables of the declaration are read only here, and their names are taken.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from aegis.core import events
from aegis.core.errors import Conflict, Denied, NotFound, UserError
from aegis.core.events import Draft
from aegis.core.plan import CiVariable
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.variable_book import subject_of
from aegis.delivery.views import Actor, Result
from aegis.pipeline.declared import DeclaredVariable

_KEY: Final = re.compile(r"[A-Za-z0-9_]{1,255}")
_MASKABLE: Final = re.compile(r"[A-Za-z0-9_+=/@:.~-]{8,}")
_MASKABLE_RAW: Final = re.compile(r"\S{8,}")
_LONGEST: Final = 10_000


def may_manage(context: Context, actor: Actor, owner: str) -> None:
    """Raise `Denied` unless the actor may read and change an owner's variables; `NotFound` for an owner that there is not."""
    project = context.options.projects.get(owner)
    if project is None:
        if not any(name.startswith(f"{owner}/") for name in context.options.projects):
            raise NotFound("no-such-owner", f"there is neither a project nor a group {owner!r}")
        context.authorise(actor, "manage-variables", kind="server")
        return
    try:
        context.authorise(actor, "manage-variables", kind="branch", name=project.default_branch, project=owner)
    except Denied:
        context.authorise(actor, "manage-variables", project=owner)


def declared_of(context: Context, owner: str) -> tuple[DeclaredVariable, ...]:
    """What the declaration gives an owner at its own level."""
    for project in context.options.projects.values():
        parts = project.name.split("/")
        owners = ["*", *("/".join(parts[:end]) for end in range(1, len(parts))), project.name]
        if owner in owners and project.variables:
            return project.variables[owners.index(owner)]
    return ()


def find(context: Context, owner: str, key: str, scope: str | None) -> CiVariable:
    """The variable that is meant; `NotFound`, or `Conflict` where several are."""
    found = [one for one in context.variables.of(owner) if one.key == key and scope in (None, one.environment_scope)]
    if not found:
        raise NotFound("no-such-variable", "Variable Not Found")
    if len(found) > 1:
        raise Conflict(
            "variable-ambiguous",
            "There are multiple variables with provided parameters. Please use 'filter[environment_scope]'",
        )
    return found[0]


@handles(ask.CreateVariable)
def create(context: Context, command: ask.CreateVariable, asking: Asking) -> Result:
    """Keep a variable that is not there yet."""
    may_manage(context, asking.actor, command.owner)
    if not _KEY.fullmatch(command.key):
        raise UserError("variable-key", f"{command.key!r} is no name: use letters, digits and '_', at most 255 of them")
    variable = CiVariable(
        owner=command.owner,
        key=command.key,
        protected=command.protected,
        masked=command.masked or command.hidden,
        hidden=command.hidden,
        raw=command.raw,
        file=command.file,
        environment_scope=command.environment_scope or "*",
        description=command.description,
    )
    _free(context, variable)
    return _put(context, variable, command.value, None, asking)


@handles(ask.ChangeVariable)
def change(context: Context, command: ask.ChangeVariable, asking: Asking) -> Result:
    """Change what is named of a variable."""
    may_manage(context, asking.actor, command.owner)
    before = find(context, command.owner, command.key, command.scope)
    if before.hidden and command.masked is False:
        raise UserError("variable-hidden", "a hidden variable stays masked and hidden; remove it and make another")
    named = ("protected", "masked", "raw", "file", "environment_scope", "description")
    wanted = {name: value for name in named if (value := getattr(command, name)) is not None}
    variable = replace(before, **wanted)
    if variable.environment_scope != before.environment_scope:
        _free(context, variable)
    value = command.value if command.value is not None else context.variables.value(before)
    return _put(context, variable, value, before, asking)


@handles(ask.RemoveVariable)
def remove(context: Context, command: ask.RemoveVariable, asking: Asking) -> Result:
    """Remove a variable with its value."""
    may_manage(context, asking.actor, command.owner)
    found = find(context, command.owner, command.key, command.scope)
    if asking.dry_run:
        return Result(seq=0, message=f"would remove {found.key} of {found.owner}", dry_run=True)
    removed = events.VariableRemoved(owner=found.owner, key=found.key, environment_scope=found.environment_scope)
    seq = context.append(_draft(found.owner, removed, asking))
    context.variables.forget(found.stored)
    return Result(seq=seq, message=f"removed {found.key} of {found.owner}", subject=subject_of(found.owner))


def _free(context: Context, variable: CiVariable) -> None:
    """Raise `UserError` where the name is taken, in GitLab's words."""
    place = (variable.key, variable.environment_scope)
    if place in {(one.key, one.environment_scope) for one in declared_of(context, variable.owner)}:
        raise UserError("variable-declared", f"({variable.key}) has already been taken: it is declared in aegis.yaml")
    if place in {(one.key, one.environment_scope) for one in context.variables.of(variable.owner)}:
        raise UserError("variable-taken", f"({variable.key}) has already been taken")


def _put(context: Context, variable: CiVariable, value: str, before: CiVariable | None, asking: Asking) -> Result:
    if len(value) > _LONGEST:
        raise UserError("variable-value", f"the value is longer than {_LONGEST} characters")
    if variable.masked and not (_MASKABLE_RAW if variable.raw else _MASKABLE).fullmatch(value):
        raise UserError(
            "variable-not-maskable",
            "the value cannot be masked: it needs 8 characters or more on one line, without blanks"
            + ("" if variable.raw else ", and of letters, digits and _+=/@:.~- alone"),
        )
    if asking.dry_run:
        return Result(seq=0, message=f"would keep {variable.key} of {variable.owner}", dry_run=True)
    stored = context.variables.keep(variable.owner, variable.key, value, context.entropy.take(10).hex())
    kept = replace(variable, stored=stored)
    moved = before is not None and before.environment_scope != variable.environment_scope
    told = events.VariableSet(variable=kept, before=before.environment_scope if before is not None and moved else "")
    seq = context.append(_draft(variable.owner, told, asking))
    if before is not None:
        context.variables.forget(before.stored)
    return Result(
        seq=seq, message=f"kept {variable.key} of {variable.owner}", subject=subject_of(variable.owner),
        values={"scope": variable.environment_scope},
    )  # fmt: skip


def _draft(owner: str, data: object, asking: Asking) -> Draft:
    return Draft(
        subject=subject_of(owner),
        data=data,
        actor=asking.actor.id,
        project=owner if "/" in owner else "",
        cause=asking.cause,
    )
