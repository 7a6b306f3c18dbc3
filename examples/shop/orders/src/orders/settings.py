"""What the environment tells this service."""

from __future__ import annotations

from pydantic import HttpUrl
from shop_shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """`DATABASE` is a file; without one orders live as long as the process."""

    database: str = ":memory:"
    payments_url: HttpUrl = HttpUrl("http://payments:8000")
    payments_timeout: float = 2.0
    """Seconds that one call to payments may take, connecting included."""
