"""Verifies what runs, again and again: an image whose signature no longer holds is quarantined, and not deployed again.

Promotions are checked when they are made and when they are carried out; this looks at what has been running since. It stops
nothing: whether a running service is taken away is a person's decision, who finds it in the ledger and on the release.
"""

from __future__ import annotations

from typing import Final

from aegis.core.errors import AegisError, Denied
from aegis.core.types import Release
from aegis.daemon.loops import Reporter
from aegis.delivery.context import Context
from aegis.delivery.dispatch import SYSTEM, Asking
from aegis.delivery.handlers import trust
from aegis.delivery.queries.world import WorldState

ASKING: Final = Asking(actor=SYSTEM)
PAUSE: Final = 300.0
DISTRUSTED: Final = frozenset({"unsigned", "bad-signature", "wrong-digest"})


class Verifier:
    """Looks at the image of every release that runs in an environment."""

    def __init__(self, context: Context, reporter: Reporter, pause: float = PAUSE) -> None:
        self._context = context
        self._reporter = reporter
        self._pause = pause

    def round(self) -> float:
        """Verify each once; the seconds until the next round."""
        for release in self._context.world.read(_running):
            try:
                trust.deployable(self._context, release)
            except Denied as error:
                if error.code in DISTRUSTED:
                    reason = f"it runs and cannot be trusted any more: {error.message}"
                    self._context.append(trust.quarantined(release, reason, ASKING))
                    self._reporter.say(f"verifying {release.id}", error)
            except AegisError as error:
                # The registry could not be read: that is no verdict about the image, and is looked at again.
                self._reporter.say(f"verifying {release.id}", error)
        return self._pause


def _running(state: WorldState) -> list[Release]:
    """The releases of services that run anywhere, each once."""
    names = dict.fromkeys(row.release for row in state.cells.values() if row.release)
    found = (state.releases[name].release for name in names if name in state.releases)
    return [one for one in found if one.image is not None]
