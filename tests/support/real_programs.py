"""Programs that `make test-real` builds (`tools/go_programs.py`), by name."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools"))

from components import package_program
from go_programs import program


def real_program(name: str) -> str:
    """Its path; built now where that has not happened. A program that cannot be had fails the test that asks."""
    found = program(name)
    assert found is not None, f"{name} cannot be built here"
    return str(found)


def python_program(name: str) -> str:
    """A program of a PyPI package, in an environment of its own."""
    found = package_program(name)
    assert found is not None, f"{name} cannot be installed here"
    return str(found)
