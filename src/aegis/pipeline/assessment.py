"""A pipeline that was written for GitLab, looked at for what it would be here: each job, and what would not work. Pure.

Compiles the file for every usual occasion. An include that cannot be had is a problem that is named, and the rest is looked
at without it. Nothing is judged by how it looks: only by what the compiler knows and what jobs here can have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from aegis.core.errors import Where
from aegis.core.plan import JobSpec
from aegis.pipeline.compile import compile_pipeline, inspect_pipeline, unsupported
from aegis.pipeline.configuration import Configuration, Definition, yaml_variables
from aegis.pipeline.diagnostics import Diagnostic, Report
from aegis.pipeline.document import Map, Scalar, Seq
from aegis.pipeline.forecast import base_name
from aegis.pipeline.predefined import of_request
from aegis.pipeline.request import Compilation, CompileRequest, MergeRequest
from aegis.pipeline.variables import RUN_TIME, references

Verdict = Literal["as written", "differently", "not"]
_INCLUDES: Final = frozenset({"unknown-include", "unknown-component", "include-not-available"})
_OWN: Final = re.compile(
    r"(?:^|[\s;&|(`])([A-Za-z_]\w*)=|\b(?:for|read(?:\s+-\w+)*)\s+([A-Za-z_]\w*)", re.ASCII | re.MULTILINE
)
_REPORTED: Final = re.compile(r"\b([A-Za-z_]\w*)=", re.ASCII)
"""What a job with a dotenv report may write into it."""
_USED: Final = re.compile(r"\$(?:([A-Z][A-Z0-9_]{2,})|\{([A-Z][A-Z0-9_]{2,})(?=[}#%/]|:[^-=+]))")
_SHELL: Final = frozenset(
    {
        "HOME",
        "PATH",
        "PWD",
        "USER",
        "SHELL",
        "HOSTNAME",
        "LANG",
        "IFS",
        "OSTYPE",
        "RANDOM",
        "SECONDS",
        "UID",
        "TMPDIR",
        "OLDPWD",
        "BASH_SOURCE",
    }
)
_GIVEN: Final = ("CI_", "GITLAB_", "AEGIS_", "GIT_", "FF_", "RUNNER_", "TRIGGER_", "PIP_", "npm_")

MENDS: Final[Mapping[str, str]] = {
    "dast_configuration": "name the profile's settings as variables of the job",
    "environment:kubernetes": "deploy from the script with a kubeconfig from a secret of the declaration",
    "hooks": "put the commands at the beginning of `before_script`",
    "id_tokens": "take a secret from the declaration (`secret://…`) instead of a token that is exchanged",
    "identity": "log in with a secret from the declaration in `before_script`",
    "image:kubernetes": "name the user in the image itself, or run the job with gitlab-runner's Docker executor",
    "inputs": "use a variable with `value`, `options` and `description`",
    "needs": "fetch what the other pipeline made from its registry",
    "pages": "publish `public/` with a command in the job's script",
    "publish": "publish the folder with a command in the job's script",
    "release": "leave it out: Aegis cuts the release when a change passes its gates",
    "run": "write the steps as commands under `script`",
    "secrets": "declare the secret in aegis.yaml and name it as `secret://path#field` in a variable",
    "trigger": "include the other pipeline's file, or start it with a command (`curl` on its trigger address)",
}
"""What to do about a keyword that has no effect here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that would not be as written: what, where, and the mend. `fatal`: it keeps the job from working."""

    topic: str
    message: str
    mend: str
    where: Where | None = None
    fatal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAssessment:
    """One job (parallel instances together): in which pipelines it is, whether it runs as written, and why not."""

    name: str
    stage: str
    pipelines: tuple[str, ...]
    runs: Verdict
    count: int = 1
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """All of it. `problems` are those of the file as a whole; `variables` are names that somebody has to set."""

    file: str
    valid: bool
    jobs: tuple[JobAssessment, ...] = ()
    problems: tuple[Problem, ...] = ()
    variables: tuple[str, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def works(self) -> bool:
        """Whether everything can run here, as written or nearly."""
        return not any(one.fatal for one in self.problems) and all(job.runs != "not" for job in self.jobs)


@dataclass(slots=True)
class _Lenient(Report):
    """Goes on where an include cannot be had, and keeps what was missing."""

    missing: list[Diagnostic] = field(default_factory=list)

    def error(self, code: str, message: str, where: Where | None, hint: str = "") -> None:
        """An error; one about an include is kept apart."""
        if code in _INCLUDES or code.startswith(("include-", "egress-")):
            found = Diagnostic(code=code, message=message, hint=hint, where=where)
            if found not in self.missing:
                self.missing.append(found)
        else:
            Report.error(self, code, message, where, hint)


def assess(request: CompileRequest, *, containers: bool) -> Assessment:
    """The assessment of a project's pipeline. `containers`: whether jobs here can run in images."""
    report = _Lenient()
    inspection = inspect_pipeline(request, report)
    problems = [
        Problem(topic="include", message=one.message, mend=one.hint or "copy the file into this repository", where=one.where, fatal=True)
        for one in report.missing
    ]  # fmt: skip
    configuration = inspection.configuration
    errors = inspection.compilation.errors
    problems += [
        Problem(topic=one.code, message=one.message, mend=one.hint, where=one.where, fatal=True) for one in errors
    ]
    if configuration is None or errors:
        return Assessment(
            file=request.root, valid=False, problems=tuple(problems), warnings=inspection.compilation.warnings
        )
    runs = {name: compile_pipeline(one, _Lenient()) for name, one in _occasions(request)}
    problems += _of_occasions(runs)
    present = {
        occasion: {job.name for job in found.plan.jobs} if found.plan is not None else set[str]()
        for occasion, found in runs.items()
    }
    jobs = tuple(
        _job(one, present, containers=containers)
        for one in configuration.jobs.values()
        # What a component keeps for other occasions (a verification, runners with containers) is not this project's matter.
        if request.files.read(one.key.file) is not None or any(present[name] & _names(one) for name in present)
    )
    return Assessment(
        file=request.root,
        valid=not report.missing,
        jobs=jobs,
        problems=tuple(problems),
        variables=_unset(configuration, runs, request),
        warnings=tuple(one for one in inspection.compilation.warnings if one.code != "not-carried-out"),
    )


