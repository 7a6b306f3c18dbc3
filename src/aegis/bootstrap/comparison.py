"""Gathers both sides of `aegis run --compare`: a run of a server through its API, and what the local run was made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aegis.adapters import files_worktree
from aegis.bootstrap.client import connect
from aegis.bootstrap.explain import inputs_in
from aegis.bootstrap.pipeline import Local
from aegis.core.errors import AegisError, NotFound
from aegis.core.plan import Plan

if TYPE_CHECKING:
    from aegis.execution.explain import Inputs


def server_run(run: str, url: str, data: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The view of a run, and what it was made of (empty where an older server does not tell); `NotFound`."""
    with connect(url, data=data) as server:
        view: dict[str, Any] = server.get(f"runs/{run}")
        try:
            inputs: dict[str, Any] = server.get(f"runs/{run}/inputs")
        except NotFound:
            inputs = {}
    return view, inputs


def local_inputs(directory: Path, plan: Plan) -> dict[str, Inputs]:
    """What the jobs of the local run in `directory` were made of."""
    found = ((job.name, inputs_in(directory, job.name)) for job in plan.jobs)
    return {name: made for name, made in found if made is not None}


def files_apart(local: Local, commit: str) -> tuple[str, ...] | None:
    """The files of the working tree that are not as in `commit`; None where it is not known here."""
    if local.tree is None:
        return None
    try:
        return files_worktree.changed_since(local.tree, files_worktree.resolve(local.tree, commit))
    except AegisError:
        return None
