"""What a clean-up must leave: deployed releases and those that may have to be returned to, evidence, whatever is referred to.

Answers come from the ledger and from what the cluster shows. What cannot be found out is an error, so that nothing goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from aegis.core import codec, events
from aegis.core.errors import NotFound
from aegis.core.events import Record
from aegis.core.types import Outcome, PromotionState, Release, RolloutState
from aegis.delivery.context import Context
from aegis.delivery.queries.world import WorldState

_DIGEST: Final = re.compile(rb"sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})")
_PAGE: Final = 1000
_WAITING: Final = frozenset({PromotionState.PROPOSED, PromotionState.APPROVED, PromotionState.COMMITTED})
_OVER: Final = frozenset({RolloutState.PROMOTED, RolloutState.ROLLED_BACK})


def protections(context: Context, *, everywhere: bool = False) -> Callable[[str, str], str]:
    """Why an image (repository, digest) must stay, or empty: as things stand now.

    What is evidence is asked of images in quarantine only, or `everywhere`.
    """
    reasons: dict[str, str] = {}
    for release, why in _needed(context):
        for artifact in _release(context, release).artifacts:
            reasons.setdefault(artifact.digest, f"{release} {why}")

    def protected(repository: str, digest: str) -> str:
        asked = everywhere or repository.startswith("quarantine/")
        return reasons.get(digest) or (_evidence(context, digest) if asked else "")

    return protected


def _needed(context: Context) -> list[tuple[str, str]]:
    """Releases that something runs, may return to, or waits for."""

    def known(state: WorldState) -> list[tuple[str, str]]:
        found = []
        for cell in state.cells.values():
            if cell.release:
                found.append((cell.release, f"is deployed in {cell.environment}"))
            if cell.previous:
                found.append((cell.previous, f"is what {cell.environment} can be returned to"))
        waiting = [one.promotion for one in state.promotions.values() if one.promotion.state in _WAITING]
        found += [(one.release, f"waits to be promoted to {one.environment}") for one in waiting]
        for one in state.rollouts.values():
            if one.rollout.state not in _OVER:
                names = (one.rollout.release, one.rollout.previous)
                found += [(name, f"is part of a rollout in {one.rollout.environment}") for name in names if name]
        return found

    found = context.world.read(known)
    for environment in context.options.environments.values():
        running = [one.release for one in context.cluster.observe(environment.namespace)]
        found += [(release, f"runs in {environment.name}") for release in running if release]
    return found


def _release(context: Context, release: str) -> Release:
    entry = context.world.read(lambda state: state.releases.get(release))
    if entry is not None:
        return entry.release
    for record in context.subject(f"release/{release}"):
        if isinstance(record.data, events.ReleaseCreated):
            return record.data.release
    raise NotFound("no-such-release", f"{release} is in use and the ledger does not know it; nothing is cleaned up")


def _evidence(context: Context, digest: str) -> str:
    """Why an image in quarantine is evidence: its run was not judged yet, or was blocked while its logs are kept."""
    records = context.subject(f"artifact/{digest}")
    runs = [one.data.artifact.run for one in records if isinstance(one.data, events.ArtifactPublished)]
    if not runs or any(isinstance(one.data, events.ArtifactReleased) for one in records):
        return ""
    verdicts = [one for one in context.subject(f"run/{runs[-1]}") if isinstance(one.data, events.VerdictGiven)]
    if not verdicts:
        return f"run {runs[-1]} was not judged yet"
    last = verdicts[-1]
    age = (context.clock.now() - last.recorded_at).total_seconds()
    blocked = isinstance(last.data, events.VerdictGiven) and last.data.verdict.outcome is Outcome.BLOCK
    return f"evidence: run {runs[-1]} was blocked" if blocked and age < context.options.retention.logs else ""


def mentioned(
    context: Context, digests: frozenset[str], *, beside: Callable[[Record], bool] = lambda _: False
) -> frozenset[str]:
    """Which of `digests` the ledger speaks of, leaving out the records that `beside` says."""
    found: set[bytes] = set()
    wanted = {digest.encode() for digest in digests}
    after = 0
    while wanted:
        records = context.ledger.read(after=after, limit=_PAGE)
        for record in records:
            if record.data is not None and not isinstance(record.data, events.RegistryCleaned) and not beside(record):
                found |= wanted.intersection(_DIGEST.findall(codec.encode(record.data)))
        if len(records) < _PAGE:
            break
        after = records[-1].seq
    return frozenset(digest.decode() for digest in found)
