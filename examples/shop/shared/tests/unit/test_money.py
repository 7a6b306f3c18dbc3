import json

import pytest
from pydantic import TypeAdapter, ValidationError

from shop_shared.money import CurrencyMismatch, Money


def test_an_amount_is_kept_exactly():
    assert (Money.of("0.10", "EUR") + Money.of("0.20", "EUR")) == Money.of("0.30", "EUR")


def test_a_price_times_a_quantity():
    assert Money.of("19.99", "EUR") * 3 == Money.of("59.97", "EUR")


def test_won_and_yen_have_no_minor_unit():
    assert str(Money.of("12000", "KRW")) == "12000 KRW"
    with pytest.raises(ValueError, match="more than 0 digits"):
        Money.of("0.5", "JPY")


def test_currencies_do_not_mix():
    with pytest.raises(CurrencyMismatch, match=r"1\.00 EUR and 1\.00 USD"):
        Money.of("1.00", "EUR") + Money.of("1.00", "USD")


def test_amounts_compare_within_a_currency():
    assert Money.of("1.00", "EUR") <= Money.of("1.00", "EUR")
    assert not Money.of("1.01", "EUR") <= Money.of("1.00", "EUR")


@pytest.mark.parametrize("amount", ["ten", "1.005", "NaN", "Infinity", ""])
def test_what_is_no_amount_is_refused(amount):
    with pytest.raises(ValueError, match=r"amount of money|digits after the point"):
        Money.of(amount, "EUR")


def test_an_unknown_currency_is_named():
    with pytest.raises(ValueError, match="unknown currency 'XYZ'"):
        Money.of("1.00", "XYZ")


def test_the_wire_form_is_a_decimal_string_and_reads_back():
    wire = Money.of("12.30", "EUR").model_dump_json()

    assert json.loads(wire) == {"amount": "12.30", "currency": "EUR"}
    assert TypeAdapter(Money).validate_json(wire) == Money.of("12.30", "EUR")


def test_a_binary_fraction_on_the_wire_is_refused():
    with pytest.raises(ValidationError, match="decimal string"):
        Money.model_validate({"amount": 12.3, "currency": "EUR"})
