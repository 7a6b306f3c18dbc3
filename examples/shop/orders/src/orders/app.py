"""The HTTP side of orders.

An order is kept before payments is asked: whatever happens then, the customer's order is not lost. While payments
cannot be reached the order is accepted (202) as `pending`, and `POST /orders/{id}/payment` tries again.

An order placed with an `Idempotency-Key` is placed once, however often a customer's impatient browser sends it.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Query, Response, status
from shop_shared.correlation import CorrelationMiddleware
from shop_shared.health import health_router

from orders.model import Identifier, Order, OrderRequest
from orders.payments import Payments, PaymentsUnavailable
from orders.settings import Settings
from orders.store import Store

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """The application, with a store and a payments client of its own."""
    store = Store(settings.database)
    payments = Payments(str(settings.payments_url), settings.payments_timeout)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        payments.close()
        store.close()

    app = FastAPI(title="Orders", version=settings.aegis_release, lifespan=lifespan)
    app.add_middleware(CorrelationMiddleware)
    # Payments is no readiness check: without it orders can still be taken and read.
    app.include_router(health_router(settings, {"store": store.check}))

    @app.post("/orders", status_code=status.HTTP_201_CREATED)
    def place_order(
        request: OrderRequest,
        response: Response,
        idempotency_key: Annotated[str | None, Header(min_length=8, max_length=128)] = None,
    ) -> Order:
        placed = Order.placed(request, new_id(idempotency_key), datetime.now(UTC))
        if not store.add(placed):
            placed = _kept(store, placed)
            response.status_code = status.HTTP_200_OK
        return _settle(store, payments, placed, response)

    @app.post("/orders/{order_id}/payment")
    def pay_again(order_id: Identifier, response: Response) -> Order:
        return _settle(store, payments, _find(store, order_id), response)

    @app.get("/orders/{order_id}")
    def read_order(order_id: Identifier) -> Order:
        return _find(store, order_id)

    @app.get("/orders")
    def list_orders(limit: Annotated[int, Query(ge=1, le=200)] = 50) -> list[Order]:
        return store.latest(limit)

    return app


def new_id(key: str | None) -> str:
    """An order's id: unguessable, and the same for the same key."""
    return f"ord_{sha256(key.encode()).hexdigest()[:24] if key else secrets.token_hex(12)}"


def _find(store: Store, order_id: str) -> Order:
    order = store.get(order_id)
    if order is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no order {order_id}")
    return order


def _kept(store: Store, asked: Order) -> Order:
    """The order that an idempotency key stands for; 409 when it was another one."""
    kept = _find(store, asked.id)
    if (kept.customer, kept.lines) != (asked.customer, asked.lines):
        detail = "this Idempotency-Key belongs to another order; use a new key for a new order"
        raise HTTPException(status.HTTP_409_CONFLICT, detail)
    return kept


def _settle(store: Store, payments: Payments, order: Order, response: Response) -> Order:
    """The order after asking payments, where it still has to be asked."""
    if order.status != "pending":
        return order
    try:
        answer = payments.pay(order)
    except PaymentsUnavailable as error:
        log.warning("order %s stays pending: %s", order.id, error)
        response.status_code = status.HTTP_202_ACCEPTED
        response.headers["Retry-After"] = "5"
        response.headers["Location"] = f"/orders/{order.id}"
        return order.model_copy(update={"reason": f"{error}; POST /orders/{order.id}/payment tries again"})
    settled = order.settled(answer.id, taken=answer.status == "taken", reason=answer.reason)
    store.replace(settled)
    return settled


app = create_app(Settings.load(os.environ))
