import os
import subprocess
import sys


def body(amount="19.90", quantity=2):
    price = {"amount": amount, "currency": "EUR"}
    return {
        "customer": "Mina Park",
        "lines": [{"sku": "tea-green", "quantity": quantity, "unit_price": price}],
    }


def test_an_order_is_taken_paid_and_can_be_read_back(client):
    placed = client.post("/orders", json=body())

    assert placed.status_code == 201
    assert placed.json()["status"] == "paid"
    assert placed.json()["total"] == {"amount": "39.80", "currency": "EUR"}
    assert client.get(f"/orders/{placed.json()['id']}").json() == placed.json()


def test_a_declined_payment_is_the_orders_state_and_not_an_error(client):
    placed = client.post("/orders", json=body("5000.01"))

    assert placed.status_code == 201
    assert placed.json()["status"] == "declined"
    assert "at most 10000.00 EUR" in placed.json()["reason"]


def test_the_money_is_taken_once_however_often_one_asks(client, payments):
    order_id = client.post("/orders", json=body()).json()["id"]
    taken = len(payments.state.taken)

    again = client.post(f"/orders/{order_id}/payment")

    assert again.json()["status"] == "paid"
    assert len(payments.state.taken) == taken


def test_an_order_with_a_key_is_placed_once(client):
    first = client.post("/orders", json=body(), headers={"Idempotency-Key": "browser-0001"})
    again = client.post("/orders", json=body(), headers={"Idempotency-Key": "browser-0001"})
    other = client.post("/orders", json=body("5.00"), headers={"Idempotency-Key": "browser-0001"})

    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert again.json() == first.json()
    assert "use a new key" in other.json()["detail"]


def test_the_correlation_id_travels_to_payments(client, payments):
    client.post("/orders", json=body(), headers={"X-Correlation-ID": "checkout-4711"})
    assert payments.state.seen_ids[-1] == "checkout-4711"


def test_what_is_wrong_with_an_order_is_named(client):
    answer = client.post("/orders", json=body(quantity=0))

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "lines", 0, "quantity"]


def test_an_unknown_order_is_not_found(client):
    assert client.get("/orders/ord_nobody").status_code == 404
    assert client.post("/orders/ord_nobody/payment").status_code == 404


def test_the_latest_orders_are_listed_newest_first(client):
    newest = client.post("/orders", json=body()).json()["id"]
    assert client.get("/orders", params={"limit": 1}).json()[0]["id"] == newest


def test_the_development_seeds_are_what_the_service_accepts(client):
    command = [sys.executable, "-m", "orders.seed"]
    environment = {**os.environ, "ORDERS_URL": str(client.base_url), "PYTHONPATH": os.pathsep.join(sys.path)}

    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert first.stdout == "3 of 3 seeds are new in orders\n"
    assert again.stdout == "0 of 3 seeds are new in orders\n"


def test_the_service_is_ready_and_names_its_release(client):
    assert client.get("/readyz").json()["status"] == "ok"
    assert client.get("/version").json()["release"] == "orders@test"
