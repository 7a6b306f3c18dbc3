"""The `CI_*` variables that follow from a request, a job and its environment. Pure.

What only a server or a running job knows (ids, tokens, addresses) comes with the request or at the job's start.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

from aegis.core import ids
from aegis.core.plan import JobEnvironment, Variable
from aegis.pipeline.patterns import Rare
from aegis.pipeline.request import CompileRequest

_NOT_SLUG: Final = re.compile(r"[^a-z0-9]")
_NOT_JOB_SLUG: Final = re.compile(r"[^a-z0-9_]")
_ADDRESS: Final = Rare(r"(https?)://([^/:@]+|\[[^\]]+\])(?::(\d+))?(?:/.*)?")
_INSTANCE: Final = Rare(r"(.*?)(?: \d+/\d+|: \[.*\])")
_NO_COMMIT: Final = "0" * 40
_LONG_TITLE: Final = 100
_DESCRIPTION: Final = 2700
"""Characters of a merge request's description that its variable holds."""
_MOST_OPEN: Final = 4
_SUFFIX_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_TIERS: Final = (
    ("development", Rare(r"dev|review|trunk", re.IGNORECASE)),
    ("testing", Rare(r"test|tst|int|ac(?:ce|)pt|qa|qc|control|quality", re.IGNORECASE)),
    ("staging", Rare(r"sta?g|mode?l|pre|demo|non", re.IGNORECASE)),
    ("production", Rare(r"pro?d|live", re.IGNORECASE)),
)


def slug(text: str) -> str:
    """Lower case, at most 63 characters, only letters, digits and inner dashes: `CI_COMMIT_REF_SLUG`."""
    return _NOT_SLUG.sub("-", text.lower())[:63].strip("-")


