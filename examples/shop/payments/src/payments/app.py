"""The HTTP side of payments.

A payment is asked for with an `Idempotency-Key`: asking again with the same key, after a timeout for instance,
answers the first payment and takes nothing twice.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Response, status
from shop_shared.correlation import CorrelationMiddleware
from shop_shared.health import health_router

from payments.model import Identifier, Payment, PaymentRequest, judge
from payments.settings import Settings
from payments.store import KeyReused, Store


def create_app(settings: Settings) -> FastAPI:
    """The application, with a store of its own."""
    store = Store(settings.database)
    limit = Decimal(settings.payment_limit)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        store.close()

    app = FastAPI(title="Payments", version=settings.aegis_release, lifespan=lifespan)
    app.add_middleware(CorrelationMiddleware)
    app.include_router(health_router(settings, {"store": store.check}))

    @app.post("/payments", status_code=status.HTTP_201_CREATED)
    def take_payment(
        request: PaymentRequest,
        response: Response,
        idempotency_key: Annotated[str, Header(min_length=8, max_length=128)],
    ) -> Payment:
        outcome, reason = judge(request, limit)
        proposed = Payment(
            id=f"pay_{secrets.token_hex(8)}",
            order_id=request.order_id,
            amount=request.amount,
            status=outcome,
            reason=reason,
            at=datetime.now(UTC),
        )
        try:
            payment, new = store.take_once(idempotency_key, proposed)
        except KeyReused:
            detail = "this Idempotency-Key belongs to another payment; use a new key for a new payment"
            raise HTTPException(status.HTTP_409_CONFLICT, detail) from None
        if not new:
            response.status_code = status.HTTP_200_OK
        return payment

    @app.get("/payments/{payment_id}")
    def read_payment(payment_id: Identifier) -> Payment:
        payment = store.get(payment_id)
        if payment is None:
            raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no payment {payment_id}")
        return payment

    @app.get("/payments")
    def list_payments(order_id: Identifier) -> list[Payment]:
        return store.of_order(order_id)

    return app


app = create_app(Settings.load(os.environ))
