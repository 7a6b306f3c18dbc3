"""What `orders` relies on, in its own words: `contracts/orders.json` is a copy of its expectations."""

import json
from pathlib import Path

import pytest

CONTRACT = json.loads((Path(__file__).parents[2] / "contracts" / "orders.json").read_text("utf-8"))


@pytest.mark.parametrize("interaction", CONTRACT["interactions"], ids=lambda one: one["name"])
def test_payments_answers_as_orders_expects(client, interaction):
    answer = client.post("/payments", json=interaction["request"], headers={"Idempotency-Key": interaction["name"]})

    assert answer.status_code == interaction["status"]
    assert interaction["answer"].items() <= answer.json().items()
