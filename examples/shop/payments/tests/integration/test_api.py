import os
import secrets
import subprocess
import sys


def ask(client, order_id="ord_1", amount="39.80", key=None):
    return client.post(
        "/payments",
        json={"order_id": order_id, "amount": {"amount": amount, "currency": "EUR"}},
        headers={"Idempotency-Key": key or secrets.token_hex(8)},
    )


def test_a_payment_is_taken_and_can_be_read_back(client):
    taken = ask(client)

    assert taken.status_code == 201
    assert taken.json()["status"] == "taken"
    assert client.get(f"/payments/{taken.json()['id']}").json() == taken.json()


def test_asking_again_with_the_same_key_answers_the_same_payment(client):
    first = ask(client, order_id="ord_again", key="again-0001")
    again = ask(client, order_id="ord_again", key="again-0001")

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert client.get("/payments", params={"order_id": "ord_again"}).json() == [first.json()]


def test_a_key_of_another_payment_is_a_conflict_with_advice(client):
    ask(client, order_id="ord_a", key="shared-0001")
    answer = ask(client, order_id="ord_b", key="shared-0001")

    assert answer.status_code == 409
    assert "use a new key" in answer.json()["detail"]


def test_a_payment_needs_a_key(client):
    body = {"order_id": "ord_1", "amount": {"amount": "1.00", "currency": "EUR"}}
    assert client.post("/payments", json=body).status_code == 422


def test_a_number_instead_of_a_decimal_string_is_refused(client):
    body = {"order_id": "ord_1", "amount": {"amount": 1.1, "currency": "EUR"}}
    answer = client.post("/payments", json=body, headers={"Idempotency-Key": "number-0001"})

    assert answer.status_code == 422
    assert "decimal string" in answer.text


def test_an_unknown_payment_is_not_found(client):
    assert client.get("/payments/pay_nobody").status_code == 404


def test_the_development_seeds_are_what_the_service_accepts(client):
    command = [sys.executable, "-m", "payments.seed"]
    environment = {**os.environ, "PAYMENTS_URL": str(client.base_url), "PYTHONPATH": os.pathsep.join(sys.path)}

    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert first.stdout == "3 of 3 seeds are new in payments\n"
    assert again.stdout == "0 of 3 seeds are new in payments\n"


def test_the_service_is_ready_and_names_its_release(client):
    assert client.get("/readyz").json() == {"status": "ok", "checks": ["store"]}
    assert client.get("/version").json()["release"] == "payments@test"
