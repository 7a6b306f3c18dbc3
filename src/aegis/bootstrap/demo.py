"""Composes the demo's machine."""

from __future__ import annotations

import os
from pathlib import Path

from aegis.adapters.workshop_process import ProcessWorkshop
from aegis.core.errors import NotFound


def example_directory() -> Path:
    """The example workspace: of the checkout, or the copy that the distribution carries."""
    here = Path(__file__).resolve()
    for candidate in (here.parents[3] / "examples" / "shop", here.parents[1] / "demo" / "shop"):
        if (candidate / "platform" / "aegis.yaml").is_file():
            return candidate
    raise NotFound("no-example", "the example workspace is not installed", hint="run it from a checkout: make run")


def workshop(directory: str, port: int) -> ProcessWorkshop:
    """The machine on which the demo happens; `directory` is emptied."""
    return ProcessWorkshop(Path(directory).resolve(), example_directory(), dict(os.environ), port=port)
