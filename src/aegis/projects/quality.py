"""Ruff's findings as a GitLab code-quality report and as lines for people. Whether they block is the gates' to say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aegis.core.errors import ExternalError

REPORT: Final = "gl-code-quality-report.json"

# A fault at run time is critical, a weakness or likely mistake major, what makes reading harder minor, the rest info.
_SEVERITIES: Final = (
    ("critical", ("E9", "F821", "F822", "F823", "F7", "PLE", "invalid-syntax")),
    ("major", ("S", "B", "BLE", "ASYNC", "DTZ", "TRY", "F811", "F402", "F6", "PLW")),
    ("minor", ("F", "C90", "PLR", "SIM", "E7", "RET", "N", "ARG", "ERA", "UP", "PERF", "RUF")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One finding: GitLab's severity, ruff's rule, the place, what it says and ruff's page about it."""

    severity: str
    rule: str
    path: str
    line: int
    column: int
    message: str
    url: str = ""


def issues(output: bytes, root: str) -> tuple[Issue, ...]:
    """Ruff's JSON output as issues with paths relative to `root`, in the order of place."""
    try:
        items = json.loads(output)
    except ValueError as error:
        raise ExternalError("ruff-output", "ruff did not answer with JSON", hint="ruff --version") from error
    found = [_issue(item, root) for item in items if isinstance(item, Mapping)]
    return tuple(sorted(found, key=lambda one: (one.path, one.line, one.column, one.rule)))


def report(found: Iterable[Issue]) -> bytes:
    """GitLab's code-quality report (docs.gitlab.com, "Code Quality report format"). Fingerprints do not change with line numbers."""
    seen: dict[str, int] = {}
    items = []
    for one in found:
        base = f"{one.path}\0{one.rule}\0{one.message}"
        seen[base] = seen.get(base, 0) + 1
        items.append(
            {
                "description": f"{one.rule}: {one.message}",
                "check_name": one.rule,
                "fingerprint": hashlib.sha256(f"{base}\0{seen[base]}".encode()).hexdigest(),
                "severity": one.severity,
                "location": {"path": one.path, "lines": {"begin": one.line}, "positions": {"begin": {"line": one.line, "column": one.column}}},
                **({"content": {"body": f"See {one.url}"}} if one.url else {}),
            }
        )  # fmt: skip
    return json.dumps(items, indent=1).encode() + b"\n"


def _issue(item: Mapping[str, Any], root: str) -> Issue:
    rule = str(item.get("code") or "invalid-syntax")
    place = item.get("location") or {}
    path = str(item.get("filename", "")).replace("\\", "/").removeprefix(root.rstrip("/") + "/")
    return Issue(
        severity=_severity(rule),
        rule=rule,
        path=path,
        line=int(place.get("row", 1)),
        column=int(place.get("column", 1)),
        message=str(item.get("message", "")),
        url=str(item.get("url") or ""),
    )


def _severity(rule: str) -> str:
    for severity, prefixes in _SEVERITIES:
        if any(rule == prefix or (rule.startswith(prefix) and not rule[len(prefix)].isalpha()) for prefix in prefixes):
            return severity
    return "info"
