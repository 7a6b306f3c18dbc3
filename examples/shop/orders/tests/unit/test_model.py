from datetime import UTC, datetime

import pytest
from pydantic import ValidationError
from shop_shared.money import Money

from orders.model import Line, Order, OrderRequest

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def line(amount="19.90", quantity=1, currency="EUR") -> Line:
    return Line(sku="tea-green", quantity=quantity, unit_price=Money.of(amount, currency))


def test_an_order_costs_what_its_lines_cost():
    request = OrderRequest(customer="Mina Park", lines=(line("19.90", 2), line("0.05", 3)))
    assert request.total == Money.of("39.95", "EUR")


def test_an_order_is_in_one_currency():
    with pytest.raises(ValidationError, match="one currency, not in EUR and USD"):
        OrderRequest(customer="Mina Park", lines=(line(), line(currency="USD")))


def test_an_order_has_at_least_one_line_and_a_customer():
    with pytest.raises(ValidationError):
        OrderRequest(customer="Mina Park", lines=())
    with pytest.raises(ValidationError):
        OrderRequest(customer="   ", lines=(line(),))


@pytest.mark.parametrize("quantity", [0, -1, 1001])
def test_quantities_have_bounds(quantity):
    with pytest.raises(ValidationError):
        line(quantity=quantity)


def test_an_order_is_pending_until_payments_has_answered():
    placed = Order.placed(OrderRequest(customer="Mina Park", lines=(line(),)), "ord_1", NOW)

    assert placed.status == "pending"
    assert placed.settled("pay_1", taken=True, reason="").status == "paid"
    declined = placed.settled("pay_2", taken=False, reason="too much")
    assert (declined.status, declined.reason, declined.payment_id) == ("declined", "too much", "pay_2")
    assert placed.status == "pending"
