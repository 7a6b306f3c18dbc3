"""The table of the language: every keyword GitLab knows, and the shape of its value.

A keyword that is not here is an error with its place. Keywords in `NOT_CARRIED_OUT` are understood and checked loosely,
and the reader is told that they have no effect here. Source: GitLab's CI/CD YAML reference and its schema of 2026-08.
"""

from __future__ import annotations

import re
from typing import Final

from aegis.pipeline import shapes
from aegis.pipeline.conditions import check_expression
from aegis.pipeline.diagnostics import Report, meant
from aegis.pipeline.document import Map, Node, Scalar, Seq
from aegis.pipeline.expression import compile_pattern
from aegis.pipeline.shapes import (
    Shape,
    anything,
    boolean,
    duration,
    either,
    fields,
    filled,
    integer,
    mapping,
    nested,
    one_of,
    several,
    text,
)
from aegis.pipeline.variables import references

_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
WEEK: Final = 7 * 86400
MONTH: Final = 31 * 86400
STRINGS: Final = several(text)
ONE_OR_STRINGS: Final = several(text, single=True)
SCRIPT: Final = nested(text)

RETRY_CAUSES: Final = (
    "always", "unknown_failure", "script_failure", "api_failure", "stuck_or_timeout_failure", "runner_system_failure",
    "runner_unsupported", "stale_schedule", "job_execution_timeout", "archived_failure", "unmet_prerequisites",
    "scheduler_failure", "data_integrity_failure", "job_canceled", "missing_dependency_failure",
    "runner_provisioning_timeout", "job_token_expired",
)  # fmt: skip

REPORTS: Final = (
    "accessibility", "annotations", "api_fuzzing", "browser_performance", "cluster_image_scanning", "codequality",
    "container_scanning", "coverage_fuzzing", "coverage_report", "cyclonedx", "dast", "dependency_scanning", "dotenv",
    "junit", "license_scanning", "load_performance", "lsif", "metrics", "performance", "repository_xray", "requirements",
    "requirements_v2", "sarif", "sast", "secret_detection", "terraform",
)  # fmt: skip


def _expression(node: Node, label: str, report: Report) -> None:  # noqa: ARG001 - a shape
    check_expression(node, report)


def _variable_value(node: Node, label: str, report: Report) -> None:
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        hint = f'quote it: "{node.text}"' if isinstance(node, Scalar) and node.value is not None else ""
        report.error("invalid-value", f"`{label}` must be text or a whole number", node.where, hint)


def _variables(*extra: str) -> Shape:
    complex_form = fields(dict.fromkeys(("value", *extra), anything))

    def check(node: Node, label: str, report: Report) -> None:
        if not isinstance(node, Map):
            shapes.mapping(node, label, report)
            return
        for name, value in node.items():
            inner = f"{label}: {name}"
            _variable_name(name, node, label, report)
            if not isinstance(value, Map):
                if isinstance(value, Scalar) and value.value is None:
                    report.error("invalid-value", f"`{inner}` has no value", value.where, 'write `""` for an empty one')
                else:
                    _variable_value(value, inner, report)
                continue
            complex_form(value, inner, report)
            _complex_variable(value, inner, report)

    return check


def _variable_name(name: str, node: Map, label: str, report: Report) -> None:
    """Names that no process can have, and values that name themselves: GitLab takes both, and neither works."""
    key, value = node.entries[name]
    if not _NAME.fullmatch(name):
        report.warn("variable-name", f"`{label}: {name}` cannot be the name of an environment variable", key.where)
    if isinstance(value, Scalar) and name in references(value.text):
        report.warn(
            "self-reference",
            f"`{label}: {name}` names itself; the name stays as it is written",
            value.where,
            "give it another name",
        )


def _complex_variable(node: Map, label: str, report: Report) -> None:
    if node.has("value"):
        _variable_value(node.get("value") or node, f"{label}: value", report)
    if node.has("expand"):
        boolean(node.get("expand") or node, f"{label}: expand", report)
    options = node.get("options")
    if options is None:
        return
    STRINGS(options, f"{label}: options", report)
    value = node.get("value")
    if isinstance(options, Seq) and isinstance(value, Scalar):
        known = [item.text for item in options.items if isinstance(item, Scalar)]
        if value.text not in known:
            report.error(
                "invalid-value", f"`{label}: value` must be one of its options", value.where, meant(value.text, known)
            )


ROOT_VARIABLES: Final = _variables("description", "expand", "options")
JOB_VARIABLES: Final = _variables("expand")

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
            _variable_value(item, f"{label}: {name}", report)


MATRIX: Final = several(_matrix, most=200)

NEED: Final = either(
    (Scalar, filled),
    (
        Map,
        fields(
            {
                "job": filled,
                "artifacts": boolean,
                "optional": boolean,
                "parallel": fields({"matrix": MATRIX}, required=("matrix",)),
                "pipeline": text,
                "project": text,
                "ref": text,
            }
        ),
    ),
    expected="a job's name or a mapping with `job`",
)
NEEDS: Final = either(
    (Seq, nested(NEED)),
    (
        Map,
        fields(
            {"job": text, "pipeline": text, "project": text, "ref": text, "artifacts": boolean, "optional": boolean}
        ),
    ),
    expected="a list of jobs",
)

