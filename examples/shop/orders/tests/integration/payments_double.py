"""A payments service that keeps to the contract: a real server, with as little behind it as orders needs.

`contracts/payments.json` is what orders relies on. The payments team runs the same file against the real service.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from fastapi import FastAPI, Header
from shop_shared.correlation import CorrelationMiddleware, current_id


def payments_double() -> FastAPI:
    """The application; `state.taken` and `state.seen_ids` say what it was asked for."""
    app = FastAPI()
    app.add_middleware(CorrelationMiddleware)
    app.state.taken = {}
    app.state.seen_ids = []

    @app.post("/payments", status_code=201)
    def take(body: dict[str, Any], idempotency_key: Annotated[str, Header(min_length=8)]) -> dict[str, Any]:
        app.state.seen_ids.append(current_id())
        too_much = Decimal(body["amount"]["amount"]) > 10000
        payment = {
            "id": f"pay_{len(app.state.taken) + 1}",
            **body,
            "status": "declined" if too_much else "taken",
            "reason": "a single payment is at most 10000.00 EUR" if too_much else "",
        }
        return app.state.taken.setdefault(idempotency_key, payment)

    return app
