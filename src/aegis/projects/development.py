"""What a developer's environment of a project consists of, from its declarations and its pipeline. Pure.

Which services, seeds and hooks there are, how a service's address reaches programs that run beside it, and what the hooks'
scripts say. It starts nothing.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aegis.core.errors import UserError
from aegis.core.plan import JobSpec, Plan
from aegis.projects.ports import RunningService, ServiceWish

HOOKS: Final = (
    "applypatch-msg", "pre-applypatch", "post-applypatch", "pre-commit", "pre-merge-commit", "prepare-commit-msg",
    "commit-msg", "post-commit", "pre-rebase", "post-checkout", "post-merge", "pre-push", "post-rewrite",
    "sendemail-validate", "pre-auto-gc", "post-index-change", "reference-transaction",
)  # fmt: skip
"""The hooks that Git runs in a developer's repository: whoever takes their folder's place must pass them all on."""
OURS: Final = ("pre-commit", "pre-push")
QUICK_SECONDS: Final = 20.0
"""A job that usually takes no longer is run before a push, where nothing else is declared."""
_KEYS: Final = frozenset({"seeds", "pre-commit", "pre-push", "variables"})
_RUNS_OWN: Final = ("CI_", "GITLAB_", "AEGIS_")
_NOT_NAME: Final = re.compile(r"[^A-Za-z0-9]+")
_STAGED_PIPELINE: Final = re.compile(r"(?:^|/)[^/]*\.gitlab-ci\.ya?ml$|^\.gitlab/.*\.ya?ml$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """`[tool.aegis.dev]`. `pre_push` None: not declared, which means the quick jobs; empty: none."""

    seeds: tuple[tuple[str, ...], ...] = ()
    pre_commit: tuple[tuple[str, ...], ...] = ()
    pre_push: tuple[str, ...] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


def declared(tool: Mapping[str, Any]) -> Declared:
    """The table `tool.aegis.dev` of a `pyproject.toml`, read strictly; `UserError` names what is wrong."""
    table = (tool.get("aegis") or {}).get("dev") or {}
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        known = ", ".join(sorted(_KEYS))
        raise UserError("dev-key", f"[tool.aegis.dev] has no key {unknown[0]!r}", hint=f"there are: {known}")
    variables = table.get("variables", {})
    if not isinstance(variables, dict) or not all(isinstance(one, str) for one in variables.values()):
        raise UserError("dev-key", "[tool.aegis.dev] variables is a table of texts", hint='variables = {DEBUG = "1"}')
    return Declared(
        seeds=_commands(table, "seeds"),
        pre_commit=_commands(table, "pre-commit"),
        pre_push=_texts(table, "pre-push") if "pre-push" in table else None,
        variables=variables,
    )


def _texts(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, str) and one.strip() for one in found):
        raise UserError("dev-key", f"[tool.aegis.dev] {key} is a list of texts", hint=f'{key} = ["…"]')
    return tuple(found)


def _commands(table: Mapping[str, Any], key: str) -> tuple[tuple[str, ...], ...]:
    try:
        return tuple(tuple(shlex.split(one)) for one in _texts(table, key))
    except ValueError as error:
        raise UserError("dev-key", f"[tool.aegis.dev] {key}: {error}", hint="close the quotation marks") from error


# -- services -------------------------------------------------------------------------------------------------------


def services_of(jobs: Sequence[tuple[JobSpec, Sequence[ServiceWish]]]) -> tuple[ServiceWish, ...]:
    """The services of all jobs, each alias once: of several with one alias the first counts."""
    found: dict[str, ServiceWish] = {}
    for _, wishes in jobs:
        for wish in wishes:
            found.setdefault(wish.alias, wish)
    return tuple(found.values())


def alias_of(image: str) -> str:
    """The name under which a service without an alias is reached: that of its image, without registry and tag."""
    return image.partition("@")[0].rsplit("/", 1)[-1].partition(":")[0] or image


def variables_of(spec: JobSpec) -> dict[str, str]:
    """A job's own variables: not those that every run has, never secrets."""
    return {
        one.key: one.value
        for one in spec.variables
        if not (one.masked or one.secret or one.file or one.key.startswith(_RUNS_OWN))
    }


