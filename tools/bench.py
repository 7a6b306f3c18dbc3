"""The figures of Aegis on this machine, as a table or JSON: what was measured, how, against what.

    python tools/bench.py [--quick] [--only PART[,PART]] [--json] [--list]

A part is a file `tools/bench_PART.py` with a function `figures(options)` that yields figures (`tools/figures.py`); the first
line of its docstring says what it does. A part that cannot be measured is shown as missed and says why; the others go on.
What depends on the machine's speed is also shown scaled by a loop that is timed before and after each part.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from figures import Figure, document, figure, line, loop, table

HERE: Final = Path(__file__).resolve().parent
LAST: Final = ("recovery", "demo")
"""What takes longest comes at the end; everything else in the order of its name."""
SLOW: Final = ("demo",)
"""What `--quick` leaves out."""


def parts(folder: Path = HERE) -> dict[str, str]:
    """Every part by name, with the first line of its docstring."""
    found = {}
    for path in folder.glob("bench_*.py"):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem.removeprefix("bench_")] = said.partition("\n")[0]
    return dict(sorted(found.items(), key=lambda one: (LAST.index(one[0]) if one[0] in LAST else -1, one[0])))


def measured(part: str, options: argparse.Namespace) -> list[Figure]:
    """The figures of one part; an error becomes a missed figure after those that were measured before it."""
    found: list[Figure] = []
    try:
        for one in importlib.import_module(f"bench_{part}").figures(options):
            found.append(one)
            sys.stderr.write(f"bench:   {line(one)}\n")
    except Exception as error:  # noqa: BLE001 - what could not be measured is shown as missed, the rest goes on
        failed = f"{type(error).__name__}: {str(error)[-500:]}"
        found.append(figure(f"{part}: could not be measured", "", (), "", failed=failed))
        sys.stderr.write(f"bench:   {failed}\n")
    return found


def everything(wanted: Iterable[str], options: argparse.Namespace) -> tuple[list[Figure], list[float]]:
    """All figures, each with the loop around its part, and the loops."""
    loops, found = [loop()], list[Figure]()
    for part in wanted:
        begun = time.monotonic()
        sys.stderr.write(f"bench: {part}\n")
        here = measured(part, options)
        loops.append(loop())
        found += [replace(one, loop=round((loops[-2] + loops[-1]) / 2, 1)) for one in here]
        sys.stderr.write(f"bench: {part} took {time.monotonic() - begun:.0f} s\n")
    return found, loops


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. 0 whatever was missed: a benchmark informs, a test decides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--quick", action="store_true", help="200,000 events instead of 2 million, and no demo")
    parser.add_argument("--events", type=int, default=None, help="events of the large ledger")
    parser.add_argument("--only", default="", help="parts to measure, separated by commas")
    parser.add_argument("--list", action="store_true", help="name the parts and end")
    options = parser.parse_args(argv)
    known = parts()
    if options.list:
        sys.stdout.write("".join(f"{name:<12} {said}\n" for name, said in known.items()))
        return 0
    options.events = options.events or (200_000 if options.quick else 2_000_000)
    wanted = options.only.split(",") if options.only else [one for one in known if not (options.quick and one in SLOW)]
    if unknown := set(wanted) - set(known):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; parts are {', '.join(known)}")
    before = os.getloadavg()
    found, loops = everything(wanted, options)
    shown = document(found, loops, before)
    sys.stdout.write(json.dumps(shown, ensure_ascii=False, indent=1) + "\n" if options.json else table(shown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
