import logging

import pytest
from fastapi import FastAPI

from shop_shared.correlation import (
    HEADER,
    CorrelationFilter,
    CorrelationMiddleware,
    current_id,
    outgoing_headers,
)
from shop_shared.testing import client_of


@pytest.fixture(scope="module")
def client():
    app = FastAPI()
    app.add_middleware(CorrelationMiddleware)

    @app.get("/seen")
    def seen() -> dict[str, object]:
        record = logging.LogRecord("shop", logging.INFO, __file__, 1, "served", None, None)
        CorrelationFilter().filter(record)
        return {"id": current_id(), "outgoing": outgoing_headers(), "logged": record.correlation_id}

    with client_of(app) as one:
        yield one


def test_a_request_without_an_id_gets_one(client):
    answer = client.get("/seen")

    assert len(answer.headers[HEADER]) == 16
    assert answer.json()["id"] == answer.headers[HEADER]


def test_two_requests_get_different_ids(client):
    assert client.get("/seen").headers[HEADER] != client.get("/seen").headers[HEADER]


def test_the_callers_id_is_kept_logged_and_passed_on(client):
    answer = client.get("/seen", headers={HEADER: "checkout-4711"})

    assert answer.headers[HEADER] == "checkout-4711"
    assert answer.json() == {
        "id": "checkout-4711",
        "outgoing": {HEADER: "checkout-4711"},
        "logged": "checkout-4711",
    }


@pytest.mark.parametrize("given", ["short", "x" * 65, "a id with spaces", 'quote"quote"'])
def test_an_id_that_could_do_harm_is_replaced(client, given):
    assert client.get("/seen", headers={HEADER: given}).headers[HEADER] != given


def test_outside_of_a_request_there_is_no_id():
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, "started", None, None)
    CorrelationFilter().filter(record)

    assert current_id() == ""
    assert outgoing_headers() == {}
    assert record.correlation_id == "-"


def test_other_protocols_pass_untouched():
    passed = []

    async def app(scope, receive, send):
        passed.append(scope["type"])

    coroutine = CorrelationMiddleware(app)({"type": "websocket"}, None, None)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert passed == ["websocket"]
