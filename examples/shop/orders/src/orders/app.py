"""The HTTP side of orders.

An order is kept before payments is asked: whatever happens then, the customer's order is not lost, and
`POST /orders/{id}/payment` tries again.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, status
from fastapi.responses import JSONResponse
from shop_shared.correlation import CorrelationMiddleware
from shop_shared.health import health_router

from orders.model import Identifier, Order, OrderRequest
from orders.payments import Payments, PaymentsUnavailable
from orders.seed import seed
from orders.settings import Settings
from orders.store import Store

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """The application, with a store and a payments client of its own."""
    store = Store(settings.database)
    payments = Payments(str(settings.payments_url), settings.payments_timeout)
    if settings.seed_data:
        seed(store)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        payments.close()
        store.close()

    app = FastAPI(title="Orders", version=settings.aegis_release, lifespan=lifespan)
    app.add_middleware(CorrelationMiddleware)
    # Payments is no readiness check: without it orders can still be taken and read.
    app.include_router(health_router(settings, {"store": store.check}))

    @app.post("/orders", status_code=status.HTTP_201_CREATED, response_model=Order)
    def place_order(request: OrderRequest) -> Order | JSONResponse:
        order = Order.placed(request, f"ord_{secrets.token_hex(8)}", datetime.now(UTC))
        store.add(order)
        return _settle(store, payments, order)

    @app.post("/orders/{order_id}/payment", response_model=Order)
    def pay_again(order_id: Identifier) -> Order | JSONResponse:
        order = _find(store, order_id)
        return order if order.status != "pending" else _settle(store, payments, order)

    @app.get("/orders/{order_id}")
    def read_order(order_id: Identifier) -> Order:
        return _find(store, order_id)

    @app.get("/orders")
    def list_orders(limit: Annotated[int, Query(ge=1, le=200)] = 50) -> list[Order]:
        return store.latest(limit)

    return app


def _find(store: Store, order_id: str) -> Order:
    order = store.get(order_id)
    if order is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no order {order_id}")
    return order


def _settle(store: Store, payments: Payments, order: Order) -> Order | JSONResponse:
    """The order after asking payments, or the answer that says it still waits and how to go on."""
    try:
        answer = payments.pay(order)
    except PaymentsUnavailable as error:
        log.warning("order %s stays pending: %s", order.id, error)
        return JSONResponse(
            {
                "detail": f"{error}; the order is kept",
                "order_id": order.id,
                "retry": f"POST /orders/{order.id}/payment",
            },
            status.HTTP_503_SERVICE_UNAVAILABLE,
            headers={"Retry-After": "5"},
        )
    settled = order.settled(answer.id, taken=answer.status == "taken", reason=answer.reason)
    store.replace(settled)
    return settled


app = create_app(Settings.load(os.environ))
