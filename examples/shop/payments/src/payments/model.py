"""What a payment is, on the wire and in the store, and when one is declined. No I/O."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from shop_shared.money import Money

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class PaymentRequest(BaseModel):
    """What an order asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    order_id: Identifier
    amount: Money


class Payment(BaseModel):
    """A payment that was taken or declined; it never changes afterwards."""

    model_config = ConfigDict(frozen=True)

    id: Identifier
    order_id: Identifier
    amount: Money
    status: Literal["taken", "declined"]
    reason: str = ""
    at: datetime


def judge(request: PaymentRequest, limit: Decimal) -> tuple[Literal["taken", "declined"], str]:
    """Whether the payment is taken, and why not."""
    if request.amount.minor <= 0:
        return "declined", "the amount must be more than nothing"
    if request.amount.amount > limit:
        return "declined", f"a single payment is at most {limit} {request.amount.currency}"
    return "taken", ""