def environment_slug(name: str) -> str:
    """`CI_ENVIRONMENT_SLUG`: at most 24 characters, with a suffix where the name had to be changed."""
    text = _NOT_SLUG.sub("-", name.lower())
    if not text or not text[0].isalpha():
        text = f"env-{text}"
    text = re.sub(r"-+", "-", text)
    if len(text) > 24 or text != name:
        number = int(hashlib.sha256(name.encode()).hexdigest(), 16)
        suffix = "".join(_SUFFIX_ALPHABET[(number // 36**power) % 36] for power in range(5, -1, -1))
        text = text[:17]
        text = f"{text}{suffix}" if text.endswith("-") else f"{text}-{suffix}"
    return text.rstrip("-")


def tier(name: str) -> str:
    """The tier that GitLab guesses from an environment's name."""
    return next((word for word, pattern in _TIERS if pattern.search(name)), "other")


def of_request(request: CompileRequest) -> dict[str, str]:
    """Everything that is the same for all jobs of a pipeline. The server's own values win."""
    values = {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_PIPELINE_SOURCE": request.source,
        "CI_DEFAULT_BRANCH": request.default_branch,
        "CI_DEFAULT_BRANCH_SLUG": slug(request.default_branch),
        "CI_CONFIG_PATH": request.root,
        "CI_COMMIT_REF_PROTECTED": "true" if request.protected else "false",
        "CI_SERVER": "yes",
        "CI_TEMPLATE_REGISTRY_HOST": "registry.gitlab.com",
        **_commit(request),
        **_project(request.project),
        **_server(request),
    }
    if request.source in {"trigger", "pipeline"}:
        values["CI_PIPELINE_TRIGGERED"] = "true"
    if request.merge_request is not None:
        values.update(_merge_request(request))
    elif request.ref_kind == "tag":
        values["CI_COMMIT_TAG"] = request.ref
        values["CI_COMMIT_TAG_MESSAGE"] = request.tag_message
    else:
        values["CI_COMMIT_BRANCH"] = request.ref
        if request.open_merge_requests:
            few = request.open_merge_requests[:_MOST_OPEN]
            values["CI_OPEN_MERGE_REQUESTS"] = ",".join(f"{request.project}!{number}" for number in few)
    values.update(request.predefined)
    return values


def _commit(request: CompileRequest) -> dict[str, str]:
    before = _NO_COMMIT if request.merge_request is not None else request.before or _NO_COMMIT
    values = {
        "CI_COMMIT_SHA": request.commit,
        "CI_COMMIT_SHORT_SHA": request.commit[:8],
        "CI_COMMIT_BEFORE_SHA": before,
        "CI_COMMIT_REF_NAME": request.ref,
        "CI_COMMIT_REF_SLUG": slug(request.ref),
    }
    if request.commit_message:
        title, _, rest = request.commit_message.partition("\n")
        if len(title) >= _LONG_TITLE:
            rest = request.commit_message
        values["CI_COMMIT_MESSAGE"] = request.commit_message
        values["CI_COMMIT_TITLE"] = title
        values["CI_COMMIT_DESCRIPTION"] = rest.lstrip("\n")
    if request.commit_author:
        values["CI_COMMIT_AUTHOR"] = request.commit_author
    if request.commit_timestamp:
        values["CI_COMMIT_TIMESTAMP"] = request.commit_timestamp
    return values


def _server(request: CompileRequest) -> dict[str, str]:
    """What follows from the server's address, where one is known."""
    address = request.predefined.get("CI_SERVER_URL", "").rstrip("/")
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return {}
    protocol, host, port = found.group(1), found.group(2), found.group(3)
    return {
        "CI_SERVER_PROTOCOL": protocol,
        "CI_SERVER_HOST": host,
        "CI_SERVER_PORT": port or ("443" if protocol == "https" else "80"),
        "CI_SERVER_FQDN": f"{host}:{port}" if port else host,
        "CI_API_V4_URL": f"{address}/api/v4",
        "CI_PROJECT_URL": f"{address}/{request.project}",
    }


def _project(path: str) -> dict[str, str]:
    namespace, _, name = path.rpartition("/")
    return {
        "CI_PROJECT_ID": str(ids.number(f"project/{path}")),
        "CI_PROJECT_PATH": path,
        "CI_PROJECT_PATH_SLUG": slug(path),
        "CI_PROJECT_NAME": name,
        "CI_PROJECT_TITLE": name,
        "CI_PROJECT_NAMESPACE": namespace,
        "CI_PROJECT_NAMESPACE_ID": str(ids.number(f"group/{namespace}")),
        "CI_PROJECT_NAMESPACE_SLUG": slug(namespace),
        "CI_PROJECT_ROOT_NAMESPACE": namespace.partition("/")[0],
    }


def _merge_request(request: CompileRequest) -> dict[str, str]:
    merge = request.merge_request
    if merge is None:
        return {}
    values = {
        "CI_MERGE_REQUEST_IID": str(merge.number),
        "CI_MERGE_REQUEST_ID": str(merge.number),
        "CI_MERGE_REQUEST_REF_PATH": f"refs/merge-requests/{merge.number}/{'merge' if merge.merged_result else 'head'}",
        "CI_MERGE_REQUEST_EVENT_TYPE": "merged_result" if merge.merged_result else "detached",
        **_projects_of_merge_request(request),
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": merge.source_branch,
        "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": merge.source_sha if merge.merged_result else "",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": merge.target_branch,
        "CI_MERGE_REQUEST_TARGET_BRANCH_SHA": merge.target_sha if merge.merged_result else "",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_PROTECTED": "true" if merge.source_protected else "false",
        "CI_MERGE_REQUEST_TARGET_BRANCH_PROTECTED": "true" if merge.target_protected else "false",
        "CI_MERGE_REQUEST_SQUASH_ON_MERGE": "false",
        "CI_MERGE_REQUEST_DESCRIPTION": merge.description[:_DESCRIPTION],
        "CI_MERGE_REQUEST_DESCRIPTION_IS_TRUNCATED": "true" if len(merge.description) > _DESCRIPTION else "false",
        "CI_MERGE_REQUEST_DRAFT": "true" if merge.draft else "false",
        "CI_OPEN_MERGE_REQUESTS": f"{request.project}!{merge.number}",
    }
    if merge.base_sha or merge.target_sha:
        values["CI_MERGE_REQUEST_DIFF_BASE_SHA"] = merge.base_sha or merge.target_sha
    if merge.title:
        values["CI_MERGE_REQUEST_TITLE"] = merge.title
    if merge.labels:
        values["CI_MERGE_REQUEST_LABELS"] = ",".join(merge.labels)
    return values


def _projects_of_merge_request(request: CompileRequest) -> dict[str, str]:
    """Source and target are one project: there are no forks."""
    number = str(ids.number(f"project/{request.project}"))
    address = _server(request).get("CI_PROJECT_URL")
    values = {}
    for side in ("CI_MERGE_REQUEST_PROJECT", "CI_MERGE_REQUEST_SOURCE_PROJECT"):
        values[f"{side}_ID"] = number
        values[f"{side}_PATH"] = request.project
        if address:
            values[f"{side}_URL"] = address
    return values


def of_job(name: str, stage: str, index: int | None, total: int | None, image: str = "") -> list[Variable]:
    """What a job knows of itself. `image` is as the file has it."""
    variables = [
        Variable(key="CI_JOB_NAME", value=name, raw=True),
        Variable(key="CI_JOB_NAME_SLUG", value=_NOT_JOB_SLUG.sub("-", name.lower())[:63].strip("-")),
        _shared("CI_JOB_STAGE", stage),
        _shared("CI_NODE_TOTAL", str(total or 1)),
    ]
    if index is not None:
        whole = _INSTANCE.fullmatch(name)
        variables.append(Variable(key="CI_JOB_GROUP_NAME", value=whole.group(1) if whole else name, raw=True))
        variables.append(Variable(key="CI_NODE_INDEX", value=str(index)))
    else:
        variables.append(Variable(key="CI_JOB_GROUP_NAME", value=name, raw=True))
    if image:
        variables.append(Variable(key="CI_JOB_IMAGE", value=image))
    return variables


@lru_cache(maxsize=256)
def _shared(key: str, value: str) -> Variable:
    """A variable that many jobs have alike."""
    return Variable(key=key, value=value, raw=True)


def of_environment(environment: JobEnvironment) -> list[Variable]:
    """What a job knows of the environment it deploys to."""
    variables = [
        Variable(key="CI_ENVIRONMENT_NAME", value=environment.name, raw=True),
        Variable(key="CI_ENVIRONMENT_SLUG", value=environment_slug(environment.name)),
        Variable(key="CI_ENVIRONMENT_ACTION", value=environment.action),
        Variable(key="CI_ENVIRONMENT_TIER", value=environment.tier or tier(environment.name)),
    ]
    if environment.url is not None:
        variables.append(Variable(key="CI_ENVIRONMENT_URL", value=environment.url))
    return variables
