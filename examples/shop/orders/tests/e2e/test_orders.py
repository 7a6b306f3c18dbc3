"""Against a running environment: orders and payments together, as customers meet them."""

PRICE = {"amount": "19.90", "currency": "EUR"}
BODY = {"customer": "End to End", "lines": [{"sku": "tea-green", "quantity": 2, "unit_price": PRICE}]}


def test_a_customers_order_is_paid(orders):
    placed = orders.post("/orders", json=BODY)

    assert placed.status_code == 201, placed.text
    assert placed.json()["status"] == "paid"
    assert placed.json()["payment_id"]


def test_an_order_that_costs_too_much_is_declined(orders):
    price = {"amount": "10000.01", "currency": "EUR"}
    placed = orders.post("/orders", json={**BODY, "lines": [{**BODY["lines"][0], "unit_price": price}]})

    assert placed.status_code == 201, placed.text
    assert placed.json()["status"] == "declined"


def test_the_deployed_service_is_ready_and_knows_its_release(orders):
    assert orders.get("/readyz").json()["status"] == "ok"
    assert orders.get("/version").json()["release"] != "unreleased"
