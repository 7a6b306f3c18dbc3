"""Verifies what runs, again and again: an image whose signature no longer holds is quarantined, and not deployed again.

Promotions are checked when they are made and when they are carried out; this looks at what has been running since. It stops
nothing: whether a running service is taken away is a person's decision. That person finds one entry in the inbox for each
release, from the first round that fails until it verifies again or runs nowhere. What was told is in the ledger, so that a
restarted server does not tell it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aegis.core import events
from aegis.core.errors import AegisError, Denied
from aegis.core.events import Draft
from aegis.core.types import Release
from aegis.daemon.loops import Reporter
from aegis.delivery.context import Context
from aegis.delivery.dispatch import SYSTEM, Asking
from aegis.delivery.handlers import trust
from aegis.delivery.queries.world import WorldState

ASKING: Final = Asking(actor=SYSTEM)
PAUSE: Final = 300.0
DISTRUSTED: Final = frozenset({"unsigned", "bad-signature", "wrong-digest"})
_MEND: Final = "promote a release that verifies, or roll back: nothing is stopped by itself"


class Verifier:
    """Looks at the image of every release that runs in an environment."""

    def __init__(self, context: Context, reporter: Reporter, pause: float = PAUSE) -> None:
        self._context = context
        self._reporter = reporter
        self._pause = pause
        self._told: dict[str, str] | None = None
        """The releases with an open entry, and its error's code."""

    def round(self) -> float:
        """Verify each once; the seconds until the next round."""
        known, running = self._context.world.read(_known), self._context.world.read(_running)
        if self._told is None:
            self._told = self._recorded(known)
        for release in running:
            self._verify(release, self._told)
        for name in self._told.keys() - {one.id for one in running}:
            self._settle(known.get(name), name, self._told)
        return self._pause

    def _verify(self, release: Release, told: dict[str, str]) -> None:
        try:
            trust.deployable(self._context, release)
        except AegisError as error:
            distrusted = isinstance(error, Denied) and error.code in DISTRUSTED
            if isinstance(error, Denied) and not distrusted:
                return  # quarantined before, by this or by a rollback: that was told then
            self._reporter.say(f"verifying {release.id}", error)
            if told.get(release.id) == error.code:
                return
            failed = events.ActionFailed(key=release.id, code=error.code, message=error.message, hint=_MEND)
            drafts = [_draft(release, release.id, failed)]
            if distrusted:
                reason = f"it runs and cannot be trusted any more: {error.message}"
                drafts.append(trust.quarantined(release, reason, ASKING))
            # Where the registry could not be read, that is no verdict about the image: it is looked at again.
            self._context.append(*drafts)
            told[release.id] = error.code
        else:
            if release.id in told:
                self._settle(release, release.id, told)

    def _settle(self, release: Release | None, name: str, told: dict[str, str]) -> None:
        self._context.append(_draft(release, name, events.ActionCompleted(key=name, result="settled", found=False)))
        del told[name]

    def _recorded(self, names: Iterable[str]) -> dict[str, str]:
        found = {}
        for name in names:
            last = next(reversed(self._context.subject(f"verification/{name}")), None)
            if last is not None and isinstance(last.data, events.ActionFailed):
                found[name] = last.data.code
        return found


def _draft(release: Release | None, name: str, data: object) -> Draft:
    return Draft(
        subject=f"verification/{name}", data=data, actor=SYSTEM.id, project=release.project if release else "",
        service=release.service if release else "",
    )  # fmt: skip


def _known(state: WorldState) -> dict[str, Release]:
    return {name: row.release for name, row in state.releases.items()}


def _running(state: WorldState) -> list[Release]:
    """The releases of services that run anywhere, each once."""
    names = dict.fromkeys(row.release for row in state.cells.values() if row.release)
    found = (state.releases[name].release for name in names if name in state.releases)
    return [one for one in found if one.image is not None]
