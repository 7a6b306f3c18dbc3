"""Rows about CI variables of projects and groups. Values are shown to those who may change them, hidden ones to nobody."""

from __future__ import annotations

from typing import Any, Final

from aegis.core import ids
from aegis.core.errors import NotFound
from aegis.core.plan import CiVariable
from aegis.web.gitlab_api.calls import Call, Made, Rows, row

_FLAGS: Final = ("protected", "masked", "raw")


# -- groups -----------------------------------------------------------------------------------------------


@row("GET", "groups", "the groups of projects that you may see", "gl.groups.list()")
def groups(call: Call) -> Any:
    names = {name for one in call.door.projects(call.actor) for name in _groups_of(one.name)}
    return Rows(rows=sorted(names), shown=lambda name: _group(call, name))


@row("GET", "groups/:id", "one group, by number or path", "gl.groups.get('group')")
def group(call: Call) -> Any:
    return _group(call, _group_name(call))


def _groups_of(project: str) -> list[str]:
    parts = project.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _group_name(call: Call) -> str:
    wanted = call.path["id"]
    for one in call.door.projects(call.actor):
        for name in _groups_of(one.name):
            if wanted == name or wanted == str(ids.number(f"group/{name}")):
                return name
    raise NotFound("no-such-group", "Group Not Found")


def _group(call: Call, name: str) -> dict[str, Any]:
    parent = name.rpartition("/")[0]
    return {
        "id": ids.number(f"group/{name}"), "name": name.rpartition("/")[2], "path": name.rpartition("/")[2],
        "full_name": name.replace("/", " / "), "full_path": name, "visibility": "private", "description": "",
        "parent_id": ids.number(f"group/{parent}") if parent else None, "web_url": f"{call.door.url}/runs",
    }  # fmt: skip


# -- variables --------------------------------------------------------------------------------------------


def _shown(call: Call, one: CiVariable) -> dict[str, Any]:
    return {
        "variable_type": "file" if one.file else "env_var",
        "key": one.key,
        "value": None if one.hidden else call.door.variable_value(one),
        "hidden": one.hidden,
        "protected": one.protected,
        "masked": one.masked,
        "raw": one.raw,
        "environment_scope": one.environment_scope,
        "description": one.description or None,
    }


def _scope(call: Call) -> str | None:
    """The environment scope that a call filters by."""
    nested = call.given.get("filter")
    if isinstance(nested, dict) and "environment_scope" in nested:
        return str(nested["environment_scope"])
    return call.text("filter[environment_scope]") or None


def _given(call: Call) -> dict[str, Any]:
    """What a body says of a variable, in Aegis's words."""
    wanted: dict[str, Any] = {name: call.flag(name) for name in _FLAGS if name in call.given}
    for name in ("environment_scope", "description"):
        if call.given.get(name) is not None:
            wanted[name] = call.text(name)
    if "variable_type" in call.given:
        wanted["file"] = call.text("variable_type") == "file"
    if call.given.get("value") is not None:
        wanted["value"] = call.text("value")
    return wanted


def _listed(call: Call, owner: str) -> Rows:
    return Rows(rows=call.door.variables(call.actor, owner), shown=lambda one: _shown(call, one))


def _one(call: Call, owner: str, scope: str | None) -> dict[str, Any]:
    return _shown(call, call.door.variable(call.actor, owner, call.path["key"], scope))


def _create(call: Call, owner: str) -> Made:
    key, value = call.need("key"), call.text("value")
    hidden = call.flag("masked_and_hidden")
    made = call.run("create-variable", **{**_given(call), "owner": owner, "key": key, "value": value, "hidden": hidden})
    return Made(value=_shown(call, call.door.variable(call.actor, owner, key, str(made["scope"]))))


def _change(call: Call, owner: str) -> Any:
    wanted = {name: value for name, value in _given(call).items() if name != "key"}
    made = call.run("change-variable", owner=owner, key=call.path["key"], scope=_scope(call), **wanted)
    return _one(call, owner, str(made["scope"]))


def _remove(call: Call, owner: str) -> Made:
    call.run("remove-variable", owner=owner, key=call.path["key"], scope=_scope(call))
    return Made()


@row("GET", "projects/:id/variables", "CI variables that are kept for it", "project.variables.list()")
def variables(call: Call) -> Any:
    return _listed(call, call.project.name)


@row("POST", "projects/:id/variables", "keep one: protected, masked, hidden, raw, file, for environments",
     "project.variables.create({'key': 'K', 'value': 'v'})")  # fmt: skip
def create_variable(call: Call) -> Any:
    return _create(call, call.project.name)


@row("GET", "projects/:id/variables/:key", "one of them; `filter[environment_scope]` where several have the name",
     "project.variables.get('K')")  # fmt: skip
def variable(call: Call) -> Any:
    return _one(call, call.project.name, _scope(call))


@row("PUT", "projects/:id/variables/:key", "change it", "variable.value = 'w'; variable.save()")
def change_variable(call: Call) -> Any:
    return _change(call, call.project.name)


@row("DELETE", "projects/:id/variables/:key", "remove it with its value", "variable.delete()")
def remove_variable(call: Call) -> Any:
    return _remove(call, call.project.name)


@row("GET", "groups/:id/variables", "CI variables that are kept for all projects of a group", "group.variables.list()")
def group_variables(call: Call) -> Any:
    return _listed(call, _group_name(call))


@row("POST", "groups/:id/variables", "keep one for a group", "group.variables.create({'key': 'K', 'value': 'v'})")
def create_group_variable(call: Call) -> Any:
    return _create(call, _group_name(call))


@row("GET", "groups/:id/variables/:key", "one of them", "group.variables.get('K')")
def group_variable(call: Call) -> Any:
    return _one(call, _group_name(call), _scope(call))


@row("PUT", "groups/:id/variables/:key", "change it", "variable.save()")
def change_group_variable(call: Call) -> Any:
    return _change(call, _group_name(call))


@row("DELETE", "groups/:id/variables/:key", "remove it with its value", "variable.delete()")
def remove_group_variable(call: Call) -> Any:
    return _remove(call, _group_name(call))
