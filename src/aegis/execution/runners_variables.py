"""The variables of a job that a remote runner works: what the server knows, the job's own, and what cannot be changed.

Pure. `CI_PROJECT_DIR`, `CI_BUILDS_DIR`, `CI_CONCURRENT_ID` and the like are the runner's own, and it adds them.

Source: GitLab's list of predefined variables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from aegis.core.ids import number
from aegis.core.plan import Variable
from aegis.execution.environment import slug
from aegis.execution.runners import Assignment

_INSTANCE: Final = re.compile(r"(?:[\s:]+(?:\[.*\]|\d+[\s:/\\]+\d+))+\s*$")
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.?(\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the server adds to an assignment. Numbers are GitLab's integer ids; times are UTC in ISO 8601.

    `numbers` maps job ids of dependencies to their numbers; `cache_keys` are the keys of `spec.cache`, in its order.
    """

    url: str
    job: int
    run: int
    project: int
    namespace: int
    runner: int
    runner_description: str = ""
    runner_tags: tuple[str, ...] = ()
    default_branch: str = "main"
    protected: bool = False
    branch_exists: bool = True
    before: str = "0" * 40
    timeout: int = 3600
    queued_seconds: float = 0.0
    user: str = ""
    user_name: str = ""
    user_email: str = ""
    created_at: str = ""
    started_at: str = ""
    plan_name: str = ""
    version: str = ""
    numbers: Mapping[str, int]
    cache_keys: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """Host and port of the server."""
        return self.url.partition("://")[2]


def variables(given: Assignment, facts: Facts) -> tuple[Variable, ...]:
    """All variables, each name once, in order of first appearance.

    From low to high: what the server knows, the job's own (dotenv reports and secrets included), and a few that cannot
    be overridden, since everything else depends on them.
    """
    chosen: dict[str, Variable] = {
        key: Variable(key=key, value=value, raw=True)
        for key, value in {**_server(facts), **_project(given, facts), **_job(given, facts), **_people(facts)}.items()
    }
    chosen.update((one.key, one) for one in given.variables)
    chosen.update((one.key, one) for one in _fixed(given, facts))
    return tuple(chosen.values())


def _server(facts: Facts) -> dict[str, str]:
    address = urlsplit(facts.url)
    version = _VERSION.match(facts.version)
    major, minor, patch = version.groups() if version else ("0", "0", "0")
    return {
        "CI": "true",
        "GITLAB_CI": "true",
        "AEGIS": "true",
        "GITLAB_FEATURES": "",
        "CI_SERVER": "yes",
        "CI_SERVER_NAME": "Aegis",
        "CI_SERVER_URL": facts.url,
        "CI_SERVER_HOST": address.hostname or "",
        "CI_SERVER_PORT": str(address.port or (443 if address.scheme == "https" else 80)),
        "CI_SERVER_PROTOCOL": address.scheme,
        "CI_SERVER_FQDN": facts.host,
        "CI_SERVER_VERSION": facts.version,
        "CI_SERVER_VERSION_MAJOR": major,
        "CI_SERVER_VERSION_MINOR": minor,
        "CI_SERVER_VERSION_PATCH": patch or "0",
        "CI_SERVER_REVISION": facts.version,
        "CI_API_V4_URL": f"{facts.url}/api/v4",
    }


def _project(given: Assignment, facts: Facts) -> dict[str, str]:
    path = given.run.project
    namespace, _, name = path.rpartition("/")
    return {
        "CI_PROJECT_ID": str(facts.project),
        "CI_PROJECT_PATH": path,
        "CI_PROJECT_PATH_SLUG": slug(path),
        "CI_PROJECT_NAME": name,
        "CI_PROJECT_TITLE": name,
        "CI_PROJECT_DESCRIPTION": "",
        "CI_PROJECT_NAMESPACE": namespace,
        "CI_PROJECT_NAMESPACE_ID": str(facts.namespace),
        "CI_PROJECT_ROOT_NAMESPACE": namespace.partition("/")[0],
        "CI_PROJECT_URL": f"{facts.url}/git/{path}",
        "CI_PROJECT_VISIBILITY": "private",
        "CI_PROJECT_REPOSITORY_LANGUAGES": "",
        "CI_PROJECT_CLASSIFICATION_LABEL": "",
        "CI_DEFAULT_BRANCH": facts.default_branch,
        "CI_CONFIG_PATH": ".gitlab-ci.yml",
        "CI_REGISTRY": facts.host,
        "CI_REGISTRY_IMAGE": f"{facts.host}/quarantine/{path}",
    }


