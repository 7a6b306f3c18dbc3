"""The traces of local runs: written beside their logs when they end, read again by `aegis trace`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from aegis import __version__
from aegis.bootstrap.explain import runs_folder
from aegis.core import codec
from aegis.core.errors import NotFound, UserError
from aegis.core.plan import Plan
from aegis.core.ports import Ledger
from aegis.observe import otlp, waterfall
from aegis.observe.spans import RunTrace, trace_of

FILE: Final = "trace.json"


def write(directory: Path, ledger: Ledger, plan: Callable[[str], Plan], runs: Iterable[str]) -> tuple[str, ...]:
    """Write the trace of a run and of its children; the course of the first in sentences."""
    traces: list[RunTrace] = []
    for run in runs:
        made = trace_of(ledger.subject(f"run/{run}"), plan(run), version=__version__)
        if made is not None:
            traces.append(made)
    document = otlp.document(traces)
    (directory / FILE).write_bytes(codec.written(document))
    return waterfall.summary(waterfall.read({"resourceSpans": document["resourceSpans"][:1]})[0]) if traces else ()


def is_local(run: str) -> bool:
    """Whether a local run of that id left a trace; without an id: whether the last one did."""
    return "/" not in run and (runs_folder() / (run or "latest") / FILE).is_file()


def read(run: str) -> dict[str, Any]:
    """The trace of a local run, the last one without an id; `NotFound`."""
    file = runs_folder() / (run or "latest") / FILE
    if not file.is_file():
        raise NotFound("no-local-run", "no run of this working tree left a trace", hint="aegis run")
    try:
        found = json.loads(file.read_bytes())
    except ValueError as error:
        raise UserError("not-a-trace", f"{file} cannot be read: {error}") from error
    return dict(found)
