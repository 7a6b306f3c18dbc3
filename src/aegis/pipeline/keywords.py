"""The table of the language: every keyword GitLab knows, and the shape of its value.

A keyword that is not here is an error with its place. Keywords in `NOT_CARRIED_OUT` are understood and checked loosely,
and the reader is told that they have no effect here. Source: GitLab's CI/CD YAML reference and its schema of 2026-08.
"""

from __future__ import annotations

import re
from typing import Final

from aegis.pipeline.conditions import check_expression
from aegis.pipeline.diagnostics import Report
from aegis.pipeline.document import Map, Node, Scalar, Seq
from aegis.pipeline.expression import compile_pattern
from aegis.pipeline.outward import (
    DAST,
    HOOKS,
    ID_TOKENS,
    INPUTS,
    PAGES,
    RELEASE,
    RUN,
    SECRETS,
    TRIGGER,
)
from aegis.pipeline.patterns import Rare
from aegis.pipeline.shapes import (
    Shape,
    anything,
    boolean,
    duration,
    either,
    fields,
    filled,
    integer,
    matching,
    nested,
    one_of,
    several,
    text,
)
from aegis.pipeline.surroundings import ARTIFACTS, CACHE, ENVIRONMENT, IMAGE, SERVICES
from aegis.pipeline.variable_shapes import JOB_VARIABLES, PLAIN_VARIABLES, ROOT_VARIABLES, variable_value

WEEK: Final = 7 * 86400
MONTH: Final = 31 * 86400
STRINGS: Final = several(text)
ONE_OR_STRINGS: Final = several(text, single=True)
SCRIPT: Final = nested(text)

RETRY_CAUSES: Final = (
    "always", "unknown_failure", "script_failure", "api_failure", "stuck_or_timeout_failure", "runner_system_failure",
    "runner_unsupported", "stale_schedule", "job_execution_timeout", "archived_failure", "unmet_prerequisites",
    "scheduler_failure", "data_integrity_failure", "job_canceled", "missing_dependency_failure",
    "runner_provisioning_timeout", "job_token_expired", "forward_deployment_failure", "user_blocked", "project_deleted",
    "insufficient_bridge_permissions", "downstream_bridge_project_not_found", "invalid_bridge_trigger",
    "upstream_bridge_project_not_found", "insufficient_upstream_permissions", "bridge_pipeline_is_child_pipeline",
    "downstream_pipeline_creation_failed", "secrets_provider_not_found", "reached_max_descendant_pipelines_depth",
    "ip_restriction_failure", "reached_max_pipeline_hierarchy_size", "pipeline_loop_detected", "builds_disabled",
    "environment_creation_failure", "deployment_rejected", "failed_outdated_deployment_job", "no_matching_runner",
    "trace_size_exceeded", "ci_quota_exceeded", "protected_environment_failure", "duo_workflow_not_allowed",
)  # fmt: skip


def _expression(node: Node, label: str, report: Report) -> None:  # noqa: ARG001 - a shape
    check_expression(node, report)


CHANGES: Final = either(
    (Seq, several(text, most=50)),
    (Map, fields({"paths": several(text, most=50), "compare_to": text}, required=("paths",))),
    expected="a list of paths",
)
EXISTS: Final = either(
    (Seq, several(text, most=50)),
    (Map, fields({"paths": several(text, most=50), "project": text, "ref": text}, required=("paths",))),
    expected="a list of paths",
)


def _matrix(node: Node, label: str, report: Report) -> None:
    if not isinstance(node, Map) or not node.entries:
        report.error("invalid-value", f"`{label}` must be a mapping with at least one variable", node.where)
        return
    for name, value in node.items():
        items = value.items if isinstance(value, Seq) else (value,)
        if not items:
            report.error("invalid-value", f"`{label}: {name}` has no values", value.where)
        for item in items:
            variable_value(item, f"{label}: {name}", report)


MATRIX: Final = several(_matrix, most=200)

