"""What the environment tells this service."""

from __future__ import annotations

from shop_shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """`DATABASE` is a file; without one payments live as long as the process."""

    database: str = ":memory:"
    payment_limit: str = "10000.00"
    """The largest single payment, in whole units of its currency; more is declined."""
