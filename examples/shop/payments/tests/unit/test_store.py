from datetime import UTC, datetime
from itertools import count

import pytest
from shop_shared.money import Money

from payments.model import Payment
from payments.store import KeyReused, Store

numbers = count(1)


def payment(order_id: str = "ord_1", amount: str = "5.00") -> Payment:
    return Payment(
        id=f"pay_{next(numbers)}",
        order_id=order_id,
        amount=Money.of(amount, "EUR"),
        status="taken",
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.fixture
def store():
    one = Store(":memory:")
    yield one
    one.close()


def test_a_payment_is_kept(store):
    first = payment()
    assert store.take_once("key-0001", first) == (first, True)
    assert store.get(first.id) == first


def test_the_same_key_answers_the_first_payment_and_takes_nothing_twice(store):
    first = payment()
    store.take_once("key-0001", first)

    assert store.take_once("key-0001", payment()) == (first, False)
    assert store.of_order("ord_1") == [first]


@pytest.mark.parametrize("other", [{"order_id": "ord_2"}, {"amount": "6.00"}])
def test_a_key_is_not_lent_to_another_payment(store, other):
    store.take_once("key-0001", payment())
    with pytest.raises(KeyReused):
        store.take_once("key-0001", payment(**other))


def test_what_is_not_there_is_none(store):
    assert store.get("pay_unknown") is None
    assert store.of_order("ord_unknown") == []


def test_payments_in_a_file_outlive_the_process(tmp_path):
    database = str(tmp_path / "payments.db")
    first = payment()
    before = Store(database)
    before.take_once("key-0001", first)
    before.close()

    after = Store(database)
    assert after.get(first.id) == first
    after.check()
    after.close()
