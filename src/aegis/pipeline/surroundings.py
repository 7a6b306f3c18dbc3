"""The shapes of what a job runs in and leaves: image, services, artifacts and reports, caches, environment.

Checked as GitLab checks them; what becomes of them is decided in `aegis.pipeline.jobs`.
"""

from __future__ import annotations

import re
from typing import Final

from aegis.pipeline.diagnostics import Report
from aegis.pipeline.document import Map, Node, Scalar, Seq
from aegis.pipeline.outward import KUBERNETES
from aegis.pipeline.patterns import Rare
from aegis.pipeline.shapes import (
    Shape,
    anything,
    boolean,
    duration,
    either,
    exactly_one,
    exclusive,
    fields,
    filled,
    matching,
    one_of,
    several,
    text,
)
from aegis.pipeline.variable_shapes import PLAIN_VARIABLES

STRINGS: Final = several(text)
ONE_OR_STRINGS: Final = several(text, single=True)

REPORTS: Final = (
    "accessibility", "annotations", "api_fuzzing", "browser_performance", "cluster_image_scanning", "codequality",
    "container_scanning", "coverage_fuzzing", "coverage_report", "cyclonedx", "dast", "dependency_scanning", "dotenv",
    "junit", "license_scanning", "load_performance", "lsif", "metrics", "performance", "repository_xray", "requirements",
    "requirements_v2", "sarif", "sast", "secret_detection", "terraform",
)  # fmt: skip


_DOCKER: Final = fields({"platform": text, "user": text})
_KUBERNETES_USER: Final = fields({"user": anything})
_PULL: Final = several(one_of("always", "if-not-present", "never"), single=True)
_IMAGE: Final[dict[str, Shape]] = {
    "name": filled,
    "entrypoint": STRINGS,
    "pull_policy": _PULL,
    "docker": _DOCKER,
    "kubernetes": _KUBERNETES_USER,
}
IMAGE: Final = either(
    (Scalar, filled), (Map, fields(_IMAGE, required=("name",))), expected="an image's name or a mapping"
)
SERVICES: Final = several(
    either(
        (Scalar, filled),
        (
            Map,
            fields({**_IMAGE, "alias": text, "command": STRINGS, "variables": PLAIN_VARIABLES}, required=("name",)),
        ),
        expected="an image's name or a mapping",
    )
)

_REPORT_SHAPES: Final[dict[str, Shape]] = {
    **dict.fromkeys(REPORTS, ONE_OR_STRINGS),
    "coverage_report": fields(
        {"coverage_format": one_of("cobertura", "jacoco"), "path": filled}, required=("coverage_format", "path")
    ),
}
_EXPOSE_AS: Final = matching(Rare(r"\w[-\w ]*", re.ASCII), "letters, digits, `-`, `_` and spaces, at most 100", 100)
_artifact_fields: Final = fields(
    {
        "paths": STRINGS,
        "exclude": STRINGS,
        "untracked": boolean,
        "when": one_of("on_success", "on_failure", "always"),
        "name": text,
        "expire_in": duration(None, "never"),
        "expose_as": _EXPOSE_AS,
        "public": boolean,
        "access": one_of("all", "developer", "maintainer", "none"),
        "reports": fields(_REPORT_SHAPES),
    }
)


def _artifacts(node: Node, label: str, report: Report) -> None:
    _artifact_fields(node, label, report)
    if not isinstance(node, Map) or not node.has("expose_as"):
        return
    paths = node.get("paths")
    if not isinstance(paths, Seq) or not paths.items:
        report.error("missing-key", f"`{label}: expose_as` needs `paths`", node.where)
        return
    for path in paths.items:
        if isinstance(path, Scalar) and "*" in path.text:
            report.error(
                "invalid-value", f"`{label}: paths` cannot have `*` beside `expose_as`", path.where, "name a directory"
            )


ARTIFACTS: Final = exclusive(("access", "public"), _artifacts)


def _decoded(key: str) -> str:
    for sign, code in (("/", "%2f"), (".", "%2e")):
        key = key.replace(code, sign).replace(code.upper(), sign)
    return key


def _cache_name(node: Node, label: str, report: Report) -> None:
    text(node, label, report)
    plain = _decoded(node.text) if isinstance(node, Scalar) else ""
    if "/" in plain:
        report.error("invalid-value", f"`{label}` cannot contain `/`", node.where, "use `-`, or `$CI_COMMIT_REF_SLUG`")
    elif plain in {".", ".."}:
        report.error(
            "invalid-value", f"`{label}` cannot be `{node.text if isinstance(node, Scalar) else ''}`", node.where
        )


_KEY: Final = either(
    (
        Map,
        exactly_one(
            ("files", "files_commits"),
            fields(
                {
                    "files": several(text, most=2, least=1),
                    "files_commits": several(text, most=2, least=1),
                    "prefix": _cache_name,
                }
            ),
        ),
    ),
    (Scalar, _cache_name),
    expected="text or a mapping with `files`",
)
_CACHE: Final = fields(
    {
        "key": _KEY,
        "paths": STRINGS,
        "untracked": boolean,
        "unprotect": boolean,
        "when": one_of("on_success", "on_failure", "always"),
        "policy": matching(Rare(r"pull-push|push|pull|.*\$\{?\w+.*", re.ASCII), "pull-push, push, pull or a variable"),
        "fallback_keys": several(text, most=5),
    }
)
CACHE: Final = several(_CACHE, most=4, single=True)

TIERS: Final = ("production", "staging", "testing", "development", "other")


def _tier(node: Node, label: str, report: Report) -> None:
    if not (isinstance(node, Scalar) and isinstance(node.value, str) and "$" in node.value):
        one_of(*TIERS)(node, label, report)


_ENVIRONMENT_NAME: Final = matching(
    Rare(r"[A-Za-z0-9_/${}. -]+"), "letters, digits, spaces and `-_/$}{.`, at most 255", 255
)
ENVIRONMENT: Final = either(
    (Scalar, _ENVIRONMENT_NAME),
    (
        Map,
        fields(
            {
                "name": _ENVIRONMENT_NAME,
                "url": matching(Rare(".*", re.DOTALL), "text of at most 255 characters", 255),
                "action": one_of("start", "prepare", "stop", "verify", "access"),
                "on_stop": text,
                "auto_stop_in": duration(None, "never", variable=True),
                "deployment_tier": _tier,
                "kubernetes": KUBERNETES,
            },
            required=("name",),
        ),
    ),
    expected="an environment's name or a mapping",
)
