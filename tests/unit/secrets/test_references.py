"""References name secrets and never hold them."""

from __future__ import annotations

import pytest

from aegis.core.errors import NotFound, UserError
from aegis.secrets.references import Reference, is_reference, parse, references, resolve


def test_a_reference_reads_and_writes_the_same() -> None:
    assert parse("secret://shop/orders#password") == Reference("shop/orders", "password")
    assert str(parse("secret://shop/orders")) == "secret://shop/orders#value"
    assert is_reference("secret://x")
    assert not is_reference("plain")


@pytest.mark.parametrize(
    "text",
    [
        "shop/orders",
        "secret://",
        "secret://../etc#x",
        "secret://a//b#c",
        "secret://a#",
        "secret://a#b c",
        "secret:///a",
    ],
)
def test_what_is_no_reference_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text)
    assert "secret://" in caught.value.hint


def test_resolving_replaces_references_and_tells_what_to_mask() -> None:
    store = {Reference("shop/db", "password"): "hidden"}
    values, masked = resolve({"A": "plain", "B": "secret://shop/db#password"}, store.__getitem__)
    assert values == {"A": "plain", "B": "hidden"}
    assert masked == {"hidden"}
    assert references({"A": "plain", "B": "secret://shop/db#password"}) == {"B": Reference("shop/db", "password")}


def test_a_missing_secret_reaches_the_caller() -> None:
    def absent(reference: Reference) -> str:
        raise NotFound("secret-missing", str(reference))

    with pytest.raises(NotFound):
        resolve({"A": "secret://shop/db"}, absent)