def _job(given: Assignment, facts: Facts) -> dict[str, str]:
    spec, run = given.spec, given.run
    kind, _, short = run.ref.removeprefix("refs/").partition("/")
    ref = short if kind in {"heads", "tags"} and short else run.ref
    values = {
        "CI_PIPELINE_SOURCE": run.source,
        "CI_PIPELINE_NAME": facts.plan_name,
        "CI_PIPELINE_CREATED_AT": facts.created_at,
        "CI_COMMIT_SHA": run.commit,
        "CI_COMMIT_SHORT_SHA": run.commit[:8],
        "CI_COMMIT_BEFORE_SHA": facts.before,
        "CI_COMMIT_REF_NAME": ref,
        "CI_COMMIT_REF_SLUG": slug(ref),
        "CI_COMMIT_REF_PROTECTED": "true" if facts.protected else "false",
        "CI_JOB_NAME": spec.name,
        "CI_JOB_NAME_SLUG": slug(spec.name),
        "CI_JOB_GROUP_NAME": _INSTANCE.sub("", spec.name),
        "CI_JOB_STAGE": spec.stage,
        "CI_JOB_STATUS": "running",
        "CI_JOB_STARTED_AT": facts.started_at,
        "CI_NODE_TOTAL": str(spec.parallel_total or 1),
    }
    if kind == "tags":
        values["CI_COMMIT_TAG"] = ref
    elif kind == "heads":
        values["CI_COMMIT_BRANCH"] = ref
    if spec.parallel_index is not None:
        values["CI_NODE_INDEX"] = str(spec.parallel_index)
    if spec.image is not None:
        values["CI_JOB_IMAGE"] = spec.image.name
    if spec.when == "manual":
        values["CI_JOB_MANUAL"] = "true"
    return values


def _people(facts: Facts) -> dict[str, str]:
    return {
        "GITLAB_USER_ID": str(number(f"identity/{facts.user}")),
        "GITLAB_USER_LOGIN": facts.user,
        "GITLAB_USER_NAME": facts.user_name or facts.user,
        "GITLAB_USER_EMAIL": facts.user_email,
    }


def _fixed(given: Assignment, facts: Facts) -> list[Variable]:
    scheme, _, host = facts.url.partition("://")
    plain = {
        "CI_JOB_ID": str(facts.job),
        "CI_JOB_URL": f"{facts.url}/runs/{given.run.id}/jobs/{given.job.id}",
        "CI_JOB_TIMEOUT": str(facts.timeout),
        "CI_PIPELINE_ID": str(facts.run),
        "CI_PIPELINE_IID": str(facts.run),
        "CI_PIPELINE_URL": f"{facts.url}/runs/{given.run.id}",
        "CI_RUNNER_ID": str(facts.runner),
        "CI_RUNNER_DESCRIPTION": facts.runner_description,
        "CI_RUNNER_TAGS": json.dumps(list(facts.runner_tags)),
        "CI_REGISTRY_USER": "gitlab-ci-token",
    }
    address = f"{scheme}://gitlab-ci-token:{given.token}@{host}/git/{given.run.project}.git"
    secret = {"CI_JOB_TOKEN": given.token, "CI_REGISTRY_PASSWORD": given.token}
    return [
        *(Variable(key=key, value=value, raw=True) for key, value in plain.items()),
        *(Variable(key=key, value=value, raw=True, masked=True) for key, value in secret.items()),
        Variable(key="CI_REPOSITORY_URL", value=address, raw=True, masked=True),
    ]
