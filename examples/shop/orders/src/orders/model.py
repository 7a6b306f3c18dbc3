"""What an order is and how it changes. No I/O.

pending ──▶ paid
   │ └────▶ declined
   └ stays pending while payments cannot be reached
"""

from __future__ import annotations

from datetime import datetime
from functools import reduce
from operator import add
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from shop_shared.money import Money

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class Line(BaseModel):
    """Some of one article, at the price of the moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sku: Identifier
    quantity: Annotated[int, Field(ge=1, le=1000)]
    unit_price: Money


class OrderRequest(BaseModel):
    """What a customer asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    customer: Text
    lines: Annotated[tuple[Line, ...], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _one_currency(self) -> OrderRequest:
        currencies = sorted({line.unit_price.currency for line in self.lines})
        if len(currencies) > 1:
            raise ValueError(f"one order is in one currency, not in {' and '.join(currencies)}")
        return self

    @property
    def total(self) -> Money:
        """What the order costs."""
        return reduce(add, (line.unit_price * line.quantity for line in self.lines))


class Order(BaseModel):
    """An order as it stands."""

    model_config = ConfigDict(frozen=True)

    id: Identifier
    customer: str
    lines: tuple[Line, ...]
    total: Money
    status: Literal["pending", "paid", "declined"]
    payment_id: str = ""
    reason: str = ""
    at: datetime

    @classmethod
    def placed(cls, request: OrderRequest, order_id: str, at: datetime) -> Order:
        """A new order that waits for its payment."""
        return cls(
            id=order_id,
            customer=request.customer,
            lines=request.lines,
            total=request.total,
            status="pending",
            at=at,
        )

    def settled(self, payment_id: str, *, taken: bool, reason: str) -> Order:
        """The order after payments has answered."""
        outcome = "paid" if taken else "declined"
        return self.model_copy(update={"status": outcome, "payment_id": payment_id, "reason": reason})
