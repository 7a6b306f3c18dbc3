"""Example payments for development: `python -m payments.seed` fills the file that `DATABASE` names.

Seeding twice changes nothing: a seed's idempotency key is its own id.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from payments.model import Payment
from payments.settings import Settings
from payments.store import Store


def seeds_file(start: Path = Path(__file__)) -> Path:
    """`seeds/payments.json` of the nearest folder above that has one: a checkout and an image differ in depth."""
    for folder in start.resolve().parents:
        candidate = folder / "seeds" / "payments.json"
        if candidate.is_file():
            return candidate
    raise FileNotFoundError("no seeds/payments.json above " + str(start))


def seed(store: Store) -> int:
    """Put every seed into the store; how many were new."""
    payments = [Payment.model_validate(one) for one in json.loads(seeds_file().read_text("utf-8"))]
    return sum(store.take_once(f"seed-{payment.id}", payment)[1] for payment in payments)


def main() -> int:
    """The command. Exit code 2 when there is no file to seed."""
    settings = Settings.load(os.environ)
    if settings.database == ":memory:":
        print("set DATABASE to a file, or start the service with SEED_DATA=true", file=sys.stderr)
        return 2
    store = Store(settings.database)
    try:
        print(f"{seed(store)} payments added to {settings.database}")
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