_RULE: Final[dict[str, Shape]] = {
    "if": _expression,
    "changes": CHANGES,
    "exists": EXISTS,
    "when": one_of("on_success", "on_failure", "always", "never", "manual", "delayed"),
    "start_in": duration(WEEK),
    "allow_failure": either((Scalar, boolean), (Map, fields({"exit_codes": anything})), expected="true or false"),
    "variables": JOB_VARIABLES,
    "needs": NEEDS,
    "interruptible": boolean,
}
AUTO_CANCEL: Final = fields(
    {"on_new_commit": one_of("conservative", "interruptible", "none"), "on_job_failure": one_of("none", "all")}
)
_rule_fields: Final = fields(_RULE)
_workflow_rule_fields: Final = fields(
    {
        **{name: _RULE[name] for name in ("if", "changes", "exists")},
        "when": one_of("always", "never"),
        "variables": _variables("expand", "description", "options"),
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


_policy_map: Final = fields(
    {"refs": STRINGS, "variables": several(_expression), "changes": STRINGS, "kubernetes": one_of("active")}
)
POLICY: Final = either((Seq, STRINGS), (Map, _policy_map), expected="a list of refs or a mapping")

_DOCKER: Final = fields({"platform": text, "user": anything})
_PULL: Final = several(one_of("always", "if-not-present", "never"), single=True)
_IMAGE: Final[dict[str, Shape]] = {
    "name": filled,
    "entrypoint": ONE_OR_STRINGS,
    "pull_policy": _PULL,
    "docker": _DOCKER,
    "kubernetes": mapping,
    "ports": anything,
}
IMAGE: Final = either(
    (Scalar, filled), (Map, fields(_IMAGE, required=("name",))), expected="an image's name or a mapping"
)
SERVICES: Final = several(
    either(
        (Scalar, filled),
        (
            Map,
            fields(
                {**_IMAGE, "alias": text, "command": ONE_OR_STRINGS, "variables": JOB_VARIABLES}, required=("name",)
            ),
        ),
        expected="an image's name or a mapping",
    )
)

_REPORT_SHAPES: Final[dict[str, Shape]] = {
    **dict.fromkeys(REPORTS, ONE_OR_STRINGS),
    "coverage_report": fields(
        {"coverage_format": one_of("cobertura", "jacoco"), "path": filled}, required=("coverage_format", "path")
    ),
    "repository_xray": anything,
}
ARTIFACTS: Final = fields(
    {
        "paths": STRINGS,
        "exclude": STRINGS,
        "untracked": boolean,
        "when": one_of("on_success", "on_failure", "always"),
        "name": text,
        "expire_in": duration(None, "never"),
        "expose_as": text,
        "public": boolean,
        "access": one_of("all", "developer", "maintainer", "none"),
        "reports": fields(_REPORT_SHAPES),
    }
)

_KEY: Final = either(
    (
        Map,
        fields({"files": several(text, most=2), "files_commits": several(text, most=2), "prefix": text}),
    ),
    (Scalar, text),
    expected="text or a mapping with `files`",
)
_CACHE: Final = fields(
    {
        "key": _KEY,
        "paths": STRINGS,
        "untracked": boolean,
        "unprotect": boolean,
        "when": one_of("on_success", "on_failure", "always"),
        "policy": text,
        "fallback_keys": several(text, most=5),
    }
)
CACHE: Final = several(_CACHE, most=4, single=True)

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
ENVIRONMENT: Final = either(
    (Scalar, filled),
    (
        Map,
        fields(
            {
                "name": filled,
                "url": text,
                "action": one_of("start", "prepare", "stop", "verify", "access"),
                "on_stop": text,
                "auto_stop_in": duration(None, "never"),
                "deployment_tier": one_of("production", "staging", "testing", "development", "other"),
                "kubernetes": mapping,
            },
            required=("name",),
        ),
    ),
    expected="an environment's name or a mapping",
)
ALLOW_FAILURE: Final = either(
    (Scalar, boolean),
    (Map, fields({"exit_codes": several(integer(0, 255), single=True)}, required=("exit_codes",))),
    expected="true, false or a mapping with `exit_codes`",
)
INHERIT: Final = fields(
    {
        "default": either((Scalar, boolean), (Seq, STRINGS), expected="true, false or a list"),
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
    "hooks": mapping,
    "id_tokens": mapping,
    "identity": text,
    "image": IMAGE,
    "interruptible": boolean,
    "retry": RETRY,
    "services": SERVICES,
    "tags": STRINGS,
    "timeout": duration(MONTH),
}

JOB: Final[dict[str, Shape]] = {
    **DEFAULTS,
    "allow_failure": ALLOW_FAILURE,
    "coverage": _coverage,
    "dast_configuration": mapping,
    "dependencies": STRINGS,
    "environment": ENVIRONMENT,
    "except": POLICY,
    "extends": ONE_OR_STRINGS,
    "inherit": INHERIT,
    "inputs": mapping,
    "manual_confirmation": text,
    "needs": NEEDS,
    "only": POLICY,
    "pages": either((Scalar, boolean), (Map, mapping), expected="true, false or a mapping"),
    "parallel": PARALLEL,
    "publish": text,
    "release": mapping,
    "resource_group": _resource_group,
    "rules": _rules(_rule),
    "run": several(mapping),
    "script": SCRIPT,
    "secrets": mapping,
    "stage": filled,
    "start_in": duration(WEEK),
    "trigger": either((Scalar, filled), (Map, mapping), expected="a project's path or a mapping"),
    "variables": JOB_VARIABLES,
    "when": one_of("on_success", "on_failure", "always", "manual", "delayed"),
}

NOT_CARRIED_OUT: Final = frozenset(
    {"dast_configuration", "identity", "inputs", "pages", "publish", "release"}
)  # fmt: skip
"""Understood, but without effect here; each use is a warning and stands in `Plan.unsupported`."""

WORKFLOW: Final = fields({"name": text, "rules": _rules(_workflow_rule_fields), "auto_cancel": AUTO_CANCEL})

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
