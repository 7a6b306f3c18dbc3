"""The client of the payments service.

The order's id is the idempotency key, so that asking again after a timeout cannot take the money twice. What
payments does not answer in time, or answers with nonsense, is `PaymentsUnavailable`; the caller decides what
that means for the order.
"""

from __future__ import annotations

from typing import Literal

import httpx
from pydantic import BaseModel, ValidationError
from shop_shared.correlation import outgoing_headers

from orders.model import Order


class PaymentsUnavailable(Exception):
    """Payments could not be reached, did not answer in time, or did not answer as agreed."""


class PaymentAnswer(BaseModel):
    """The part of a payment that orders cares about."""

    id: str
    status: Literal["taken", "declined"]
    reason: str = ""


class Payments:
    """Asks the service at `url`; `timeout` is in seconds and bounds each phase of a call."""

    def __init__(self, url: str, timeout: float) -> None:
        self._client = httpx.Client(base_url=url, timeout=timeout, trust_env=False)

    def pay(self, order: Order) -> PaymentAnswer:
        """Have the order paid, at most once however often this is called."""
        body = {"order_id": order.id, "amount": order.total.model_dump()}
        headers = {"Idempotency-Key": order.id.rjust(8, "0"), **outgoing_headers()}
        try:
            answer = self._client.post("/payments", json=body, headers=headers)
            answer.raise_for_status()
            return PaymentAnswer.model_validate_json(answer.content)
        except httpx.TimeoutException:
            raise PaymentsUnavailable("payments did not answer in time") from None
        except httpx.HTTPStatusError as error:
            raise PaymentsUnavailable(f"payments answered {error.response.status_code}") from None
        except httpx.HTTPError:
            raise PaymentsUnavailable("payments cannot be reached") from None
        except ValidationError:
            raise PaymentsUnavailable("payments answered something that is no payment") from None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
