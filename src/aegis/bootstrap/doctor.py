"""What would keep Aegis from working on this machine: looked at for real, one finding each."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from typing import Any

from aegis.core.errors import AegisError


def examine(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """The findings: name, ok, detail, mend."""
    return [_python(), _git(environ), *_isolation(), *_engines(environ), _traefik(), _uv()]


def _finding(name: str, *, ok: bool, detail: str, mend: str = "") -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": detail, "mend": "" if ok else mend}


def _python() -> dict[str, Any]:
    return _finding(
        "python", ok=sys.version_info >= (3, 11), detail=sys.version.split()[0], mend="install Python 3.11 or newer"
    )


def _git(environ: Mapping[str, str]) -> dict[str, Any]:
    found = shutil.which("git", path=environ.get("PATH"))
    return _finding("git", ok=found is not None, detail=found or "not found", mend="install git")


def _isolation() -> list[dict[str, Any]]:
    from aegis.adapters.control_groups import control_groups  # noqa: PLC0415 - tried only here
    from aegis.adapters.executor_namespace import isolation_available, networks_available  # noqa: PLC0415 - as above

    found, networks, groups = isolation_available(), networks_available(), control_groups()
    bounds = "each process of a job is bounded, not the job as a whole"
    if groups is not None:
        bounds = f"jobs are bounded as a whole: {', '.join(groups.controllers)}"
        groups.close()
    return [
        _finding("isolation", ok=found.ok, detail=found.detail, mend=found.mend),
        _finding(
            "job-network",
            ok=networks,
            detail="jobs have networks of their own" if networks else "jobs share the machine's network",
            mend=found.mend or "allow network namespaces, or declare `runner: {network: all}`",
        ),
        _finding("job-limits", ok=True, detail=bounds),
    ]


def _engines(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Neither is needed: one that is not there is no finding against this machine."""
    from aegis.bootstrap import engines  # noqa: PLC0415 - as above

    told = []
    for name in engines.ENGINES:
        try:
            found = engines.find(name, environ)
            how = f"started when needed: {found.service[0]}" if found.service else f"answers at {found.socket}"
        except AegisError as error:
            how = f"not used: {error.message} ({error.hint})"
        told.append(_finding(name, ok=True, detail=how))
    return told


def _traefik() -> dict[str, Any]:
    from aegis.adapters.traffic_traefik import find_binary  # noqa: PLC0415 - looked for only here

    try:
        return _finding("traefik", ok=True, detail=find_binary())
    except AegisError as error:
        return _finding("traefik", ok=False, detail=error.message, mend=error.hint)


def _uv() -> dict[str, Any]:
    from pathlib import Path  # noqa: PLC0415 - as above

    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    return _finding("uv", ok=found is not None, detail=found or "not found", mend="pip install 'aegis-delivery[up]'")
