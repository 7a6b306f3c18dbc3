"""Payments is away and comes back: no order is lost, and nothing is taken twice."""

from payments_double import payments_double
from shop_shared.testing import client_of, running

from orders.app import create_app
from orders.settings import Settings

PRICE = {"amount": "19.90", "currency": "EUR"}
BODY = {"customer": "Mina Park", "lines": [{"sku": "tea-green", "quantity": 1, "unit_price": PRICE}]}


def test_an_order_waits_while_payments_is_down_and_is_paid_afterwards(tmp_path):
    database = str(tmp_path / "orders.db")
    with running(payments_double()) as url:
        pass
    with client_of(create_app(Settings(database=database, payments_url=url))) as client:
        answer = client.post("/orders", json=BODY)

        assert answer.status_code == 202
        assert answer.headers["Retry-After"] == "5"
        assert "cannot be reached" in answer.json()["reason"]
        waiting = client.get(answer.headers["Location"]).json()
        assert waiting["status"] == "pending"
        assert client.get("/readyz").status_code == 200

    with (
        running(payments_double()) as back,
        client_of(create_app(Settings(database=database, payments_url=back))) as client,
    ):
        assert client.post(f"/orders/{waiting['id']}/payment").json()["status"] == "paid"
