"""A `Plan`: what a pipeline became for one commit and one source. Holds secret references, never secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from aegis.core.errors import Where
from aegis.core.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable of a job. `raw` is not expanded again; `file` becomes a path to a file with the value."""

    key: str
    value: str
    raw: bool = False
    file: bool = False
    masked: bool = False
    secret: str | None = None
    """A reference that the secret port resolves when the job starts; `value` is then empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CiVariable:
    """A variable that people keep on the server for a project or group (`owner`), without its value.

    `stored` is where the value lies in the secret store. `hidden`: nobody is shown the value again.
    """

    owner: str
    key: str
    protected: bool = False
    masked: bool = False
    hidden: bool = False
    raw: bool = False
    file: bool = False
    environment_scope: str = "*"
    description: str = ""
    stored: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """An edge to another job of the same plan, by its expanded name."""

    job: str
    artifacts: bool = True
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A container image that a job asks for."""

    name: str
    entrypoint: tuple[str, ...] | None = None
    alias: str | None = None
    command: tuple[str, ...] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    pull_policy: tuple[str, ...] = ()
    user: str | None = None
    platform: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactSpec:
    """What a job leaves. `reports` maps a report type of GitLab to its paths; `expire_in` is seconds, None keeps."""

    paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    untracked: bool = False
    when: str = "on_success"
    name: str | None = None
    expire_in: int | None = None
    reports: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expose_as: str | None = None
    access: str = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpec:
    """What a job keeps for the next. `key` is literal, or made of `key_files` with `key_prefix`."""

    key: str = "default"
    key_files: tuple[str, ...] = ()
    key_prefix: str | None = None
    paths: tuple[str, ...] = ()
    policy: str = "pull-push"
    when: str = "on_success"
    untracked: bool = False
    unprotect: bool = False
    fallback_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a job is tried again (0 to 2) and for which causes or exit codes."""

    max: int = 0
    when: tuple[str, ...] = ("always",)
    exit_codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnvironment:
    """The environment a job deploys to, as the pipeline file names it."""

    name: str
    action: str = "start"
    url: str | None = None
    on_stop: str | None = None
    tier: str | None = None
    auto_stop_in: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A pipeline that a job starts instead of a script: of another `project`, or a child made of `include`.

    `include` holds entries as `include:` of a pipeline file has them (`local`, `project`, `artifact` with `job`, …).
    `strategy` is empty (started is enough), `depend` or `mirror` (the job ends as the pipeline does).
    """

    project: str = ""
    branch: str = ""
    include: tuple[Mapping[str, Any], ...] = ()
    strategy: str = ""
    forward_yaml: bool = True
    forward_pipeline: bool = False
    inputs: Mapping[str, Any] = field(default_factory=dict)
    variables: tuple[Variable, ...] = ()
    """What the pipeline file gives to this job: the variables that `forward_yaml` hands on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdToken:
    """A signed token that the job gets in the variable `name`, for these audiences."""

    name: str
    audiences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSpec:
    """`release`: what is published under a tag once the script has passed. Texts are expanded when the job has run."""

    tag_name: str
    description: str = ""
    name: str = ""
    tag_message: str = ""
    ref: str = ""
    milestones: tuple[str, ...] = ()
    released_at: str = ""
    links: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PagesSpec:
    """`pages`: the directory of the job's archive that is served as the project's pages."""

    publish: str = "public"
    path_prefix: str = ""
    expire_in: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignNeed:
    """Artifacts of another pipeline's job: by project and ref, or by a pipeline's id (a parent or a child)."""

    job: str
    project: str = ""
    ref: str = ""
    pipeline: str = ""
    artifacts: bool = True
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job, fully expanded. Durations are seconds. `origin` names the template whose script this is unchanged."""

    name: str
    stage: str
    script: tuple[str, ...]
    before_script: tuple[str, ...] = ()
    after_script: tuple[str, ...] = ()
    when: str = "on_success"
    start_in: int | None = None
    allow_failure: bool = False
    allow_failure_exit_codes: tuple[int, ...] = ()
    needs: tuple[Need, ...] | None = None
    """None: everything of earlier stages; empty: nothing."""
    dependencies: tuple[str, ...] | None = None
    """Jobs whose artifacts are fetched; None: all that it waits for (subject to `needs:artifacts`)."""
    variables: tuple[Variable, ...] = ()
    image: Image | None = None
    services: tuple[Image, ...] = ()
    artifacts: ArtifactSpec | None = None
    cache: tuple[CacheSpec, ...] = ()
    retry: Retry = Retry()
    timeout: int = 3600
    interruptible: bool = False
    resource_group: str | None = None
    environment: JobEnvironment | None = None
    tags: tuple[str, ...] = ()
    coverage: str | None = None
    parallel_index: int | None = None
    parallel_total: int | None = None
    manual_confirmation: str | None = None
    pre_get_sources: tuple[str, ...] = ()
    """`hooks:pre_get_sources_script`: commands before the work tree is made."""
    trigger: Trigger | None = None
    id_tokens: tuple[IdToken, ...] = ()
    release: ReleaseSpec | None = None
    pages: PagesSpec | None = None
    foreign_needs: tuple[ForeignNeed, ...] = ()
    origin: str | None = None
    reason: str = ""
    where: Where | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """A job that is not in the plan, and the rule that left it out."""

    name: str
    reason: str
    where: Where | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The jobs in the order of the file, the stages in their order. `id` is the digest of everything else."""

    id: str
    project: str
    commit: str
    ref: str
    source: str
    stages: tuple[str, ...]
    jobs: tuple[JobSpec, ...]
    excluded: tuple[Excluded, ...] = ()
    name: str | None = None
    policy_digest: str = ""
    auto_cancel: str = "conservative"
    """`workflow:auto_cancel:on_new_commit`: `conservative`, `interruptible` or `none`."""
    on_job_failure: str = "none"
    """`workflow:auto_cancel:on_job_failure`: `none`, or `all` to cancel the rest when a job fails."""
    given: tuple[Variable, ...] = ()
    """The variables that this pipeline was started with, for pipelines that it starts in turn."""
    unsupported: tuple[str, ...] = ()
    """Keywords that were understood and cannot yet be carried out, named for the reader."""

    def job(self, name: str) -> JobSpec:
        """The job of that name; `KeyError` where there is none."""
        for job in self.jobs:
            if job.name == name:
                return job
        raise KeyError(name)
