"""What a project gets when it comes to Aegis: its pipeline, its entry in the declaration, and what to know about both.

Pure: texts in, texts out. Comments and order of an existing declaration stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from aegis.core.errors import UserError
from aegis.core.ids import is_name, is_project
from aegis.projects.model import Command, Files, Project, Remark

PIPELINE: Final = ".gitlab-ci.yml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What adopting a project means. `pipeline` is the text of its `.gitlab-ci.yml`; `declaration` what goes into aegis.yaml.

    `entry` and `service` are the same as values. `next` are commands to copy, in order.
    """

    project: str
    kind: str
    pipeline: str
    declaration: str
    entry: Mapping[str, Any]
    service: Mapping[str, Any] | None
    remarks: tuple[Remark, ...]
    carried: tuple[Command, ...]
    dropped: tuple[Command, ...]
    next: tuple[str, ...]


def adopt(project: Project, files: Files, *, name: str | None = None, group: str = "team") -> Adoption:
    """The adoption of a project as `group/name`. `UserError` where there is nothing that could be adopted."""
    if not project.packages:
        raise UserError(
            "adopt-nothing",
            "no Python package was found here",
            hint="adopt the folder that holds pyproject.toml, or put the package into src/<name>/",
        )
    address = name or f"{group}/{slug(project.name or project.packages[0].name)}"
    if not is_project(address):
        raise UserError("project-name", f"{address!r} is not a project path", hint="--project group/name")
    short = slug(address.rsplit("/", 1)[-1])
    entry: dict[str, Any] = {"kind": project.kind}
    service: dict[str, Any] | None = None
    if project.application is not None:
        entry["service"] = short
        service = {"port": 8000, "health": project.application.health}
    return Adoption(
        project=address,
        kind=project.kind,
        pipeline=_pipeline(project),
        declaration=_entries(address, entry, short, service),
        entry=entry,
        service=service,
        remarks=project.remarks,
        carried=tuple(one for one in project.commands if one.carried),
        dropped=tuple(one for one in project.commands if not one.carried),
        next=_next(project, files),
    )


def slug(text: str) -> str:
    """A name as part of a project path and as a service: lower case, digits and `-`."""
    found = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
    return found if is_name(found) else "project"


def declare(text: str, adoption: Adoption) -> str:
    """The declaration with the project's entries in it, everything else untouched. `UserError` where that cannot be."""
    before = _loaded(text)
    result = text if text.strip() else "version: 1\n"
    short = str(adoption.entry.get("service", ""))
    if adoption.project not in (before.get("projects") or {}):
        result = _insert(result, "projects", f"{adoption.project}: {_flow(adoption.entry)}")
    if adoption.service is not None and short not in (before.get("services") or {}):
        result = _insert(result, "services", f"{short}: {_flow(adoption.service)}")
    after = _loaded(result)
    rest = {key: value for key, value in after.items() if key not in {"projects", "services", "version"}}
    if rest != {key: value for key, value in before.items() if key not in {"projects", "services", "version"}} or (
        adoption.project not in (after.get("projects") or {})
    ):
        raise UserError(
            "declaration-form",
            "the declaration is written in a form that cannot be added to",
            hint=adoption.declaration,
        )
    return result


def _pipeline(project: Project) -> str:
    inputs: dict[str, str] = {}
    kinds = project.suite.kinds
    if project.application is not None:
        inputs |= {kind: "false" for kind in ("integration", "e2e") if not kinds.get(kind)}
    lines = [
        f"# A Python {project.kind}. `aegis preview` shows its jobs, `aegis template show python-{project.kind}` the template."
    ]
    lines += ["include:", f"  - component: aegis/python-{project.kind}@1"]
    if inputs:
        lines += ["    inputs:", *(f"      {key}: {value}" for key, value in sorted(inputs.items()))]
    return "\n".join(lines) + "\n"


def _entries(address: str, entry: Mapping[str, Any], short: str, service: Mapping[str, Any] | None) -> str:
    lines = ["projects:", f"  {address}: {_flow(entry)}"]
    if service is not None:
        lines += ["services:", f"  {short}: {_flow(service)}"]
    return "\n".join(lines) + "\n"


def _next(project: Project, files: Files) -> tuple[str, ...]:
    steps = []
    if not any(lock.hashed for lock in project.locks):
        steps.append("aegis project lock")
    steps += ["aegis lint", "aegis run"]
    if PIPELINE in files:
        steps.insert(0, f"diff {PIPELINE} with what stands above")
    return tuple(steps)


def _flow(value: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {one}" for key, one in value.items()) + "}"


def _loaded(text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text) if text.strip() else {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(
            "declaration-unreadable", f"the declaration is not YAML: {error}", hint="mend it first"
        ) from error
    if not isinstance(document, dict):
        raise UserError("declaration-unreadable", "the declaration is a mapping that begins with `version: 1`")
    return document


def _insert(text: str, section: str, line: str) -> str:
    lines = text.splitlines()
    start = next(
        (at for at, one in enumerate(lines) if re.match(rf"{section}:\s*(?:\{{\s*\}})?\s*(?:#.*)?$", one)), None
    )
    if start is None:
        if any(one.startswith(f"{section}:") for one in lines):
            return text  # a form that is not a block: the caller sees that nothing was added
        return text.rstrip("\n") + f"\n\n{section}:\n  {line}\n"
    lines[start] = re.sub(r"\{\s*\}\s*", "", lines[start]).rstrip()
    last, indent = start, "  "
    for at in range(start + 1, len(lines)):
        if lines[at].strip() and not lines[at].startswith((" ", "\t", "#")):
            break
        if lines[at].startswith(" ") and lines[at].strip():
            if last == start:
                indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
            last = at
    lines.insert(last + 1, indent + line)
    return "\n".join(lines) + "\n"
