"""The changes that people of the example make, as text: one good, one that fails only in production, three stopped."""

from __future__ import annotations

import textwrap

RECEIPT = textwrap.dedent(
    """
    @app.get("/orders/{order_id}/receipt")
    def receipt(order_id: Identifier) -> dict[str, str]:
        order = _find(store, order_id)
        return {"order": order.id, "customer": order.customer, "total": str(order.total.amount), "status": order.status}
    """
)
RECEIPT_TEST = textwrap.dedent(
    """\
    def test_a_receipt_names_the_customer_and_the_total(client):
        price = {"amount": "19.90", "currency": "EUR"}
        lines = [{"sku": "tea-green", "quantity": 2, "unit_price": price}]
        placed = client.post("/orders", json={"customer": "Mina Park", "lines": lines}).json()

        receipt = client.get(f"/orders/{placed['id']}/receipt").json()

        assert receipt == {"order": placed["id"], "customer": "Mina Park", "total": "39.80", "status": "paid"}
    """
)
BEFORE_ROUTES = '    @app.get("/orders/{order_id}")\n'
"""Where a new route of the orders service goes."""

LABEL = textwrap.dedent(
    '''\
    """Labels for parcels: the printer's protocol is from another age."""

    from __future__ import annotations


    def label(customer: str) -> str:
        """The customer's name as the label printer wants it."""
        return customer.upper().encode("ascii").decode()
    '''
)
LABEL_TEST = textwrap.dedent(
    """\
    from orders.labels import label


    def test_a_label_is_in_capitals():
        assert label("Mina Park") == "MINA PARK"
    """
)
LABEL_IMPORT = ("from orders.model import", "from orders.labels import label\nfrom orders.model import")
_PLACED = "        placed = Order.placed(request, new_id(idempotency_key), datetime.now(UTC))\n"
LABEL_USE = (_PLACED, _PLACED + '        response.headers["X-Parcel-Label"] = label(placed.customer)\n')

_DISCOUNT_RULES = "".join(
    f"    if code == {code!r}:\n        if total < {minimum}:\n            return 0\n        return total * {percent} // 100\n"
    for code, minimum, percent in (
        ("SPRING", 1000, 5), ("SUMMER", 1500, 7), ("AUTUMN", 2000, 8), ("WINTER", 2500, 10), ("LOYAL", 500, 12),
        ("STAFF", 0, 30), ("PRESS", 0, 50), ("FRIENDS", 3000, 15), ("BULK", 20000, 18), ("FLASH", 100, 3),
        ("HOLIDAY", 1200, 9), ("BIRTHDAY", 0, 11), ("STUDENT", 800, 6), ("SENIOR", 800, 6), ("RETURN", 400, 4),
        ("WELCOME", 100, 10),
    )
)  # fmt: skip
DISCOUNTS = f'''"""Discount codes."""

from __future__ import annotations


def discount(code: str, total: int) -> int:
    """What a code takes off a total, in cents."""
{_DISCOUNT_RULES}    return 0
'''

VULNERABLE = ('  "pydantic>=2.10",\n', '  "jinja2==3.1.2",\n  "pydantic>=2.10",\n')
"""jinja2 3.1.2 has CVE-2024-22195, fixed in 3.1.3."""


def leaked(entropy: bytes) -> str:
    """A module with a credential that nobody ever had: its letters are drawn anew each time."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    key = "AK" + "IA" + "".join(letters[byte % 32] for byte in entropy[:16])
    return f'"""Where parcels are announced."""\n\nCARRIER_ACCESS_KEY = "{key}"\n'


def replaced(text: str, pair: tuple[str, str]) -> str:
    """`text` with the first of the pair replaced by the second; the example must still look as expected."""
    if pair[0] not in text:
        raise ValueError(f"the example no longer holds {pair[0]!r}")
    return text.replace(pair[0], pair[1], 1)


def with_route(text: str, route: str) -> str:
    """The orders application with one more route."""
    return replaced(text, (BEFORE_ROUTES, textwrap.indent(route.strip("\n"), "    ") + "\n\n" + BEFORE_ROUTES))
