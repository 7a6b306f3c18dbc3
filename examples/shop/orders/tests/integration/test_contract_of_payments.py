"""The double keeps to the contract that the real payments service is held to as well."""

import json
from pathlib import Path

import httpx
import pytest

CONTRACT = json.loads((Path(__file__).parents[2] / "contracts" / "payments.json").read_text("utf-8"))


@pytest.mark.parametrize("interaction", CONTRACT["interactions"], ids=lambda one: one["name"])
def test_the_double_answers_as_agreed(payments_url, interaction):
    answer = httpx.post(
        f"{payments_url}/payments",
        json=interaction["request"],
        headers={"Idempotency-Key": interaction["name"]},
        trust_env=False,
    )

    assert answer.status_code == interaction["status"]
    assert interaction["answer"].items() <= answer.json().items()
