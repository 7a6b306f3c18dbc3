import pytest
from payments_double import payments_double
from shop_shared.testing import client_of, running

from orders.app import create_app
from orders.settings import Settings


@pytest.fixture(scope="module")
def payments():
    """A payments service of the contract, and what it saw (`payments.state`)."""
    return payments_double()


@pytest.fixture(scope="module")
def payments_url(payments):
    with running(payments) as url:
        yield url


@pytest.fixture(scope="module")
def client(payments_url, tmp_path_factory):
    """A client of orders, running for real with a database file and the payments service."""
    database = tmp_path_factory.mktemp("orders") / "orders.db"
    settings = Settings(database=str(database), payments_url=payments_url, aegis_release="orders@test")
    with client_of(create_app(settings)) as one:
        yield one
