"""What the compiler is given and what it answers: plain values, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from aegis.core.plan import Excluded, Plan, Variable
from aegis.core.values import dataclass
from aegis.pipeline.declared import ScopedVariable
from aegis.pipeline.diagnostics import Diagnostic
from aegis.pipeline.document import Limits
from aegis.pipeline.ports import Elsewhere, Files

SOURCES: Final = (
    "push", "merge_request_event", "schedule", "web", "api", "trigger", "pipeline", "parent_pipeline", "chat", "webide",
    "external", "external_pull_request_event", "security_orchestration_policy", "ondemand_dast_scan",
    "ondemand_dast_validation",
)  # fmt: skip
"""What may start a pipeline: the values of `CI_PIPELINE_SOURCE` that GitLab documents."""


@dataclass(frozen=True, slots=True)
class MemoryFiles:
    """Files given as a mapping: for servers that have read them, and for tests."""

    content: Mapping[str, bytes] = field(default_factory=dict)

    def read(self, path: str) -> bytes | None:
        """See `Files`."""
        return self.content.get(path)

    def paths(self) -> tuple[str, ...]:
        """See `Files`."""
        return tuple(sorted(self.content))


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """The merge request that a pipeline belongs to."""

    number: int
    source_branch: str
    target_branch: str
    target_sha: str = ""
    title: str = ""
    source_sha: str = ""
    merged_result: bool = False
    """Whether the commit is what merging would make, not the source branch's head."""
    draft: bool = False
    description: str = ""
    base_sha: str = ""
    """Where the source branch left the target."""
    source_protected: bool = False
    target_protected: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileRequest:
    """One question to the compiler.

    `ref_kind` is `branch` or `tag`; `source` is GitLab's `CI_PIPELINE_SOURCE`. `changed` None means that the changes
    are unknown, and every `changes` clause is true, as in GitLab for tags and new branches. `comparisons` gives the
    changed paths against the refs that `compare_to` names: a ref that is missing there is an error; None: refs are not known.
    `project_variables` (with `scoped_variables` over them, for jobs of an environment) and `pipeline_variables` may hold
    secret references. `predefined` is what only the server knows
    (`CI_SERVER_URL`, `AEGIS_VERSION`, …). `elsewhere` is what may be included from outside of the project; None: nothing.
    """

    files: Files
    root: str = ".gitlab-ci.yml"
    project: str = "local/project"
    commit: str = "0" * 40
    ref: str = "main"
    ref_kind: str = "branch"
    source: str = "push"
    default_branch: str = "main"
    protected: bool = False
    before: str | None = None
    changed: tuple[str, ...] | None = None
    comparisons: Mapping[str, tuple[str, ...]] | None = None
    project_variables: tuple[Variable, ...] = ()
    scoped_variables: tuple[ScopedVariable, ...] = ()
    pipeline_variables: tuple[Variable, ...] = ()
    predefined: Mapping[str, str] = field(default_factory=dict)
    merge_request: MergeRequest | None = None
    commit_message: str = ""
    tag_message: str = ""
    open_merge_requests: tuple[int, ...] = ()
    """Those whose source is the branch."""
    commit_author: str = ""
    commit_timestamp: str = ""
    policy_digest: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: Elsewhere | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """The answer. With errors there is no plan. Without errors and without a plan nothing is to run: `skipped` says why.

    `merged` is the whole configuration after includes, `extends` and references, for showing.
    """

    plan: Plan | None
    errors: tuple[Diagnostic, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    merged: Mapping[str, Any] = field(default_factory=dict)
    excluded: tuple[Excluded, ...] = ()
    stages: tuple[str, ...] = ()
    skipped: str = ""
