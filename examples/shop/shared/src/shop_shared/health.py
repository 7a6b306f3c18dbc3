"""`/healthz` (is the process alive), `/readyz` (may it have traffic), `/version` (what is it).

Liveness asks nothing of the outside: a service whose neighbour is down must not be restarted for it. Readiness
asks every given check and answers 503 with the names of those that failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from fastapi import APIRouter, Response, status

from shop_shared.settings import ServiceSettings

Check = Callable[[], None]
"""Returns when all is well, else raises; must not take longer than a second."""

log = logging.getLogger(__name__)


def health_router(settings: ServiceSettings, checks: Mapping[str, Check] | None = None) -> APIRouter:
    """The three routes, for `app.include_router`."""
    router = APIRouter(tags=["health"])
    checks = dict(checks or {})

    @router.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz")
    def readyz(response: Response) -> dict[str, object]:
        failing = [name for name, check in checks.items() if not _passes(name, check)]
        if failing:
            response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
            return {"status": "unavailable", "failing": failing}
        return {"status": "ok", "checks": sorted(checks)}

    @router.get("/version")
    def version() -> dict[str, str]:
        return {"release": settings.aegis_release, "commit": settings.aegis_commit}

    return router


def _passes(name: str, check: Check) -> bool:
    try:
        check()
    except Exception:  # a failing check is an answer, whatever its type
        log.warning("readiness check %s failed", name, exc_info=True)
        return False
    return True
