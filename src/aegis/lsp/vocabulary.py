"""The keywords of `.gitlab-ci.yml` by where they may stand, each with one sentence. For completion and hover only.

What is valid is decided by `aegis.pipeline.keywords`; a test holds this table to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aegis.pipeline import keywords, surroundings

Words = Mapping[str, str]

ROOT: Final[Words] = {
    "stages": "The stages, in order. A job of a stage waits for all earlier stages unless it says `needs`.",
    "include": "Files whose content is laid under this one.",
    "variables": "Variables of every job; a job's own win.",
    "default": "What every job has unless it says otherwise.",
    "workflow": "Whether there is a pipeline at all, its name, and what a newer push cancels.",
    "spec": "In a header before `---`: the inputs that a file takes.",
    "image": "Deprecated here; write it under `default`.",
    "services": "Deprecated here; write it under `default`.",
    "cache": "Deprecated here; write it under `default`.",
    "before_script": "Deprecated here; write it under `default`.",
    "after_script": "Deprecated here; write it under `default`.",
    "pages": "A job of this name publishes `public/` as a web site.",
}

JOB: Final[Words] = {
    "after_script": "Commands that run after the job, whatever came of it, in a shell of their own.",
    "allow_failure": "Whether the pipeline goes on when the job fails; or for which exit codes.",
    "artifacts": "Files and reports that the job leaves.",
    "before_script": "Commands before `script`, in the same shell.",
    "cache": "Files that are kept for later pipelines. Never rely on it being there.",
    "coverage": "A pattern between slashes that finds the coverage in the log.",
    "dast_configuration": "Profiles of GitLab's dynamic scanner.",
    "dependencies": "The jobs whose artifacts are fetched; an empty list fetches none.",
    "environment": "Where the job deploys to.",
    "except": "The older opposite of `only`. Use `rules`.",
    "extends": "Jobs that this one is laid on: mappings are merged, lists replaced.",
    "hooks": "Commands before the sources are fetched.",
    "id_tokens": "Signed tokens that prove to others which job this is.",
    "identity": "Log in to a cloud provider.",
    "image": "The container image that the job runs in.",
    "inherit": "Which defaults and global variables the job takes.",
    "inputs": "Inputs that can be changed when a manual job starts.",
    "interruptible": "Whether a newer push may cancel the job.",
    "manual_confirmation": "What is asked before a manual job starts.",
    "needs": "The jobs to wait for, instead of all earlier stages.",
    "only": "The older way to say when a job runs. Use `rules`.",
    "pages": "Publish a web site.",
    "parallel": "Run the job several times, numbered or over a matrix of variables.",
    "publish": "The directory that Pages publishes.",
    "release": "Make a release.",
    "resource_group": "Jobs of one group never run at the same time.",
    "retry": "How often, and for which causes, the job is tried again.",
    "rules": "The first rule that matches says whether and how the job runs.",
    "run": "Steps instead of `script`.",
    "script": "The commands of the job.",
    "secrets": "Secrets from a vault.",
    "services": "Containers beside the job, such as a database.",
    "stage": "The stage that the job belongs to. Default: `test`.",
    "start_in": "How long a delayed job waits.",
    "tags": "What a runner must offer.",
    "timeout": "After how long the job is ended.",
    "trigger": "Start another pipeline.",
    "variables": "Variables of the job.",
    "when": "When the job runs.",
}

_RULE: Final[Words] = {
    "if": "An expression over variables.",
    "changes": "Paths, one of which must have changed.",
    "exists": "Paths, one of which must be there.",
    "when": "When the job runs if this rule decides; `never` leaves it out.",
    "allow_failure": "As in the job.",
    "variables": "Variables, if this rule decides.",
    "needs": "Needs, if this rule decides.",
    "interruptible": "As in the job.",
    "start_in": "How long a delayed job waits.",
}
_CACHE: Final[Words] = {
    "key": "What tells caches apart; with `files` it changes when they do.",
    "paths": "What is kept.",
    "policy": "`pull` reads only, `push` writes only.",
    "when": "After which result it is kept.",
    "untracked": "Whether files unknown to Git are kept.",
    "unprotect": "Whether protected and other branches share it.",
    "fallback_keys": "Keys that are tried when there is none under `key`.",
}
_IMAGE: Final[Words] = {
    "name": "The image's name with tag or digest.",
    "entrypoint": "What is run instead of the image's own entrypoint.",
    "pull_policy": "When the image is fetched.",
    "docker": "Options of the Docker executor: `platform`, `user`.",
    "kubernetes": "Options of the Kubernetes executor.",
}
_COVERAGE_REPORT: Final[Words] = {"coverage_format": "`cobertura` or `jacoco`.", "path": "The report's file."}
_REPORT: Final = "A report of this kind: a path or several."

INSIDE: Final[Mapping[tuple[str, ...], Words]] = {
    ("artifacts",): {
        "paths": "Files that later jobs and people get.",
        "exclude": "Files that are left out.",
        "untracked": "Whether files unknown to Git are kept.",
        "when": "After which result they are kept.",
        "name": "The archive's name.",
        "expire_in": "For how long they are kept.",
        "expose_as": "A name under which the merge request shows them.",
        "public": "Whether everybody may fetch them.",
        "access": "Who may fetch them.",
        "reports": "Reports that are read and not only kept.",
    },
    ("artifacts", "reports"): dict.fromkeys(surroundings.REPORTS, _REPORT),
    ("artifacts", "reports", "coverage_report"): _COVERAGE_REPORT,
    ("allow_failure",): {"exit_codes": "The exit codes that are allowed."},
    ("cache",): _CACHE,
    ("cache", "key"): {"files": "At most two files; the key changes with them.", "prefix": "What the key begins with."},
    ("environment",): {
        "name": "The environment's name.",
        "url": "Where it is reached.",
        "action": "What the job does to it. Default: `start`.",
        "on_stop": "The job that stops it.",
        "auto_stop_in": "After how long it is stopped.",
        "deployment_tier": "What kind of environment it is.",
        "kubernetes": "The cluster it is in.",
    },
    ("image",): _IMAGE,
    ("services",): {
        **_IMAGE,
        "alias": "The name it is reached by.",
        "command": "What it runs.",
        "variables": "Its own variables.",
    },
    ("inherit",): {"default": "true, false, or which defaults.", "variables": "true, false, or which variables."},
    ("needs",): {
        "job": "The job to wait for.",
        "artifacts": "Whether its artifacts are fetched. Default: true.",
        "optional": "Whether it may be missing from the pipeline.",
        "parallel": "Which jobs of a matrix.",
        "pipeline": "Another pipeline.",
        "project": "Another project.",
        "ref": "The other project's branch or tag.",
    },
    ("needs", "parallel"): {"matrix": "The variables of the jobs meant."},
    ("parallel",): {"matrix": "A job for each combination of these variables."},
    ("retry",): {
        "max": "At most how often: 0 to 2.",
        "when": "For which causes.",
        "exit_codes": "For which exit codes.",
    },
    ("rules",): _RULE,
    ("rules", "changes"): {"paths": "The paths.", "compare_to": "The ref to compare with."},
    ("rules", "needs"): {"job": "The job to wait for.", "artifacts": "Whether its artifacts are fetched.", "optional": "Whether it may be missing."},
    ("only",): {"refs": "Branches, tags and kinds.", "variables": "Expressions.", "changes": "Paths."},
    ("except",): {"refs": "Branches, tags and kinds.", "variables": "Expressions.", "changes": "Paths."},
}  # fmt: skip
"""Keywords within a job, by the keys that lead there."""

TOP: Final[Mapping[tuple[str, ...], Words]] = {
    ("workflow",): {
        "name": "The pipeline's name.",
        "rules": "The first rule that matches says whether there is a pipeline.",
        "auto_cancel": "What a newer push or a failed job cancels.",
    },
    ("workflow", "rules"): {
        **{key: _RULE[key] for key in ("if", "changes", "exists")},
        "when": "`always` or `never`.",
        "variables": "Variables of the pipeline, if this rule decides.",
        "auto_cancel": "What is cancelled, if this rule decides.",
    },
    ("workflow", "auto_cancel"): {
        "on_new_commit": "What a newer push cancels.",
        "on_job_failure": "Whether a failed job cancels the rest.",
    },
    ("include",): {
        "local": "A file of this repository; `*` and `**` are allowed.",
        "component": "A component with its version: `aegis/python-service@1`.",
        "project": "Another project on the same host.",
        "file": "The file, or files, of that project.",
        "ref": "That project's branch, tag or commit.",
        "remote": "An address.",
        "integrity": "The digest that a remote file must have.",
        "template": "One of GitLab's own templates.",
        "inputs": "Values for the inputs that the file declares.",
        "rules": "When the file is included.",
    },
    ("include", "rules"): {
        key: _RULE[key] for key in ("if", "changes", "exists", "when")
    },
    ("spec",): {"inputs": "The inputs that the file takes."},
}  # fmt: skip
"""Keywords outside of jobs."""

_BOOLEAN: Final = ("true", "false")
_WHEN_KEPT: Final = ("on_success", "on_failure", "always")

VALUES: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("when",): ("on_success", "on_failure", "always", "manual", "delayed", "never"),
    ("rules", "when"): ("on_success", "on_failure", "always", "never", "manual", "delayed"),
    ("rules", "interruptible"): _BOOLEAN,
    ("rules", "allow_failure"): _BOOLEAN,
    ("allow_failure",): _BOOLEAN,
    ("interruptible",): _BOOLEAN,
    ("artifacts", "when"): _WHEN_KEPT,
    ("artifacts", "untracked"): _BOOLEAN,
    ("artifacts", "public"): _BOOLEAN,
    ("artifacts", "access"): ("all", "developer", "maintainer", "none"),
    ("artifacts", "reports", "coverage_report", "coverage_format"): ("cobertura", "jacoco"),
    ("cache", "when"): _WHEN_KEPT,
    ("cache", "policy"): ("pull-push", "pull", "push"),
    ("cache", "untracked"): _BOOLEAN,
    ("environment", "action"): ("start", "prepare", "stop", "verify", "access"),
    ("environment", "deployment_tier"): ("production", "staging", "testing", "development", "other"),
    ("image", "pull_policy"): ("always", "if-not-present", "never"),
    ("inherit", "default"): _BOOLEAN,
    ("inherit", "variables"): _BOOLEAN,
    ("needs", "artifacts"): _BOOLEAN,
    ("needs", "optional"): _BOOLEAN,
    ("retry",): ("0", "1", "2"),
    ("retry", "max"): ("0", "1", "2"),
    ("retry", "when"): keywords.RETRY_CAUSES,
}
"""Words that a value may be, by the keys within a job."""

TOP_VALUES: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("workflow", "rules", "when"): ("always", "never"),
    ("workflow", "auto_cancel", "on_new_commit"): ("conservative", "interruptible", "none"),
    ("workflow", "auto_cancel", "on_job_failure"): ("none", "all"),
}

PREDEFINED: Final[Words] = {
    "CI_COMMIT_BRANCH": "The branch. Not set in pipelines of tags and merge requests.",
    "CI_COMMIT_TAG": "The tag. Set in pipelines of tags only.",
    "CI_COMMIT_SHA": "The commit.",
    "CI_COMMIT_SHORT_SHA": "The first eight characters of the commit.",
    "CI_COMMIT_REF_NAME": "The branch or tag.",
    "CI_COMMIT_REF_SLUG": "The same, fit for a host name.",
    "CI_COMMIT_BEFORE_SHA": "The commit before the push.",
    "CI_COMMIT_MESSAGE": "The commit's whole message.",
    "CI_COMMIT_TITLE": "The first line of the commit's message.",
    "CI_COMMIT_AUTHOR": "Name and address of the author.",
    "CI_COMMIT_TIMESTAMP": "When it was committed.",
    "CI_DEFAULT_BRANCH": "The project's default branch.",
    "CI_PIPELINE_SOURCE": "What started the pipeline: push, merge_request_event, schedule, web, api, trigger …",
    "CI_PIPELINE_ID": "The pipeline's number.",
    "CI_PIPELINE_IID": "The pipeline's number within the project.",
    "CI_PIPELINE_URL": "The pipeline's page.",
    "CI_MERGE_REQUEST_IID": "The merge request's number. Set in its pipelines only.",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "The branch under review.",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "The branch it is to be merged into.",
    "CI_MERGE_REQUEST_TITLE": "Its title.",
    "CI_MERGE_REQUEST_LABELS": "Its labels, separated by commas.",
    "CI_OPEN_MERGE_REQUESTS": "The open merge requests of the branch.",
    "CI_PROJECT_DIR": "Where the job's working tree lies.",
    "CI_PROJECT_NAME": "The last part of the project's path.",
    "CI_PROJECT_PATH": "The project with its group.",
    "CI_PROJECT_NAMESPACE": "The project's group.",
    "CI_PROJECT_ROOT_NAMESPACE": "The first part of the group.",
    "CI_JOB_ID": "The job's number.",
    "CI_JOB_NAME": "The job's name.",
    "CI_JOB_STAGE": "The job's stage.",
    "CI_JOB_TOKEN": "A token that is valid while the job runs.",
    "CI_JOB_URL": "The job's page.",
    "CI_NODE_INDEX": "Which of the parallel jobs this is, from 1.",
    "CI_NODE_TOTAL": "How many parallel jobs there are.",
    "CI_ENVIRONMENT_NAME": "The environment's name.",
    "CI_ENVIRONMENT_SLUG": "The same, fit for a host name.",
    "CI_ENVIRONMENT_URL": "Where the environment is reached.",
    "CI_REGISTRY": "The image registry's host.",
    "CI_REGISTRY_IMAGE": "The project's place in the image registry.",
    "CI_REGISTRY_USER": "The user name for the registry.",
    "CI_REGISTRY_PASSWORD": "The password for the registry, valid while the job runs.",
    "CI_SERVER_URL": "The server's address.",
    "CI_SERVER_FQDN": "The server's host name.",
    "GITLAB_CI": "Set to true in every job.",
    "CI": "Set to true in every job.",
    "AEGIS_LOCAL": "Set when `aegis run` runs the pipeline on somebody's machine.",
    "AEGIS_VERIFY": "Set when the server verifies an environment.",
}


def keywords_at(path: tuple[str, ...]) -> Words:
    """The keywords that may be written under these keys; empty where names are the user's own."""
    if not path:
        return ROOT
    if path in TOP:
        return TOP[path]
    if path[0] in {"workflow", "include", "spec", "stages", "variables"}:
        return {}
    if len(path) == 1:
        return {key: text for key, text in JOB.items() if path[0] != "default" or key in keywords.DEFAULTS}
    if path[0] in keywords.OLD_GLOBALS:
        return INSIDE.get(path, {})
    return INSIDE.get(path[1:], {})


def values_at(path: tuple[str, ...]) -> tuple[str, ...]:
    """The words that a value under these keys may be."""
    if path in TOP_VALUES:
        return TOP_VALUES[path]
    return VALUES.get(path[1:], ())


def explain(path: tuple[str, ...], key: str) -> str:
    """The sentence for a keyword that stands under these keys; empty for names."""
    return keywords_at(path).get(key, "")
