"""The whole story, once: `aegis demo --exit --json`."""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Iterator

from figures import AEGIS, Figure, figure


def figures(_: argparse.Namespace) -> Iterator[Figure]:
    """How long a push takes to production, by the ledger, and how long the demonstration takes."""
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
