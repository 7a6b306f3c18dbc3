from decimal import Decimal

import pytest
from pydantic import ValidationError
from shop_shared.money import Money

from payments.model import PaymentRequest, judge

LIMIT = Decimal("10000.00")


def request(amount: str, currency: str = "EUR") -> PaymentRequest:
    return PaymentRequest(order_id="ord_1", amount=Money.of(amount, currency))


@pytest.mark.parametrize("amount", ["0.01", "39.80", "10000.00"])
def test_an_ordinary_amount_is_taken(amount):
    assert judge(request(amount), LIMIT) == ("taken", "")


def test_an_amount_over_the_limit_is_declined_with_the_limit_named():
    assert judge(request("10000.01"), LIMIT) == ("declined", "a single payment is at most 10000.00 EUR")


@pytest.mark.parametrize("amount", ["0.00", "-5.00"])
def test_nothing_and_less_than_nothing_are_declined(amount):
    outcome, reason = judge(request(amount), LIMIT)
    assert outcome == "declined"
    assert "more than nothing" in reason


@pytest.mark.parametrize("order_id", ["", "a/b", "x" * 65, "ord 1"])
def test_an_order_id_that_is_none_is_refused(order_id):
    with pytest.raises(ValidationError):
        PaymentRequest(order_id=order_id, amount=Money.of("1.00", "EUR"))


def test_unknown_fields_are_refused_rather_than_ignored():
    with pytest.raises(ValidationError, match="Extra inputs"):
        PaymentRequest.model_validate(
            {"order_id": "ord_1", "amount": {"amount": "1.00", "currency": "EUR"}, "tip": "1.00"}
        )
