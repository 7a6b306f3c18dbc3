"""The shapes of keywords that reach beyond the job: triggers, releases, pages, tokens, secrets, hooks, steps, inputs.

Each is checked as GitLab checks it. What becomes of them is decided elsewhere. Source: GitLab's CI/CD YAML reference.
"""

from __future__ import annotations

from typing import Final

from aegis.pipeline.diagnostics import Report
from aegis.pipeline.document import Map, Node, Scalar, Seq
from aegis.pipeline.patterns import Rare
from aegis.pipeline.shapes import (
    Shape,
    anything,
    at_least_one,
    boolean,
    duration,
    either,
    exactly_one,
    fields,
    filled,
    mapping,
    named,
    nested,
    one_of,
    several,
    text,
)

_TIME: Final = Rare(r"\d{4}-?\d\d-?\d\d(?:[T ]\d\d(?::?\d\d(?::?\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?")
STRINGS: Final = several(text)
ONE_OR_STRINGS: Final = several(text, single=True)
LINK_TYPES: Final = ("other", "runbook", "image", "package")
INPUT_TYPES: Final = ("string", "number", "boolean", "array")
INPUTS_MAX: Final = 50
TRIGGER_INCLUDES_MAX: Final = 3


def _moment(node: Node, label: str, report: Report) -> None:
    if not isinstance(node, Scalar) or _TIME.fullmatch(node.text) is None:
        report.error(
            "invalid-value", f"`{label}` must be a date and time of ISO 8601", node.where, "2026-05-01T08:00:00Z"
        )


RELEASE: Final = fields(
    {
        "tag_name": filled,
        "tag_message": text,
        "name": text,
        "description": filled,
        "ref": text,
        "released_at": _moment,
        "milestones": ONE_OR_STRINGS,
        "assets": fields(
            {
                "links": several(
                    fields(
                        {"name": filled, "url": filled, "filepath": text, "link_type": one_of(*LINK_TYPES)},
                        required=("name", "url"),
                    )
                )
            },
            required=("links",),
        ),
    },
    required=("tag_name", "description"),
)

PAGES: Final = either(
    (Scalar, boolean),
    (
        Map,
        fields({"path_prefix": text, "expire_in": duration(None, "never", variable=True), "publish": text}),
    ),
    expected="true, false or a mapping",
)

ID_TOKENS: Final = named(fields({"aud": several(filled, single=True)}, required=("aud",)))

_VAULT: Final = either(
    (Scalar, filled),
    (
        Map,
        fields(
            {
                "engine": fields({"name": filled, "path": filled}, required=("name", "path")),
                "path": filled,
                "field": filled,
            },
            required=("engine", "path", "field"),
        ),
    ),
    expected="`path/field@engine` or a mapping",
)
_NAMED_VERSION: Final = fields({"name": filled, "version": anything}, required=("name",))
_AWS: Final = either(
    (Scalar, filled),
    (
        Map,
        fields(
            dict.fromkeys(
                ("secret_id", "version_id", "version_stage", "region", "role_arn", "role_session_name", "field"), filled
            ),
            required=("secret_id",),
        ),
    ),
    expected="a secret's id or a mapping",
)
SECRET_SOURCES: Final[dict[str, Shape]] = {
    "vault": _VAULT,
    "azure_key_vault": _NAMED_VERSION,
    "gcp_secret_manager": _NAMED_VERSION,
    "aws_secrets_manager": _AWS,
    "akeyless": mapping,
    "gitlab_secrets_manager": fields({"name": filled, "source": text}, required=("name",)),
}
SECRETS: Final = named(
    exactly_one(tuple(SECRET_SOURCES), fields({**SECRET_SOURCES, "file": boolean, "token": filled})),
)

HOOKS: Final = fields({"pre_get_sources_script": nested(text)})
DAST: Final = at_least_one(
    ("site_profile", "scanner_profile"), fields({"site_profile": filled, "scanner_profile": filled})
)

RUN: Final = several(
    exactly_one(
        ("step", "script", "func"),
        fields(
            {
                "name": filled,
                "step": either((Scalar, filled), (Map, mapping), expected="an address or a mapping"),
                "func": either((Scalar, filled), (Map, mapping), expected="an address or a mapping"),
                "script": filled,
                "inputs": mapping,
                "env": mapping,
                "export_env": anything,
            },
            required=("name",),
        ),
    )
)

_input: Final = fields(
    {"type": one_of(*INPUT_TYPES), "default": anything, "description": text, "options": several(anything, most=50), "regex": text},
    required=("default",),
)  # fmt: skip


def INPUTS(node: Node, label: str, report: Report) -> None:  # noqa: N802 - a shape like its neighbours
    """A job's `inputs`: at most fifty, each with a default, since a job starts by itself."""
    if isinstance(node, Map) and len(node.entries) > INPUTS_MAX:
        report.error("too-many", f"`{label}` has {len(node.entries)} entries; at most {INPUTS_MAX}", node.where)
    named(_input)(node, label, report)


KUBERNETES: Final = fields(
    {
        "agent": text,
        "namespace": text,
        "flux_resource_path": text,
        "dashboard": fields({"namespace": text, "flux_resource_path": text}),
        "managed_resources": fields({"enabled": boolean}),
    }
)

FORWARD: Final = fields({"yaml_variables": boolean, "pipeline_variables": boolean})
_STRATEGY: Final = one_of("depend", "mirror")
_child_include: Final = fields(
    {
        "local": filled,
        "file": several(filled, single=True),
        "project": filled,
        "ref": text,
        "template": filled,
        "component": filled,
        "artifact": filled,
        "job": filled,
        "remote": filled,
        "inputs": mapping,
        "rules": several(mapping),
        "integrity": text,
    }
)
CHILD_INCLUDES: Final = several(
    either((Scalar, filled), (Map, _child_include), expected="a path or a mapping"),
    most=TRIGGER_INCLUDES_MAX,
    single=True,
)
_project_trigger: Final = fields(
    {"project": filled, "branch": text, "strategy": _STRATEGY, "forward": FORWARD, "inputs": mapping},
    required=("project",),
)
_child_trigger: Final = fields(
    {"include": CHILD_INCLUDES, "strategy": _STRATEGY, "forward": FORWARD, "inputs": mapping}, required=("include",)
)


def _trigger(node: Node, label: str, report: Report) -> None:
    if not isinstance(node, Map):
        mapping(node, label, report)
    elif "include" in node.entries:
        _child_trigger(node, label, report)
        _check_child(node.get("include"), label, report)
    elif "project" in node.entries:
        _project_trigger(node, label, report)
    else:
        report.error("missing-key", f"`{label}` must name either `project` or `include`", node.where)


def _check_child(node: Node | None, label: str, report: Report) -> None:
    """An artifact names the job that made it, files of another project are named."""
    for one in node.items if isinstance(node, Seq) else (node,):
        if not isinstance(one, Map):
            continue
        if one.has("artifact") and not one.has("job"):
            report.error("missing-key", f"`{label}: include: artifact` needs the `job` that makes it", one.where)
        if one.has("project") and not one.has("file"):
            report.error("missing-key", f"`{label}: include: project` needs `file`", one.where)


TRIGGER: Final = either((Scalar, filled), (Map, _trigger), expected="a project's path or a mapping")
