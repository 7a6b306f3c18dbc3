import pytest

from shop_shared.testing import running


def test_an_application_that_refuses_to_start_is_an_error_and_not_a_hang():
    async def refusing(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="did not start"), running(refusing):
        pass
