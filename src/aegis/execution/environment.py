"""A job's environment: which variables it sees, in which order, expanded how; nothing of the runner's own.

Pure. Files for file-type variables are named here and written by the supervisor. Secrets arrive resolved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aegis.core.errors import UserError
from aegis.core.plan import Variable
from aegis.execution.images import DEFAULT_PATH
from aegis.execution.ports import Place
from aegis.execution.runners import Assignment

SYSTEM_PATH: Final = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
_REFERENCE: Final = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOTENV: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")
_DEPTH: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnvironment:
    """What the process gets. `files` maps names in the job's directory of files to contents; `secrets` are masked."""

    variables: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


def slug(text: str) -> str:
    """GitLab's slug of a ref: lower case, at most 63 characters of a-z, 0-9 and '-'."""
    return re.sub(r"[^a-z0-9]", "-", text.lower())[:63].strip("-")


def predefined(assignment: Assignment, place: Place) -> dict[str, str]:
    """The `CI_*` variables that only the execution knows, and those it can derive from the run."""
    run, spec, job = assignment.run, assignment.spec, assignment.job
    kind, _, short = run.ref.removeprefix("refs/").partition("/")
    name = short if kind in {"heads", "tags"} and short else run.ref
    values = {
        "CI": "true",
        "GITLAB_CI": "true",
        "AEGIS": "true",
        "CI_SERVER": "yes",
        "CI_SERVER_NAME": "Aegis",
        "CI_BUILDS_DIR": place.inner_work.rsplit("/", 1)[0],
        "CI_PROJECT_DIR": place.inner_work,
        "CI_PROJECT_PATH": run.project,
        "CI_PROJECT_NAME": run.project.rsplit("/", 1)[-1],
        "CI_PROJECT_NAMESPACE": run.project.rsplit("/", 1)[0],
        "CI_PROJECT_PATH_SLUG": slug(run.project),
        "CI_PIPELINE_ID": run.id,
        "CI_PIPELINE_SOURCE": run.source,
        "CI_COMMIT_SHA": run.commit,
        "CI_COMMIT_SHORT_SHA": run.commit[:8],
        "CI_COMMIT_REF_NAME": name,
        "CI_COMMIT_REF_SLUG": slug(name),
        "CI_JOB_ID": job.id,
        "CI_JOB_NAME": spec.name,
        "CI_JOB_NAME_SLUG": slug(spec.name),
        "CI_JOB_STAGE": spec.stage,
        "CI_JOB_STATUS": "running",
        "CI_JOB_TIMEOUT": str(spec.timeout),
        "CI_RUNNER_DESCRIPTION": job.runner,
        "CI_NODE_TOTAL": str(spec.parallel_total or 1),
        "GITLAB_USER_LOGIN": run.started_by,
    }
    if kind == "tags":
        values["CI_COMMIT_TAG"] = name
    elif kind == "heads":
        values["CI_COMMIT_BRANCH"] = name
    if assignment.token:
        values["CI_JOB_TOKEN"] = assignment.token
    if spec.parallel_index is not None:
        values["CI_NODE_INDEX"] = str(spec.parallel_index)
    if job.started_at:
        values["CI_JOB_STARTED_AT"] = job.started_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    if spec.image:
        values["CI_JOB_IMAGE"] = spec.image.name
    if spec.environment:
        values["CI_ENVIRONMENT_NAME"] = spec.environment.name
        values["CI_ENVIRONMENT_SLUG"] = slug(spec.environment.name)[:24].strip("-")
    return values


_OURS: Final = frozenset({"CI_PROJECT_DIR", "CI_BUILDS_DIR", "CI_JOB_ID", "CI_JOB_TOKEN", "CI_JOB_STARTED_AT"})


def build(
    assignment: Assignment,
    place: Place,
    *,
    tool_path: Iterable[str] = (),
    passthrough: Mapping[str, str] | None = None,
    image: Mapping[str, str] | None = None,
) -> JobEnvironment:
    """The whole environment of a job.

    From low to high: the bare system, or the `image` with what it says of its programs; what the operator passes
    through, predefined variables, the job's own. A few
    predefined ones (where the work tree is, the token) cannot be overridden, since everything else depends on them.
    `UserError` for a variable name that no process can have.
    """
    path = ":".join(dict.fromkeys((*tool_path, *SYSTEM_PATH)))
    system = {
        **(image or {}),
        "PATH": path if image is None else image.get("PATH", DEFAULT_PATH),
        "HOME": place.inner_home,
        "TMPDIR": place.inner_tmp,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "PWD": place.inner_work,
        "SHELL": "/bin/sh",
        "USER": "job",
        "LOGNAME": "job",
        **(passthrough or {}),
    }
    known = predefined(assignment, place)
    own: dict[str, Variable] = {}
    for variable in assignment.variables:
        if not _NAME.fullmatch(variable.key):
            raise UserError(
                "variable-name",
                f"{variable.key!r} cannot be the name of an environment variable",
                hint="use letters, digits and '_', not beginning with a digit",
            )
        if "\0" in variable.value:
            raise UserError("variable-value", f"the value of {variable.key} holds a NUL byte, which no environment can")
        if variable.key not in _OURS or variable.key not in known:
            own[variable.key] = variable
    files = {key: one.value for key, one in own.items() if one.file}
    plain = known | {key: f"{place.inner_files}/{key}" if one.file else one.value for key, one in own.items()}
    # What is predefined is taken as it is.
    raw = {key for key, one in own.items() if one.raw or one.file or one.secret} | (known.keys() - own.keys())
    literal = frozenset(raw)
    values = plain | {key: _expand(plain[key], plain, literal, (key,)) for key in own if key not in raw}
    secrets = {key: one.value for key, one in own.items() if (one.masked or one.secret) and one.value}
    if assignment.token:
        secrets["CI_JOB_TOKEN"] = assignment.token
    return JobEnvironment(variables={**system, **values}, files=files, secrets=secrets)


def expand(value: str, known: Mapping[str, str], raw: Iterable[str] = ()) -> str:
    """`value` with `$NAME` and `${NAME}` of known variables put in, and in what they hold unless they are raw.

    `$$` is a dollar sign. A name that nobody defined stays as it is written, so that a shell can still use it. A
    variable that names itself, directly or not, stays as well.
    """
    literal = frozenset(raw)
    return _expand(value, known, literal, ())


def _expand(value: str, known: Mapping[str, str], literal: frozenset[str], within: tuple[str, ...]) -> str:
    if "$" not in value or len(within) >= _DEPTH:
        return value

    def put(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        name = match[2] or match[3]
        if name not in known or name in within:
            return match[0]
        inner = known[name]
        return inner if name in literal else _expand(inner, known, literal, (*within, name))

    return _REFERENCE.sub(put, value)


def dotenv(data: bytes) -> tuple[Variable, ...]:
    """The variables of a `dotenv` report: `KEY=value` lines, raw; quotes around a value are taken off.

    `UserError` for a line that is neither that nor a comment: GitLab refuses the report as well.
    """
    found: dict[str, Variable] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _DOTENV.fullmatch(line)
        if match is None:
            raise UserError("dotenv", f"line {number} of the dotenv report is not KEY=value", hint="write KEY=value")
        value = match[2]
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[match[1]] = Variable(key=match[1], value=value, raw=True)
    return tuple(found.values())
