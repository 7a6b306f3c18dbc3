"""The job document of GitLab's Runner API: an assignment in the words that a `gitlab-runner` reads. Pure.

What only the server knows (numbers, addresses, protection) comes as `Facts`. Nothing is decided here about who gets a job.

Sources: gitlab-runner `common/network.go` (every field and its type), GitLab `lib/api/entities/ci/job_request`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aegis.core.plan import CacheSpec, Image, JobSpec, Variable
from aegis.execution.runners import Assignment
from aegis.execution.runners_files import format_of, name_of, type_of
from aegis.execution.runners_variables import Facts, variables

Document = dict[str, Any]
DEFAULT_DEPTH: Final = 20
FAILURE_REASONS: Final = (
    "unknown_failure", "script_failure", "api_failure", "stuck_or_timeout_failure", "runner_system_failure",
    "missing_dependency_failure", "runner_unsupported", "stale_schedule", "job_execution_timeout", "archived_failure",
    "unmet_prerequisites", "scheduler_failure", "data_integrity_failure", "forward_deployment_failure",
    "image_pull_failure", "builds_disabled", "environment_creation_failure", "deployment_rejected",
)  # fmt: skip
MASKED_PREFIXES: Final = ("aegis_", "aegisjob.", "glrt-", "glpat-", "GR1348941")


def document(given: Assignment, facts: Facts) -> Document:
    """The whole document, as `POST /jobs/request` answers it."""
    spec, run = given.spec, given.run
    known = variables(given, facts)
    return {
        "id": facts.job,
        "token": given.token,
        "allow_git_fetch": True,
        "job_info": {
            "id": facts.job,
            "name": spec.name,
            "stage": spec.stage,
            "project_id": facts.project,
            "project_name": run.project.rsplit("/", 1)[-1],
            "project_full_path": run.project,
            "namespace_id": facts.namespace,
            "root_namespace_id": facts.namespace,
            "time_in_queue_seconds": facts.queued_seconds,
            "project_jobs_running_on_instance_runners_count": "+Inf",
            "queue_size": 0,
            "queue_depth": 0,
        },
        "git_info": git_info(given, facts, known),
        "runner_info": {"timeout": facts.timeout, "runner_session_url": None},
        "variables": [_variable(one) for one in known],
        "steps": steps(spec, facts.timeout),
        "hooks": hooks(spec),
        "image": image(spec.image),
        "services": [service for one in spec.services if (service := image(one)) is not None],
        "artifacts": artifacts(spec),
        "cache": [_cache(one, facts, position) for position, one in enumerate(spec.cache)],
        "credentials": [
            {"type": "registry", "url": facts.host, "username": "gitlab-ci-token", "password": given.token}
        ],
        "dependencies": dependencies(given, facts),
        "features": {
            "trace_sections": True,
            "token_mask_prefixes": list(MASKED_PREFIXES),
            "failure_reasons": list(FAILURE_REASONS),
        },
        "secrets": {},
        "run": "",
        "policy_options": {},
    }


def _variable(one: Variable) -> Document:
    secret = one.masked or one.secret is not None
    return {
        "key": one.key,
        "value": one.value,
        "public": not secret,
        "file": one.file,
        "masked": secret,
        "raw": one.raw,
    }


def git_info(given: Assignment, facts: Facts, known: Sequence[Variable]) -> Document:
    """Where and what a runner fetches.

    The commit itself is among the refspecs, by its id, so that it is found however the branch has moved since.
    """
    run = given.run
    kind, _, name = run.ref.removeprefix("refs/").partition("/")
    tag = kind == "tags"
    own = f"+{run.commit}:refs/pipelines/{facts.run}"
    refspecs = [own]
    if tag:
        refspecs.append(f"+refs/tags/{name}:refs/tags/{name}")
    elif kind == "heads" and facts.branch_exists:
        refspecs.append(f"+refs/heads/{name}:refs/remotes/origin/{name}")
    scheme, _, host = facts.url.partition("://")
    wanted = next((one.value for one in reversed(known) if one.key == "GIT_DEPTH"), "")
    return {
        "repo_url": f"{scheme}://gitlab-ci-token:{given.token}@{host}/git/{run.project}.git",
        "repo_object_format": "sha1",
        "ref": name if kind in {"heads", "tags"} else run.ref,
        "sha": run.commit,
        "before_sha": facts.before,
        "ref_type": "tag" if tag else "branch",
        "refspecs": refspecs,
        "depth": int(wanted) if wanted.isascii() and wanted.isdigit() else DEFAULT_DEPTH,
        "protected": facts.protected,
    }


def steps(spec: JobSpec, timeout: int) -> list[Document]:
    """`before_script` and `script` are one step; `after_script` is one of its own, whose failure changes nothing."""
    made = [_step("script", (*spec.before_script, *spec.script), timeout, "on_success", allow_failure=False)]
    if spec.after_script:
        made.append(_step("after_script", spec.after_script, timeout, "always", allow_failure=True))
    return made


def _step(name: str, script: Sequence[str], timeout: int, when: str, *, allow_failure: bool) -> Document:
    return {"name": name, "script": list(script), "timeout": timeout, "when": when, "allow_failure": allow_failure}


def hooks(spec: JobSpec) -> list[Document]:
    """What runs before the runner fetches the sources."""
    if not spec.pre_get_sources:
        return []
    return [{"name": "pre_get_sources_script", "script": list(spec.pre_get_sources)}]


def image(one: Image | None) -> Document | None:
    """An image or a service, with everything that container executors carry out."""
    if one is None:
        return None
    options = {"user": one.user} if one.user is not None else {}
    docker = {**options, "platform": one.platform} if one.platform is not None else options
    return {
        "name": one.name,
        "alias": one.alias or "",
        "entrypoint": list(one.entrypoint) if one.entrypoint is not None else None,
        "command": list(one.command) if one.command is not None else None,
        "ports": [],
        "pull_policy": list(one.pull_policy),
        "executor_opts": {"docker": docker, "kubernetes": options} if docker else {},
        "variables": [
            {"key": key, "value": value, "public": True, "file": False, "masked": False, "raw": False}
            for key, value in one.variables.items()
        ],
    }


def artifacts(spec: JobSpec) -> list[Document]:
    """One entry for the archive and one for each type of report."""
    wanted = spec.artifacts
    if wanted is None:
        return []
    expires = f"{wanted.expire_in} seconds" if wanted.expire_in is not None else ""
    made: list[Document] = []
    if wanted.paths or wanted.untracked:
        made.append({
            "name": wanted.name or "",
            "untracked": wanted.untracked,
            "paths": list(wanted.paths),
            "exclude": list(wanted.exclude),
            "when": wanted.when,
            "artifact_type": "archive",
            "artifact_format": "zip",
            "expire_in": expires,
        })  # fmt: skip
    for report in sorted(wanted.reports):
        kind = type_of(report)
        made.append({
            "name": name_of(kind),
            "untracked": False,
            "paths": list(wanted.reports[report]),
            "exclude": [],
            "when": "always",
            "artifact_type": kind,
            "artifact_format": format_of(kind),
            "expire_in": expires,
        })  # fmt: skip
    return made


def _cache(spec: CacheSpec, facts: Facts, position: int) -> Document:
    # Jobs of protected refs never read what others wrote, unless the pipeline file says so (`cache:unprotect`).
    suffix = "" if spec.unprotect else "-protected" if facts.protected else "-non_protected"
    keys = facts.cache_keys
    key = keys[position] if position < len(keys) else spec.key
    return {
        "key": f"{key}{suffix}",
        "untracked": spec.untracked,
        "policy": spec.policy,
        "paths": list(spec.paths),
        "when": spec.when,
        "fallback_keys": [f"{one}{suffix}" for one in spec.fallback_keys],
    }


def dependencies(given: Assignment, facts: Facts) -> list[Document]:
    """The jobs whose archives are fetched first, with the token that fetches them while this job runs."""
    return [
        {
            "id": facts.numbers[one.id],
            "token": given.token,
            "name": one.job,
            "artifacts_file": {"filename": one.archive.name, "size": one.archive.size},
        }
        for one in given.dependencies
        if one.id in facts.numbers
    ]
