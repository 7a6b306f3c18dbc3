import json
import os

import httpx
import pytest


def url_of(service: str) -> str:
    """Where a service runs: `AEGIS_ENVIRONMENT_URL` (a JSON map or one URL), else `<SERVICE>_URL`."""
    given = os.environ.get("AEGIS_ENVIRONMENT_URL", "")
    urls = json.loads(given) if given.startswith("{") else {}
    found = urls.get(service) or os.environ.get(f"{service.upper()}_URL") or ("" if urls else given)
    if not found:
        pytest.fail(f"nothing says where {service} runs: set AEGIS_ENVIRONMENT_URL or {service.upper()}_URL")
    return found


@pytest.fixture(scope="session")
def payments():
    """A client of the payments service as deployed."""
    with httpx.Client(base_url=url_of("payments"), timeout=10, trust_env=False) as client:
        yield client