_need_job: Final = fields(
    {
        "job": filled,
        "artifacts": boolean,
        "optional": boolean,
        "parallel": fields({"matrix": MATRIX}, required=("matrix",)),
    },
    required=("job",),
)
_need_pipeline: Final = fields(
    {"pipeline": filled, "job": filled, "artifacts": boolean, "optional": boolean}, required=("pipeline",)
)
_need_project: Final = fields(
    {"project": filled, "job": filled, "ref": filled, "artifacts": boolean, "optional": boolean},
    required=("project", "job", "ref"),
)


def _need(node: Node, label: str, report: Report) -> None:
    """A job of this pipeline, of another pipeline of this project, of another project, or a pipeline to mirror."""
    shape = _need_job
    if isinstance(node, Map) and (node.has("project") or node.has("ref")):
        shape = _need_project
    elif isinstance(node, Map) and node.has("pipeline"):
        shape = _need_pipeline
    shape(node, label, report)


NEED: Final = either((Scalar, filled), (Map, _need), expected="a job's name or a mapping with `job`")
NEEDS: Final = either((Seq, nested(NEED)), (Map, _need), expected="a list of jobs")

_RULE: Final[dict[str, Shape]] = {
    "if": _expression,
    "changes": CHANGES,
    "exists": EXISTS,
    "when": one_of("on_success", "on_failure", "always", "never", "manual", "delayed"),
    "start_in": duration(WEEK),
    "allow_failure": boolean,
    "variables": PLAIN_VARIABLES,
    "needs": NEEDS,
    "interruptible": boolean,
}
AUTO_CANCEL: Final = fields(
    {"on_new_commit": one_of("conservative", "interruptible", "none"), "on_job_failure": one_of("none", "all")}
)
_rule_fields: Final = fields(_RULE)
_workflow_rule_fields: Final = fields(
    {
        **{name: _RULE[name] for name in ("if", "changes", "exists", "start_in", "allow_failure", "needs")},
        "when": one_of("always", "never"),
        "variables": PLAIN_VARIABLES,
        "auto_cancel": AUTO_CANCEL,
    }
)


def _rule(node: Node, label: str, report: Report) -> None:
    _rule_fields(node, label, report)
    if not isinstance(node, Map):
        return
    when = node.get("when")
    delayed = isinstance(when, Scalar) and when.value == "delayed"
    if delayed and not node.has("start_in"):
        report.error(
            "missing-key", f"`{label}`: `when: delayed` needs `start_in`", node.where, "add `start_in: 10 minutes`"
        )
    if node.has("start_in") and not delayed:
        report.error("invalid-value", f"`{label}`: `start_in` is only for `when: delayed`", node.where)


def _rules(item: Shape) -> Shape:
    check_items = nested(item)

    def check(node: Node, label: str, report: Report) -> None:
        if not isinstance(node, Seq):
            report.error("invalid-value", f"`{label}` must be a list of rules", node.where, "write `- if: …`")
        elif not node.items:
            report.error("invalid-value", f"`{label}` is empty", node.where, "remove it, or add a rule")
        else:
            check_items(node, label, report)

    return check


def _ref(node: Node, label: str, report: Report) -> None:
    text(node, label, report)
    if isinstance(node, Scalar) and node.text.startswith("/") and compile_pattern(node.text.partition("@")[0]) is None:
        report.error("invalid-value", f"`{label}`: {node.text} is not a valid RE2 pattern", node.where)


REFS: Final = several(_ref)
_policy_map: Final = fields(
    {"refs": REFS, "variables": several(_expression), "changes": STRINGS, "kubernetes": one_of("active")}
)
POLICY: Final = either((Seq, REFS), (Map, _policy_map), expected="a list of refs or a mapping")

RETRY: Final = either(
    (Scalar, integer(0, 2)),
    (
        Map,
        fields(
            {
                "max": integer(0, 2),
                "when": several(one_of(*RETRY_CAUSES), single=True),
                "exit_codes": several(integer(0, 255), single=True),
            }
        ),
    ),
    expected="a number from 0 to 2 or a mapping",
)
PARALLEL: Final = either(
    (Scalar, integer(1, 200)), (Map, fields({"matrix": MATRIX}, required=("matrix",))), expected="a number or a matrix"
)
ALLOW_FAILURE: Final = either(
    (Scalar, boolean),
    (Map, fields({"exit_codes": several(integer(0, 255), single=True)}, required=("exit_codes",))),
    expected="true, false or a mapping with `exit_codes`",
)


