from fastapi import FastAPI

from shop_shared.health import health_router
from shop_shared.settings import ServiceSettings
from shop_shared.testing import client_of

SETTINGS = ServiceSettings(aegis_release="orders@1.2.0", aegis_commit="c0ffee")


def application(checks=None):
    app = FastAPI()
    app.include_router(health_router(SETTINGS, checks))
    return app


def failing():
    raise ConnectionError("no route to the database")


def test_a_service_without_checks_is_alive_and_ready():
    with client_of(application()) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ok", "checks": []}


def test_a_failing_check_takes_the_service_out_of_traffic_but_not_out_of_life():
    with client_of(application({"store": failing, "clock": lambda: None})) as client:
        ready = client.get("/readyz")

        assert ready.status_code == 503
        assert ready.json() == {"status": "unavailable", "failing": ["store"]}
        assert client.get("/healthz").status_code == 200


def test_the_answer_to_a_failing_check_tells_strangers_no_details():
    with client_of(application({"store": failing})) as client:
        assert "route" not in client.get("/readyz").text


def test_a_service_says_which_release_and_commit_it_is():
    with client_of(application()) as client:
        assert client.get("/version").json() == {"release": "orders@1.2.0", "commit": "c0ffee"}
