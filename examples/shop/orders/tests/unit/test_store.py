from datetime import UTC, datetime

import pytest
from shop_shared.money import Money

from orders.model import Line, Order, OrderRequest
from orders.store import Store


def order(order_id="ord_1") -> Order:
    lines = (Line(sku="tea-green", quantity=1, unit_price=Money.of("19.90", "EUR")),)
    request = OrderRequest(customer="Mina Park", lines=lines)
    return Order.placed(request, order_id, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def store():
    one = Store(":memory:")
    yield one
    one.close()


def test_an_order_is_kept_once(store):
    assert store.add(order())
    assert not store.add(order())
    assert store.get("ord_1") == order()


def test_an_order_changes(store):
    store.add(order())
    paid = order().settled("pay_1", taken=True, reason="")
    store.replace(paid)
    assert store.get("ord_1") == paid


def test_the_latest_orders_come_first(store):
    for number in range(3):
        store.add(order(f"ord_{number}"))
    assert [one.id for one in store.latest(2)] == ["ord_2", "ord_1"]


def test_an_unknown_order_is_none(store):
    assert store.get("ord_nobody") is None
    store.check()
