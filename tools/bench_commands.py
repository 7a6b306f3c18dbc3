"""Start-up of what people and jobs call often."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from figures import AEGIS, ROOT, Figure, figure


def figures(_: argparse.Namespace) -> Iterator[Figure]:
    """Whole processes of `aegis`, and what a job's commands load."""
    whole = "whole process, start to end, the first left out"
    yield figure("aegis --version", "ms", timed(["--version"], 7), whole, target=80)
    pipeline = ROOT / "examples" / "shop" / "orders"
    yield figure("aegis lint of the example", "ms", timed(["lint", str(pipeline)], 7), whole, target=200)
    for verb in ("project", "scan", "image", "wheel"):
        how = "`-c 'import …'` of all that the command loads, less a bare interpreter"
        code = f"import aegis.cli.root, aegis.cli.{verb}, aegis.bootstrap.{verb}"
        values = [a - b for a, b in zip(imported(code), imported("pass"), strict=True)]
        yield figure(f"aegis {verb} …: loading", "ms", values, how)


def timed(arguments: Sequence[str], times: int, at: Path | None = None) -> list[float]:
    """Milliseconds of whole processes; the first, which finds things cold, is left out."""
    found = []
    for _ in range(times + 1):
        begun = time.perf_counter()
        done = subprocess.run([*AEGIS, *arguments], cwd=at, capture_output=True, check=False)
        found.append((time.perf_counter() - begun) * 1000)
        if done.returncode:
            raise RuntimeError(f"aegis {' '.join(arguments)}: {done.stderr.decode()[-400:]}")
    return found[1:]


def imported(code: str, times: int = 5) -> list[float]:
    """Milliseconds of processor time of a Python process that only runs `code`."""
    found = []
    for _ in range(times):
        process = subprocess.Popen([sys.executable, "-c", code])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        found.append((usage.ru_utime + usage.ru_stime) * 1000)
    return sorted(found)