def _inheritable(node: Node, label: str, report: Report) -> None:
    one_of(*DEFAULTS)(node, label, report)


INHERIT: Final = fields(
    {
        "default": either((Scalar, boolean), (Seq, several(_inheritable)), expected="true, false or a list"),
        "variables": either((Scalar, boolean), (Seq, STRINGS), expected="true, false or a list"),
    }
)


def _coverage(node: Node, label: str, report: Report) -> None:
    value = node.text if isinstance(node, Scalar) and isinstance(node.value, str) else ""
    if len(value) < 2 or value[0] != "/" or value[-1] != "/":
        report.error(
            "invalid-value",
            f"`{label}` must be a pattern between slashes",
            node.where,
            r"for instance '/TOTAL.*\s(\d+)%/'",
        )
    elif compile_pattern(value) is None:
        report.error("invalid-value", f"`{label}` is not a valid RE2 pattern", node.where)


def _resource_group(node: Node, label: str, report: Report) -> None:
    filled(node, label, report)


DEFAULTS: Final[dict[str, Shape]] = {
    "after_script": SCRIPT,
    "artifacts": ARTIFACTS,
    "before_script": SCRIPT,
    "cache": CACHE,
    "hooks": HOOKS,
    "id_tokens": ID_TOKENS,
    "identity": one_of("google_cloud"),
    "image": IMAGE,
    "interruptible": boolean,
    "retry": RETRY,
    "services": SERVICES,
    "tags": several(text, most=50),
    "timeout": duration(MONTH),
}

JOB: Final[dict[str, Shape]] = {
    **DEFAULTS,
    "allow_failure": ALLOW_FAILURE,
    "coverage": _coverage,
    "dast_configuration": DAST,
    "dependencies": STRINGS,
    "environment": ENVIRONMENT,
    "except": POLICY,
    "extends": ONE_OR_STRINGS,
    "inherit": INHERIT,
    "inputs": INPUTS,
    "manual_confirmation": text,
    "needs": NEEDS,
    "only": POLICY,
    "pages": PAGES,
    "parallel": PARALLEL,
    "publish": text,
    "release": RELEASE,
    "resource_group": _resource_group,
    "rules": _rules(_rule),
    "run": RUN,
    "script": SCRIPT,
    "secrets": SECRETS,
    "stage": filled,
    "start_in": duration(WEEK),
    "trigger": TRIGGER,
    "variables": JOB_VARIABLES,
    "when": one_of("on_success", "on_failure", "always", "manual", "delayed"),
}

BRIDGE: Final = frozenset(
    {
        "allow_failure", "environment", "except", "extends", "inherit", "interruptible", "needs", "only", "parallel",
        "resource_group", "rules", "stage", "trigger", "variables", "when",
    }
)  # fmt: skip
"""What a job may have that starts another pipeline instead of running a script."""

NOT_CARRIED_OUT: Final = frozenset(
    {"dast_configuration", "identity", "inputs"}
)  # fmt: skip
"""Understood, but without effect here; each use is a warning and stands in `Plan.unsupported`."""

PARTS_NOT_CARRIED_OUT: Final = (("environment", "kubernetes"), ("image", "kubernetes"))
"""The same for keys within a keyword, which else has its effect."""

WORKFLOW: Final = fields(
    {
        "name": matching(Rare(".*", re.DOTALL), "text of at most 255 characters", 255),
        "rules": _rules(_workflow_rule_fields),
        "auto_cancel": AUTO_CANCEL,
    }
)

ROOT: Final[dict[str, Shape]] = {
    "default": fields(DEFAULTS),
    "stages": several(filled),
    "variables": ROOT_VARIABLES,
    "workflow": WORKFLOW,
    "include": anything,
    "spec": anything,
    "image": IMAGE,
    "services": SERVICES,
    "cache": CACHE,
    "before_script": SCRIPT,
    "after_script": SCRIPT,
}
OLD_GLOBALS: Final = ("image", "services", "cache", "before_script", "after_script")

RESERVED_NAMES: Final = frozenset({"true", "false", "nil"})
