"""Against a running environment. Every test makes its own data, so that runs do not meet."""

import secrets


def test_a_deployed_service_takes_a_payment_once(payments):
    order_id = f"e2e_{secrets.token_hex(6)}"
    body = {"order_id": order_id, "amount": {"amount": "5.00", "currency": "EUR"}}
    headers = {"Idempotency-Key": order_id}

    first = payments.post("/payments", json=body, headers=headers)
    again = payments.post("/payments", json=body, headers=headers)

    assert first.status_code == 201
    assert again.json() == first.json()


def test_a_deployed_service_is_ready_and_knows_its_release(payments):
    assert payments.get("/readyz").json()["status"] == "ok"
    assert payments.get("/version").json()["release"] != "unreleased"
