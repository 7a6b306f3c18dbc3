"""Example orders for development: `ORDERS_URL=http://127.0.0.1:8000 python -m orders.seed`."""

from __future__ import annotations

import sys
from pathlib import Path

from shop_shared.seeding import seed_command

if __name__ == "__main__":
    sys.exit(seed_command("orders", "/orders", Path(__file__)))
