"""Faults at every step of a pipeline from a push to production: each is tried, the server started again, and everything compared.

    python tools/soak_faults.py [--seconds 1800] [--workers N] [--seed N] [--actions kill,partial,error] [--only POINT] [--json FILE]
    python tools/soak_faults.py --database [--actions slay,slay-backend,kill,stop] …
    python tools/soak_faults.py --disk …

The crossings of one undisturbed pipeline are recorded (`tests/support/crossings.py`); then at each of them, in an order drawn by the
seed, one fault happens (`tests/support/fault_story.py` and, with the ledger in PostgreSQL, `fault_database.py` say which and what must hold). Prints a table: point × action → tried and survived.
Leaves with 1 when one did not survive.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.fault_database import DatabaseStories
from support.fault_disk import DiskStories
from support.fault_story import Case, Outcome, Stories, cases

ALL = {
    "server": "kill,partial,error,clock+3600,clock-3600,clock+82800,clock-86400",
    "database": "slay,slay-backend,kill,stop",
    "disk": "full",
}
"""What is tried unless something is asked for. A clock that jumps by a whole day lets approvals expire, as it must."""


def tried(stories: Stories, wanted: Sequence[Case], seconds: float, workers: int) -> list[Outcome]:
    """Tell the stories until they are told or time is up."""
    until = time.monotonic() + seconds
    done: list[Outcome] = []
    lock = threading.Lock()

    def tell(case: Case) -> None:
        if time.monotonic() > until:
            return
        outcome = stories.told(case)
        with lock:
            done.append(outcome)
            state = "not reached" if not outcome.reached else "survived" if not outcome.wrong else "WRONG"
            sys.stderr.write(
                f"{len(done)}/{len(wanted)} {case}: {state}{''.join(f'{chr(10)}    {one}' for one in outcome.wrong)}\n"
            )
            sys.stderr.flush()

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(tell, wanted))
    return done


def table(outcomes: Iterable[Outcome]) -> tuple[str, dict[str, dict[str, dict[str, int]]]]:
    """Point × action → tried and survived, as text and as a document."""
    counted: dict[str, dict[str, dict[str, int]]] = defaultdict(
        lambda: defaultdict(lambda: {"tried": 0, "survived": 0, "repeated": 0, "not_reached": 0})
    )
    for one in outcomes:
        action = one.case.action if one.case.action == "partial" else f"{one.case.action} {one.case.when}"
        cell = counted[one.case.point][action]
        cell["tried"] += int(one.reached)
        cell["survived"] += int(one.reached and not one.wrong)
        cell["repeated"] += int(one.attempts > 0)
        cell["not_reached"] += int(not one.reached)
    lines = []
    for point in sorted(counted):
        shown = [f"{action} {cell['survived']}/{cell['tried']}" for action, cell in sorted(counted[point].items())]
        lines.append(f"{point:18} {'  '.join(shown)}")
    lines.append("")
    for action in sorted({action for cells in counted.values() for action in cells}):
        cells = [found[action] for found in counted.values() if action in found]
        lines.append(f"{action:20} {sum(one['survived'] for one in cells)} of {sum(one['tried'] for one in cells)}")
    every = [cell for cells in counted.values() for cell in cells.values()]
    total = {name: sum(cell[name] for cell in every) for name in ("tried", "survived", "repeated", "not_reached")}
    lines.append(
        f"{total['survived']} of {total['tried']} survived; in {total['repeated']} a job was carried out again, and its"
        f" lost attempt is recorded; {total['not_reached']} were not reached"
    )
    return "\n".join(lines), {point: {**cells} for point, cells in counted.items()}


def main() -> int:
    """Ask, tell, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))  # noqa: S311 - a seed
    parser.add_argument("--database", action="store_true", help="the ledger in PostgreSQL, and a standby")
    parser.add_argument("--disk", action="store_true", help="a small disk that fills up")
    parser.add_argument("--actions", help="default: all that there are")
    parser.add_argument("--only", default="", help="points that begin so")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="aegis-faults-"))
    usual = ALL["database" if options.database else "disk" if options.disk else "server"]
    actions = (options.actions or usual).split(",")
    try:
        if options.database:
            stories: Stories = DatabaseStories(root=root)
        elif options.disk:
            stories = DiskStories(root=root)
        else:
            stories = Stories(root=root)
        stories.prepare()
        crossings = [one for one in stories.recorded() if one[0].startswith(options.only)]
        wanted = cases(crossings, actions)
        random.Random(options.seed).shuffle(wanted)  # noqa: S311 - as above
        begun = time.monotonic()
        outcomes = tried(stories, wanted, options.seconds, options.workers)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    text, document = table(outcomes)
    took = time.monotonic() - begun
    sys.stdout.write(
        f"{text}\n{len(crossings)} crossings, {len(outcomes)} of {len(wanted)} faults in {took:.0f} s, seed {options.seed}\n"
    )
    if options.json:
        options.json.write_text(
            json.dumps(
                {"seed": options.seed, "crossings": len(crossings), "seconds": took, "points": document}, indent=1
            )
        )
    return int(any(one.wrong for one in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
