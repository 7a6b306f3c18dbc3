import pytest
from shop_shared.testing import client_of

from payments.app import create_app
from payments.settings import Settings


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of the service, running for real with a database file."""
    database = tmp_path_factory.mktemp("payments") / "payments.db"
    settings = Settings(database=str(database), aegis_release="payments@test")
    with client_of(create_app(settings)) as one:
        yield one