def _occasions(request: CompileRequest) -> Iterator[tuple[str, CompileRequest]]:
    plain = replace(request, changed=None, before=None, merge_request=None, ref_kind="branch", source="push")
    main = request.default_branch
    merge = MergeRequest(number=1, source_branch="feature", target_branch=main)
    yield f"push to {main}", replace(plain, ref=main)
    yield "push to another branch", replace(plain, ref="feature")
    yield "merge request", replace(plain, ref="feature", source="merge_request_event", merge_request=merge)
    yield "tag", replace(plain, ref="v1.0.0", ref_kind="tag")
    yield "schedule", replace(plain, ref=main, source="schedule")


def _of_occasions(runs: Mapping[str, Compilation]) -> Iterator[Problem]:
    """What only shows when a pipeline is made: a need that rules left out, variables in circles."""
    seen: set[str] = set()
    for name, found in runs.items():
        for one in found.errors:
            if one.message not in seen:
                seen.add(one.message)
                yield Problem(
                    topic=one.code, message=f"{name}: {one.message}", mend=one.hint, where=one.where, fatal=True
                )


def _names(definition: Definition) -> set[str]:
    return {instance.name for instance in definition.instances}


def _job(definition: Definition, present: Mapping[str, set[str]], *, containers: bool) -> JobAssessment:
    names = _names(definition)
    pipelines = tuple(occasion for occasion, jobs in present.items() if not names.isdisjoint(jobs))
    problems = tuple(_of_job(definition, pipelines, containers=containers))
    verdict: Verdict = "not" if any(one.fatal for one in problems) else "differently" if problems else "as written"
    return JobAssessment(
        name=definition.name,
        stage=definition.stage,
        pipelines=pipelines,
        runs=verdict,
        count=max(1, len(definition.instances)),
        problems=problems,
    )


def _of_job(definition: Definition, pipelines: tuple[str, ...], *, containers: bool) -> Iterator[Problem]:
    for word in unsupported(definition):
        key = definition.node.key(word.partition(":")[0])
        yield Problem(
            topic="keyword", message=f"`{word}` has no effect here", mend=MENDS.get(word, "leave it out"),
            where=key.where if key is not None else definition.key.where, fatal=word in {"trigger", "run"},
        )  # fmt: skip
    if not containers:
        yield from _images(definition)
    tags = definition.get("tags")
    if tags is not None and definition.text("tags") != "" and not _empty(tags):
        yield Problem(
            topic="tags", message="it waits for a runner that offers its tags", where=tags.where,
            mend="give a runner these tags, or remove them; `aegis run` does not look at them",
        )  # fmt: skip
    if not pipelines:
        yield Problem(
            topic="rules", message="it is in none of the usual pipelines", where=definition.key.where,
            mend="`aegis preview --var NAME=VALUE` shows what lets it in",
        )  # fmt: skip


def _empty(node: object) -> bool:
    return not getattr(node, "items", ())


def _images(definition: Definition) -> Iterator[Problem]:
    for word in ("image", "services"):
        node = definition.get(word)
        if node is None or (word == "services" and _empty(node)):
            continue
        written = (node.items if isinstance(node, Seq) else (node,)) if word == "services" else (node,)
        names = [one.get("name") if isinstance(one, Map) else one for one in written]
        told = ", ".join(one.text for one in names if isinstance(one, Scalar))
        other = (
            "`aegis run --host-tools` uses this machine's programs"
            if word == "image"
            else "let jobs run in docker or podman, which fetch it themselves"
        )
        yield Problem(
            topic=word, message=f"`{word}`{f' ({told})' if told else ''} needs a registry that serves it here",
            mend=f"declare its registry under `registries.mirrors`; or {other}", where=node.where,
        )  # fmt: skip


def _unset(configuration: Configuration, runs: Mapping[str, Compilation], request: CompileRequest) -> tuple[str, ...]:
    """Names that commands and conditions read and nothing here sets: a project's or group's variables at GitLab."""
    written = [*configuration.variables.values()]
    for definition in configuration.jobs.values():
        written += yaml_variables(definition.node.get("variables")).values()
    used: dict[str, None] = dict.fromkeys(name for one in written if not one.raw for name in references(one.value))
    named = {one.key for one in written}
    known = {*named, *of_request(request), *RUN_TIME, *_SHELL}
    plans: list[JobSpec] = [job for found in runs.values() if found.plan is not None for job in found.plan.jobs]
    for job in plans:
        if job.artifacts is not None and "dotenv" in job.artifacts.reports:
            known.update(_REPORTED.findall("\n".join((*job.before_script, *job.script))))
    seen: set[str] = set()
    for job in plans:
        name = base_name(job.name)
        if name in seen:
            continue
        seen.add(name)
        lines = "\n".join((*job.before_script, *job.script, *job.after_script))
        own = {first or second for first, second in _OWN.findall(lines)} | {one.key for one in job.variables}
        names = [first or second for first, second in _USED.findall(lines)]
        used.update(dict.fromkeys(one for one in names if one not in own))
    return tuple(sorted(one for one in used if one not in known and not one.startswith(_GIVEN)))