def specification(wish: ServiceWish) -> str:
    """A digest of everything that a service is started with: another one means that it has to be started anew."""
    parts = (wish.image, wish.command, wish.entrypoint, sorted(wish.variables.items()))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def addresses(running: Sequence[RunningService]) -> dict[str, str]:
    """`ALIAS_HOST` and `ALIAS_PORT` of each service, and `ALIAS_PORT_N` of each of its ports."""
    found = {}
    for one in running:
        name = _NOT_NAME.sub("_", one.alias).strip("_").upper()
        if not one.ports:
            continue
        found[f"{name}_HOST"] = one.host
        found[f"{name}_PORT"] = str(one.ports[min(one.ports)])
        if len(one.ports) > 1:
            found |= {f"{name}_PORT_{inside}": str(outside) for inside, outside in sorted(one.ports.items())}
    return found


def reached(values: Mapping[str, str], running: Sequence[RunningService]) -> dict[str, str]:
    """Variables that name a service by its alias, with the address at which it is reached from outside in its place.

    `postgres:5432` becomes `127.0.0.1:49153`; an alias that stands alone the host. Variables that name none are left out.
    """
    found = {}
    for key, value in values.items():
        made = value
        for one in running:
            alias = rf"(?<![\w.-]){re.escape(one.alias)}"
            for inside, outside in one.ports.items():
                made = re.sub(rf"{alias}:{inside}(?!\d)", f"{one.host}:{outside}", made)
            if made == one.alias:
                made = one.host
        if made != value:
            found[key] = made
    return found


# -- hooks ----------------------------------------------------------------------------------------------------------


def hook_scripts(root: str, python: str, before: str) -> dict[str, str]:
    """The script of every hook: first what stood in the folder `before`, which is looked at each time, then ours."""
    return {name: _script(name, root, python, before) for name in HOOKS}


def _script(name: str, root: str, python: str, before: str) -> str:
    earlier = shlex.quote(f"{before}/{name}")
    head = f"#!/bin/sh\n# Made by `aegis dev up`; `aegis dev down` takes it away.\nbefore={earlier}\n"
    if name not in OURS:
        return f'{head}[ -x "$before" ] || exit 0\nexec "$before" "$@"\n'
    given = "given=$(cat)\n" if name == "pre-push" else ""
    to_it = "printf '%s\\n' \"$given\" | " if name == "pre-push" else ""
    place, program = shlex.quote(root), shlex.quote(python)
    return (
        f"{head}{given}"
        f'if [ -x "$before" ]; then {to_it}"$before" "$@" || exit $?; fi\n'
        f'[ "$(git rev-parse --show-toplevel)" = {place} ] || exit 0\n'
        f"if ! {program} -c 'import aegis' 2>/dev/null; then\n"
        f"  echo 'aegis is gone from here; without it: git config --unset core.hooksPath' >&2\n  exit 1\nfi\n"
        f"{to_it}{program} -m aegis dev hook {name}\n"
    )


def pipeline_files(staged: Sequence[str]) -> tuple[str, ...]:
    """Those of the staged files that belong to the pipeline."""
    return tuple(path for path in staged if _STAGED_PIPELINE.search(path))


def quick_jobs(plan: Plan, usual: Mapping[str, float]) -> tuple[str, ...]:
    """The jobs that earlier local runs know to be quick, and that act on nothing outside.

    Jobs with an environment, a trigger, a release or a person to start them are never among them.
    """
    return tuple(
        job.name
        for job in plan.jobs
        if usual.get(job.name, QUICK_SECONDS + 1) <= QUICK_SECONDS
        and job.when == "on_success"
        and job.environment is None
        and job.trigger is None
        and job.release is None
    )


def pushes(given: str) -> bool:
    """Whether a push brings commits: what Git tells `pre-push` has a line per ref; a deletion's object is all zeros."""
    objects = [line.split(" ")[1] for line in given.splitlines() if line.count(" ") >= 3]
    return any(set(one) != {"0"} for one in objects)
