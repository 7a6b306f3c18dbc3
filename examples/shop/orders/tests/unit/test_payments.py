"""Everything that can go wrong between orders and payments, against real sockets."""

from datetime import UTC, datetime

import pytest
from fastapi import FastAPI, Response
from shop_shared.money import Money
from shop_shared.testing import running

from orders.model import Line, Order, OrderRequest
from orders.payments import Payments, PaymentsUnavailable

LINES = (Line(sku="tea-green", quantity=1, unit_price=Money.of("19.90", "EUR")),)
ORDER = Order.placed(OrderRequest(customer="Mina Park", lines=LINES), "ord_1", datetime(2026, 1, 1, tzinfo=UTC))


def answering(response: Response) -> FastAPI:
    app = FastAPI()

    @app.post("/payments")
    def pay() -> Response:
        return response

    return app


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (Response("oops", 500), "payments answered 500"),
        (Response("busy", 429), "payments answered 429"),
        (Response("not json"), "no payment"),
        (Response('{"id": "pay_1", "status": "maybe"}'), "no payment"),
    ],
)
def test_an_answer_that_was_not_agreed_is_no_payment(response, says):
    with running(answering(response)) as url:
        payments = Payments(url, timeout=5)
        with pytest.raises(PaymentsUnavailable, match=says):
            payments.pay(ORDER)
        payments.close()


def test_a_service_that_is_not_there_is_said_to_be_unreachable():
    with running(answering(Response())) as url:
        pass  # the port was free a moment ago, and is again
    payments = Payments(url, timeout=5)
    with pytest.raises(PaymentsUnavailable, match="cannot be reached"):
        payments.pay(ORDER)
    payments.close()


def test_a_service_that_hangs_is_not_waited_for():
    async def silent(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            while (await receive())["type"] != "http.disconnect":
                pass  # read everything, answer nothing, until the caller gives up

    with running(silent) as url:
        payments = Payments(url, timeout=0.2)
        with pytest.raises(PaymentsUnavailable, match="in time"):
            payments.pay(ORDER)
        payments.close()
